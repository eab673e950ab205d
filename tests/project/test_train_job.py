"""The job manifest: its names fit together, its shell makes a TF_CONFIG that training understands,
its flags exist.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from imgcap.training.machines.cluster import Cluster, load_cluster
from imgcap.training.machines.interruption import PREEMPTED_STATUS
from tests.support.command_lines import flags_of, load_commands
from tests.support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML, of the extra `test`, is not installed")

CONFIGS = ROOT / "configs"


@pytest.fixture(scope="module")
def documents() -> dict[str, dict]:
    loaded = yaml.safe_load_all((CONFIGS / "train_job.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in loaded}


def container(documents: dict[str, dict]) -> dict:
    (only,) = documents["Job"]["spec"]["template"]["spec"]["containers"]
    return only


def variables(documents: dict[str, dict]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(documents)["env"]}


def test_pods_find_each_other(documents: dict[str, dict]) -> None:
    service, job = documents["Service"], documents["Job"]
    pod = job["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed"
    count = int(variables(documents)["WORKERS"])
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == count
    port = container(documents)["ports"][0]["containerPort"]
    assert service["spec"]["ports"][0]["port"] == port
    script = container(documents)["args"][0].replace("exec imgcap-train", "echo")
    for index in range(count):
        environment = {
            **variables(documents),
            "JOB_COMPLETION_INDEX": str(index),
            "PATH": "/usr/bin:/bin",
        }
        shell = [*container(documents)["command"], f"{script}\nprintf '%s' \"$TF_CONFIG\" >&2"]
        found = subprocess.run(
            shell, env=environment, capture_output=True, text=True, check=True
        ).stderr
        name, domain = job["metadata"]["name"], service["metadata"]["name"]
        hosts = tuple(f"{name}-{number}.{domain}:{port}" for number in range(count))
        assert load_cluster({"TF_CONFIG": found}) == Cluster(hosts, index)
        assert json.loads(found)["task"]["type"] == "worker"


def test_flags_exist(documents: dict[str, dict]) -> None:
    (line,) = [
        line
        for line in container(documents)["args"][0].splitlines()
        if line.startswith("exec imgcap-train")
    ]
    given = dict(word[2:].split("=", 1) for word in line.split()[2:])
    assert set(given) <= flags_of(load_commands()["imgcap-train"])
    assert given["strategy"] == "multi_worker"
    assert (CONFIGS / Path(given["flagfile"]).name).is_file()
    mounts = {mount["mountPath"] for mount in container(documents)["volumeMounts"]}
    for name in ("data_dir", "workdir", "flagfile"):
        assert any(given[name].startswith(f"{mount}/") for mount in mounts), name


def test_two_machines_by_the_plain_commands() -> None:
    text = (ROOT / "docs" / "train" / "machines.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```bash\n(export CLUSTER.*?)```", text, re.DOTALL)
    script = re.sub(
        r"^imgcap-train.*$", 'bash -c \'printf "%s\\\\n" "$TF_CONFIG"\'', block, flags=re.MULTILINE
    )
    lines = subprocess.run(
        ["bash", "-ec", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = [load_cluster({"TF_CONFIG": line}) for line in lines]
    assert found == [Cluster(("first:12345", "second:12345"), rank) for rank in range(2)]


def test_statuses_are_those_of_the_command(documents: dict[str, dict]) -> None:
    rules = documents["Job"]["spec"]["podFailurePolicy"]["rules"]
    by_status = {
        rule["onExitCodes"]["values"][0]: rule["action"] for rule in rules if "onExitCodes" in rule
    }
    assert by_status == {2: "FailJob", PREEMPTED_STATUS: "Ignore"}
    # Kubernetes takes such a policy with this alone.
    assert documents["Job"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert re.fullmatch(r"[a-z-]+", documents["Job"]["metadata"]["name"])
