"""Compose, Kubernetes and KServe: what runs, as whom, reached by whom, and named alike."""

import re
import shutil
import subprocess

import pytest

from imgcap.signature import MODEL_NAME
from serving.page.options import SERVER_VARIABLE
from serving.server.fronts.health import SERVICES
from serving.server.fronts.http.application import METRICS_PATH
from tests.serving.deployment.files import (
    DEPLOYMENT,
    KUBERNETES,
    SETTINGS,
    compose,
    container,
    documents,
    flags,
    objects,
    pods,
    predictor,
    server_arguments,
    yaml,
)
from tests.support.command_lines import flags_of, load_commands, used_flags
from tests.support.paths import ROOT


def test_all_files_are_applied():
    (settings,) = documents(KUBERNETES / "kustomization.yaml")
    named = {image["name"] for image in settings["images"]}
    assert named == {container(name)["image"] for name in pods()}
    assert (
        set(settings["resources"]) == {path.name for path in KUBERNETES.glob("*.yaml")} - SETTINGS
    )
    (whole,) = documents(DEPLOYMENT / "kustomization.yaml")
    assert whole["resources"] == [KUBERNETES.name]


def test_settings_become_the_map_that_is_mounted():
    (whole,) = documents(DEPLOYMENT / "kustomization.yaml")
    (made,) = whole["configMapGenerator"]
    values = flags(server_arguments()["Kubernetes"]).values()
    assert {f"/config/{name}" for name in made["files"]} == {
        value for value in values if value.startswith("/config/")
    }
    # With a hash behind it, no pod would see a change of the list of models.
    assert whole["generatorOptions"] == {"disableNameSuffixHash": True}
    for pod, mounts in (
        (pods()["imgcap-serving"]["spec"], container("imgcap-serving")["volumeMounts"]),
        (predictor(), predictor()["model"]["volumeMounts"]),
    ):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (name,) = (mount["name"] for mount in mounts if mount["mountPath"] == "/config")
        assert volumes[name]["configMap"] == {"name": made["name"]}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_builds_all(tmp_path):
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOYMENT)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    (settings,) = (entry for entry in built if entry["kind"] == "ConfigMap")
    (whole,) = documents(DEPLOYMENT / "kustomization.yaml")
    assert settings["data"] == {
        name: (DEPLOYMENT / name).read_text(encoding="utf-8")
        for name in whole["configMapGenerator"][0]["files"]
    }
    given = [entry for kind in {entry["kind"] for entry in built} for entry in objects(kind)]
    assert sorted(given) == sorted(
        entry["metadata"]["name"] for entry in built if entry is not settings
    )
    images = [
        container["image"]
        for entry in built
        if entry["kind"] == "Deployment"
        for container in entry["spec"]["template"]["spec"]["containers"]
    ]
    assert all(":" in image for image in images) and len(images) == 2


def test_nothing_runs_as_root_or_writes():
    for name, service in compose()["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for volume in service.get("volumes", []):
            assert volume.endswith(":ro"), volume
    assert {compose()["services"][f"serving-{kind}"]["user"] for kind in ("cpu", "gpu")} == {
        "65534:65534"
    }
    assert re.search(r"^USER imgcap$", (DEPLOYMENT / "Dockerfile.app").read_text(), re.MULTILINE)
    for name, template in pods().items():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        own = container(name)["securityContext"]
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["name"]: mount for mount in container("imgcap-serving")["volumeMounts"]}
    assert mounts["models"]["readOnly"] and mounts["config"]["readOnly"]


def test_compose_file_names_every_variable_that_it_reads():
    text = (DEPLOYMENT / "docker-compose.yml").read_text(encoding="utf-8")
    head, _, rest = text.partition("\nname: imgcap\n")
    named = re.findall(r"^#   ([A-Z_]+)  ", head, re.MULTILINE)
    assert set(named) == set(re.findall(r"\$\{([A-Z_]+)", rest)) and len(named) == 9


def test_ports_stay_on_this_machine_unless_asked():
    for service in compose()["services"].values():
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service["ports"])


def test_probes_ask_for_services_that_the_server_knows():
    server = container("imgcap-serving")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["grpc"]["port"] == 8500
        assert server[probe]["grpc"].get("service", "") in SERVICES
    seconds = server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"]
    assert seconds >= 120
    drain = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pods()["imgcap-serving"]["spec"]["terminationGracePeriodSeconds"] > drain + 20


def test_services_select_the_pods():
    services = {name: entry["spec"] for name, entry in objects("Service").items()}
    assert set(services) == set(pods())
    for name, service in services.items():
        labels = pods()[name]["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()
        ports = {port["name"] for port in container(name)["ports"]}
        assert {port["targetPort"] for port in service["ports"]} <= ports
    assert services["imgcap-serving"]["clusterIP"] == "None"


def test_pods_survive_a_node_and_are_counted_by_the_autoscaler():
    (name, budget), *others = objects("PodDisruptionBudget").items()
    (scaler,) = objects("HorizontalPodAutoscaler").values()
    deployment = objects("Deployment")[name]["spec"]
    assert not others and scaler["spec"]["scaleTargetRef"]["name"] == name
    assert "replicas" not in deployment  # each apply would undo what the autoscaler did
    assert budget["spec"]["minAvailable"] < scaler["spec"]["minReplicas"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    labels = deployment["template"]["metadata"]["labels"].items()
    for selector in (budget["spec"]["selector"], spread["labelSelector"], deployment["selector"]):
        assert selector["matchLabels"] and selector["matchLabels"].items() <= labels


def policy_of(pod: str) -> dict:
    """The one network policy that selects the pods of a deployment."""
    labels = pods()[pod]["metadata"]["labels"]
    (policy,) = (
        entry["spec"]
        for entry in objects("NetworkPolicy").values()
        if entry["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    )
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    return policy


def ports_of(pod: str) -> dict[str, int]:
    """The ports of a deployment's container, by name."""
    return {port["name"]: port["containerPort"] for port in container(pod)["ports"]}


def allowed(rule: dict) -> set[tuple[str, int]]:
    """Protocol and port of what a rule of a policy lets through."""
    return {(port["protocol"], port["port"]) for port in rule["ports"]}


def test_server_is_reached_by_labelled_callers_and_prometheus_alone():
    callers, prometheus = policy_of("imgcap-serving")["ingress"]
    ports = ports_of("imgcap-serving")
    (peer,) = callers["from"]
    assert peer == {"podSelector": {"matchLabels": {"imgcap-caller": "true"}}}  # this namespace
    assert allowed(callers) == {("TCP", ports["grpc"]), ("TCP", ports["http"])}
    (peer,) = prometheus["from"]
    assert peer == {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    assert allowed(prometheus) == {("TCP", ports["http"])}
    assert policy_of("imgcap-serving")["egress"] == []
    environment = {
        name: {variable["name"]: variable["value"] for variable in container(name).get("env", [])}
        for name in pods()
    }
    asking = {name for name, variables in environment.items() if SERVER_VARIABLE in variables}
    assert asking == {"imgcap-page"}
    for name in asking:
        assert pods()[name]["metadata"]["labels"]["imgcap-caller"] == "true"
        assert environment[name][SERVER_VARIABLE] == f"dns:///imgcap-serving:{ports['grpc']}"


def test_page_is_reached_by_the_ingress_and_reaches_the_server_and_dns_alone():
    policy = policy_of("imgcap-page")
    (ingress,) = policy["ingress"]
    assert [set(peer) for peer in ingress["from"]] == [{"namespaceSelector"}]
    assert allowed(ingress) == {("TCP", ports_of("imgcap-page")["http"])}
    server, dns = policy["egress"]
    (peer,) = server["to"]
    labels = pods()["imgcap-serving"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert allowed(server) == {("TCP", ports_of("imgcap-serving")["grpc"])}
    (peer,) = dns["to"]
    assert set(peer) == {"namespaceSelector", "podSelector"}
    assert allowed(dns) == {("UDP", 53), ("TCP", 53)}


def test_kserve_runs_the_same_server():
    (service,) = documents(DEPLOYMENT / "kserve" / "inference-service.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert (service["kind"], service["metadata"]["name"]) == ("InferenceService", MODEL_NAME)
    pod, model = predictor(), predictor()["model"]
    plain, plain_pod = container("imgcap-serving"), pods()["imgcap-serving"]["spec"]
    assert model["modelFormat"] == {"name": "tensorflow", "version": "2"}
    assert (model["protocolVersion"], model["runtime"]) == ("v1", "kserve-tensorflow-serving")
    volumes = {volume["name"]: volume for volume in plain_pod["volumes"]}
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert model["storageUri"] == f"pvc://{claim}/{MODEL_NAME}"
    assert model["resources"] == plain["resources"]
    assert pod["securityContext"] == plain_pod["securityContext"]
    user = {"runAsUser": plain_pod["securityContext"]["runAsUser"]}
    assert model["securityContext"] == plain["securityContext"] | user
    assert model["startupProbe"]["tcpSocket"] == {"port": 8080}
    assert model["readinessProbe"]["httpGet"] == {"path": f"/v1/models/{MODEL_NAME}", "port": 8080}
    (scaler,) = objects("HorizontalPodAutoscaler").values()
    for bound in ("minReplicas", "maxReplicas"):
        assert pod[bound] == scaler["spec"][bound]
    annotations = service["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == METRICS_PATH
    assert annotations["prometheus.io/port"] == "8080"


def test_page_image_copies_what_it_needs_and_has_no_tensorflow():
    text = (DEPLOYMENT / "Dockerfile.app").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    allowed = set(
        re.findall(
            r"^!(.+)$", (DEPLOYMENT / "Dockerfile.app.dockerignore").read_text(), re.MULTILINE
        )
    )
    assert copied == allowed
    assert "'.[app]'" in text and "tensorflow" not in text.split("\n", 1)[1].lower()
    (start,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    flags = {flag for name, flag in used_flags(start) if name == "imgcap-page"}
    assert flags == {"host", "port", "open_browser"} <= flags_of(load_commands()["imgcap-page"])
