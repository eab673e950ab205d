"""TF_CONFIG as schedulers set it, and every way to get it wrong."""

import json

import pytest

from imgcap.cli import train
from imgcap.errors import ConfigError
from imgcap.training.machines.cluster import Cluster, load_cluster

WORKERS = ["a:1", "b:2"]


def load(cluster: object, task: object) -> Cluster | None:
    return load_cluster({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})


def test_who_is_who() -> None:
    assert load({"worker": WORKERS}, {"type": "worker", "index": 1}) == Cluster(("a:1", "b:2"), 1)
    # Kubeflow names a chief, writes indices as text, and adds an evaluator that takes no part.
    jobs = {"worker": WORKERS, "chief": ["c:3"], "evaluator": ["d:4"]}
    assert load(jobs, {"type": "chief", "index": 0}) == Cluster(("c:3", "a:1", "b:2"), 0)
    assert load(jobs, {"type": "worker", "index": "0"}) == Cluster(("c:3", "a:1", "b:2"), 1)


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
