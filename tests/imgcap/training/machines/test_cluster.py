"""TF_CONFIG as schedulers set it, and every way to get it wrong."""

import json
from pathlib import Path

import pytest

from imgcap.cli import train
from imgcap.errors import ConfigError
from imgcap.training.machines.cluster import Cluster, find_idle_task, load_cluster

WORKERS = ["a:1", "b:2"]


def load(cluster: object, task: object) -> Cluster | None:
    return load_cluster({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})


def test_who_is_who() -> None:
    assert load({"worker": WORKERS}, {"type": "worker", "index": 1}) == Cluster(("a:1", "b:2"), 1)
    # Kubeflow names a chief, writes indices as text, and adds an evaluator that takes no part.
    jobs = {"worker": WORKERS, "chief": ["c:3"], "evaluator": ["d:4"]}
    assert load(jobs, {"type": "chief", "index": 0}) == Cluster(("c:3", "a:1", "b:2"), 0)
    assert load(jobs, {"type": "worker", "index": "0"}) == Cluster(("c:3", "a:1", "b:2"), 1)


# As each service writes the variable for one of its processes, and what is to be made of it: the
# cluster, or the task that takes no part.
VERTEX_JOB = r'"{\"worker_pool_specs\": [{\"replica_count\": 1}], \"args\": [\"--epochs=3\"]}"'
WRITTEN = {
    "Kubeflow's TFJob, chief and workers": (
        """{"cluster": {"chief": ["mine-chief-0.ns.svc:2222"],
        "worker": ["mine-worker-0.ns.svc:2222", "mine-worker-1.ns.svc:2222"]},
        "task": {"type": "worker", "index": 1}, "environment": "cloud"}""",
        Cluster(
            (
                "mine-chief-0.ns.svc:2222",
                "mine-worker-0.ns.svc:2222",
                "mine-worker-1.ns.svc:2222",
            ),
            2,
        ),
    ),
    "TFJob's evaluator, which is in no list": (
        """{"cluster": {"chief": ["mine-chief-0.ns.svc:2222"],
        "worker": ["mine-worker-0.ns.svc:2222"]},
        "task": {"type": "evaluator", "index": 0}, "environment": "cloud"}""",
        "evaluator 0",
    ),
    "TFJob of TensorFlow 1, with a master and parameter servers": (
        """{"cluster": {"master": ["m-master-0:2222"], "ps": ["m-ps-0:2222", "m-ps-1:2222"],
        "worker": ["m-worker-0:2222"]}, "task": {"type": "master", "index": 0},
        "environment": "cloud"}""",
        Cluster(("m-master-0:2222", "m-worker-0:2222"), 0),
    ),
    "its parameter server": (
        """{"cluster": {"master": ["m-master-0:2222"], "ps": ["m-ps-0:2222", "m-ps-1:2222"]},
        "task": {"type": "ps", "index": 1}, "environment": "cloud"}""",
        "ps 1",
    ),
    "Vertex AI, whose job is a text and whose index may be one": (
        f"""{{"cluster": {{"chief": ["cmle-training-workerpool0-ab12-0:2222"],
        "worker": ["cmle-training-workerpool1-ab12-0:2222"]}}, "environment": "cloud",
        "task": {{"type": "worker", "index": "0", "cloud": "x1", "trial": "3"}},
        "job": {VERTEX_JOB}}}""",
        Cluster(
            ("cmle-training-workerpool0-ab12-0:2222", "cmle-training-workerpool1-ab12-0:2222"), 1
        ),
    ),
    "AI Platform, whose job is a tree, with an evaluator": (
        """{"cluster": {"chief": ["cmle-training-chief-1-0:2222"]}, "environment": "cloud",
        "job": {"scale_tier": "CUSTOM", "worker_count": "0", "region": "us-central1"},
        "task": {"type": "evaluator", "index": 0, "cloud": "a1", "trial": "1"}}""",
        "evaluator 0",
    ),
    "SageMaker, all hosts workers": (
        """{"cluster": {"worker": ["algo-1:8890", "algo-2:8890"]}, "environment": "cloud",
        "task": {"index": 1, "type": "worker"}}""",
        Cluster(("algo-1:8890", "algo-2:8890"), 1),
    ),
    "SageMaker with parameter servers, each beside a worker": (
        """{"cluster": {"master": ["algo-1:2222"], "ps": ["algo-1:2223", "algo-2:2223"],
        "worker": ["algo-2:2222"]}, "environment": "cloud",
        "task": {"index": 0, "type": "worker"}}""",
        Cluster(("algo-1:2222", "algo-2:2222"), 1),
    ),
    "Go's empty lists": (
        """{"cluster": {"chief": null, "ps": [], "evaluator": null, "worker": ["a:1", "b:1"]},
        "task": {"type": "worker", "index": 1}, "rpc_layer": "grpc"}""",
        Cluster(("a:1", "b:1"), 1),
    ),
    "a chief without workers": (
        """{"cluster": {"chief": ["a:1"], "worker": []}, "task": {"type": "chief", "index": 0}}""",
        Cluster(("a:1",), 0),
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_as_schedulers_write_it(name: str) -> None:
    text, meant = WRITTEN[name]
    environment = {"TF_CONFIG": text}
    idle = find_idle_task(environment)
    assert (idle if idle else load_cluster(environment)) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": "evaluator"}',
        '{"task": {"type": "evaluator", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "boss", "index": 0}}',
    ],
)
def test_no_idle_task(text: str) -> None:
    assert find_idle_task({"TF_CONFIG": text}) is None


@pytest.mark.parametrize("strategy", ["auto", "multi_worker"])
def test_an_evaluator_ends_well(
    strategy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TF_CONFIG", WRITTEN["TFJob's evaluator, which is in no list"][0])
    flags = [f"--data_dir={tmp_path / 'none'}", f"--workdir={tmp_path / 'run'}"]
    assert train.main(["imgcap-train", *flags, f"--strategy={strategy}"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("nothing to do: TF_CONFIG makes this the task evaluator 0, ")
    assert shown.out.count("\n") == 1 and not shown.err
    assert not (tmp_path / "run").exists()


def test_who_trains_on_one_device_is_no_evaluator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TF_CONFIG", WRITTEN["its parameter server"][0])
    flags = [f"--data_dir={tmp_path / 'none'}", f"--workdir={tmp_path / 'run'}"]
    assert train.main(["imgcap-train", *flags, "--strategy=one_device"]) == 1
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", [None, "", "{}", '{"task": {"type": "worker", "index": 0}}', '{"cluster": {}}']
)
def test_no_cluster(text: str | None) -> None:
    assert load_cluster({} if text is None else {"TF_CONFIG": text}) is None


@pytest.mark.parametrize(
    ("cluster", "task", "message"),
    [
        (
            ["a:1"],
            {"type": "worker", "index": 0},
            'has the cluster ["a:1"], not a list of host:port under',
        ),
        ({"worker": "a:1"}, {"type": "worker", "index": 0}, "not a list of host:port"),
        ({"worker": None}, {"type": "worker", "index": 0}, "not a list of host:port"),
        # A scheduler that lets the number of workers change tells each of itself alone.
        ({"worker": {"1": "b:2"}}, {"type": "worker", "index": 1}, "not a list of host:port"),
        ({"ps": ["a:1"]}, {"type": "worker", "index": 0}, "not a list of host:port"),
        ({"worker": ["a", "b:2"]}, {"type": "worker", "index": 0}, "not a list of host:port"),
        ({"worker": ["a:99999"]}, {"type": "worker", "index": 0}, "not a list of host:port"),
        (
            {"worker": ["a:1", "a:1"]},
            {"type": "worker", "index": 0},
            "names an address twice (a:1, a:1)",
        ),
        ({"worker": WORKERS}, {"type": "worker", "index": 2}, "which is none of its 2 workers"),
        ({"worker": WORKERS}, {"type": "worker"}, "which is none of its 2 workers"),
        ({"worker": WORKERS}, {"type": "evaluator", "index": 0}, "which is none of its 2 workers"),
        ({"worker": WORKERS}, None, "which is none of its 2 workers"),
    ],
)
def test_what_can_not_be_understood(cluster: object, task: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(cluster, task)
    assert str(error.value).startswith("TF_CONFIG ") and message in str(error.value)


def test_the_command_says_it_in_one_line(
    train_flags: list[str],
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{broken")
    assert (
        train.main(
            ["imgcap-train", *train_flags, f"--workdir={tmp_path}", "--strategy=multi_worker"]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("imgcap-train: error: TF_CONFIG is no JSON") and error.count("\n") == 1
