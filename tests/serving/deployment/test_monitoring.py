"""Monitoring: rules and dashboard ask for what the server exports, and find each other."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from serving.client import CaptionClient
from serving.server.fronts.http.application import METRICS_PATH
from serving.server.metrics import Metrics
from serving.server.settings import settings_pb2
from serving.server.settings.text_protos import read_text_proto
from tests.serving.deployment.files import (
    DEPLOYMENT,
    KUBERNETES,
    MONITORING,
    README,
    compose,
    container,
    documents,
    flags,
    pods,
    server_arguments,
    yaml,
)
from tests.support.paths import ROOT

# Labels that Prometheus and the kubelet add, and metrics that are theirs.
THEIR_LABELS = {"app", "instance", "container", "pod"}
THEIR_METRICS = {"up", "container_memory_working_set_bytes"}

# Words of PromQL that are no metrics; functions are known by their parentheses.
WORDS = {"and", "or", "unless", "by", "without", "offset", "on", "ignoring", "bool"}


def test_monitoring_config():
    monitoring = read_text_proto(DEPLOYMENT / "monitoring.config", settings_pb2.MonitoringConfig())
    assert monitoring.prometheus_config.enable
    path = monitoring.prometheus_config.path
    (job,) = documents(MONITORING / "prometheus.yml")[0]["scrape_configs"]
    annotations = pods()["imgcap-serving"]["metadata"]["annotations"]
    assert path == METRICS_PATH == job["metrics_path"] == annotations["prometheus.io/path"]
    assert job["static_configs"][0]["targets"] == ["serving:8501"]
    assert annotations["prometheus.io/port"] == "8501"


def test_autoscaler_asks_for_a_series_that_exists():
    (scaler,) = documents(KUBERNETES / "autoscaler.yaml")
    (rule,) = documents(KUBERNETES / "prometheus-adapter.yaml")[0]["rules"]["custom"]
    metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric == rule["name"]["as"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "imgcap-serving"
    (series,) = set(re.findall(r":tensorflow:[\w:]+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert series in {metric.name for metric in vars(Metrics()).values()}


def exported() -> dict[str, set[str]]:
    """The labels of each series that the embedded server exports, by the series' name."""
    metrics = Metrics()
    metrics.request_count.add("imgcap", "OK")
    metrics.request_latency.observe(1.0, "imgcap", "Predict", "GRPC")
    metrics.load_attempt_count.add("/models/imgcap/1", "success")
    metrics.model_warmup_latency.observe(1.0, "/models/imgcap/1", "OK")
    metrics.queuing_latency.observe(1.0, "batch")
    metrics.processed_batch_size.observe(1.0)
    metrics.padding_size.observe(0.0, "1")
    found: dict[str, set[str]] = {}
    for line in metrics.text().splitlines():
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"([\w:]+)\{(.*)\} \S+", line).groups()
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def dashboard() -> dict[str, Any]:
    return json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    (tree,) = documents(MONITORING / "alerts.yml")
    (group,) = tree["groups"]
    return group["rules"]


def queries() -> Iterator[str]:
    """Yields each PromQL expression of rules and dashboard, without Grafana's variables."""
    for rule in rules():
        yield rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m").replace("$model", ".*")


def selectors(query: str) -> list[tuple[str, str]]:
    """The metrics that a query names, each with what stands between its braces."""
    query = re.sub(r"\b(by|without|on|ignoring) \([^)]*\)", "", query)
    query = re.sub(r"\[[^]]*\]|offset \w+", "", query)
    pattern = r"(?<![\w:.\"])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])(?:\{((?:[^}\"]|\"[^\"]*\")*)\})?"
    # Strings stand between braces alone, and are taken with them.
    return [(name, braces) for name, braces in re.findall(pattern, query) if name not in WORDS]


def test_a_query_is_taken_apart():
    query = (
        'sum by (a, b) (rate(:x:y_bucket{le="1",z!~"up|}"}[5m])) / 1e6 > 2^30 unless up offset 1h'
    )
    assert selectors(query) == [(":x:y_bucket", 'le="1",z!~"up|}"'), ("up", "")]


def test_each_query_asks_for_series_and_labels_that_exist():
    series = exported()
    asked = [found for query in queries() for found in selectors(query)]
    assert len(asked) > 30 and {name for name, _ in asked} > THEIR_METRICS
    for name, braces in asked:
        if name not in THEIR_METRICS:
            assert name in series
        labels = set(re.findall(r"(\w+)[=!]", re.sub(r'"[^"]*"', "", braces)))
        assert labels <= series.get(name, set()) | THEIR_LABELS, (name, braces)
    codes = {code.name for code in grpc.StatusCode}
    for status in re.findall(r'request_count\{[^}]*status[=!~]+"([^"]+)"', " ".join(queries())):
        assert set(status.split("|")) <= codes


def test_panels_have_the_data_source_that_is_chosen_and_do_not_overlap():
    board, seen = dashboard(), set()
    variables = {entry["name"] for entry in board["templating"]["list"]}
    assert board["uid"] and board["schemaVersion"] >= 39
    source = {"type": "prometheus", "uid": "${datasource}"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - {"__rate_interval", "__all"}
    assert used == variables == {"datasource", "model"}
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)) > 10
    for panel in board["panels"]:
        assert panel["title"] and panel["description"] and panel["targets"]
        assert all(part["datasource"] == source for part in (panel, *panel["targets"]))
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & seen and max(x for x, _ in cells) < 24, panel["title"]
        seen |= cells


def test_limits_of_the_alerts_are_those_of_the_deployment():
    limits = {
        rule["alert"]: float(eval_limit(rule["expr"])) for rule in rules() if ">" in rule["expr"]
    }
    with CaptionClient("localhost:1") as client:
        assert limits["ImgcapSlow"] == 1e6 * client.timeout / 2
    threads = int(flags(server_arguments()["Kubernetes"])["grpc_max_threads"])
    assert limits["ImgcapSaturated"] == 0.75 * threads
    assert container("imgcap-serving")["resources"]["limits"]["memory"] == "4Gi"
    assert limits["ImgcapMemory"] == 0.9 * 4 * 2**30
    lines = {
        panel["title"]: step["value"]
        for panel in dashboard()["panels"]
        if panel["type"] == "timeseries" and "thresholds" in panel["fieldConfig"]["defaults"]
        for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if step["value"] is not None
    }
    assert lines == {
        "Share of errors": limits["ImgcapErrors"],
        "Latency of Predict": limits["ImgcapSlow"],
        "In flight, by server": threads,
        "Memory": 4 * 2**30,
    }


def eval_limit(expression: str) -> float:
    """The number, or product of numbers, to the right of the last `>`."""
    value = 1.0
    for factor in expression.rpartition(">")[2].split("*"):
        base, _, power = factor.partition("^")
        value *= float(base) ** float(power or 1)
    return value


def test_each_alert_has_a_cause_a_severity_and_a_test():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 8
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
    (tests,) = documents(MONITORING / "alerts_test.yml")
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    raised = {case["alertname"] for case in cases if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert raised == silent == set(names)


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus"
)
def test_promtool_takes_configuration_rules_their_tests_and_the_dashboard(tmp_path):
    asked = {
        "groups": [
            {
                "name": "dashboard",
                "rules": [
                    {"record": f"query{number}", "expr": query}
                    for number, query in enumerate(queries())
                ],
            }
        ]
    }
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(asked))
    for words in (
        ("check", "config", MONITORING / "prometheus.yml"),
        ("check", "rules", MONITORING / "alerts.yml"),
        ("check", "rules", tmp_path / "dashboard.yml"),
        ("test", "rules", MONITORING / "alerts_test.yml"),
    ):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def mounts_of(service: str) -> dict[str, str]:
    """Where a Compose service sees which file of the deployment."""
    volumes = (volume.split(":") for volume in compose()["services"][service]["volumes"])
    return {target: source for source, target, _ in volumes}


def test_compose_starts_both_with_the_files():
    prometheus, grafana = mounts_of("prometheus"), mounts_of("grafana")
    for source in (*prometheus.values(), *grafana.values()):
        assert (DEPLOYMENT / source).is_file(), source
    assert prometheus["/etc/prometheus/prometheus.yml"] == "./monitoring/prometheus.yml"
    (settings,) = documents(MONITORING / "prometheus.yml")
    (name,) = settings["rule_files"]
    assert prometheus[f"/etc/prometheus/{name}"] == f"./monitoring/{name}"
    (sources,) = documents(DEPLOYMENT / grafana["/etc/grafana/provisioning/datasources/imgcap.yml"])
    (source,) = sources["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert compose()["services"]["prometheus"]["ports"][0].endswith(":9090")
    (boards,) = documents(DEPLOYMENT / grafana["/etc/grafana/provisioning/dashboards/imgcap.yml"])
    (provider,) = boards["providers"]
    home = compose()["services"]["grafana"]["environment"][
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    ]
    assert home == f"{provider['options']['path']}/dashboard.json"
    assert grafana[home] == "./monitoring/dashboard.json"


def test_servers_have_the_label_by_which_alerts_find_them():
    (settings,) = documents(MONITORING / "prometheus.yml")
    label = settings["scrape_configs"][0]["static_configs"][0]["labels"]
    labels = pods()["imgcap-serving"]["metadata"]["labels"]
    (monitor,) = documents(MONITORING / "pod-monitor.yaml")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert label.items() <= labels.items() and monitor["spec"]["podTargetLabels"] == list(label)
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] == METRICS_PATH
    assert endpoint["port"] in {port["name"] for port in container("imgcap-serving")["ports"]}
    ((name, value),) = label.items()
    about_up = {
        braces for query in queries() for metric, braces in selectors(query) if metric == "up"
    }
    assert about_up == {f'{name}="{value}"'}


def test_the_operator_gets_the_rules_by_the_command_of_the_instructions():
    (command,) = re.findall(
        r"^\((printf .+)\) \| kubectl apply -f -$",
        README.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    rule = yaml.safe_load(done.stdout)
    assert (rule["kind"], rule["metadata"]["name"]) == ("PrometheusRule", "imgcap-serving")
    assert [rule["spec"]] == documents(MONITORING / "alerts.yml")
