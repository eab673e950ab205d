"""Which devices a run takes by itself, and the first line that says so."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.cli import train
from imgcap.config import TrainConfig
from imgcap.errors import ConfigError
from imgcap.run import directory
from imgcap.training.machines.strategy import make_strategy, refuse_slow_compilation
from tests.support.cluster_of_processes import exit_codes, fork_server, started
from tests.support.sharing import forget_checksums

ONE = "devices: 1 CPU (strategy auto: one device, no replication)"
SEVERAL = "devices: 2 CPUs, mirrored (strategy auto: several devices)"


def test_auto_is_the_default() -> None:
    assert TrainConfig().strategy == "auto"


# The tests' own process has two logical CPUs.
@pytest.mark.parametrize(
    ("name", "line", "replicas", "kind"),
    [
        ("auto", SEVERAL, 2, tf.distribute.MirroredStrategy),
        (
            "mirrored",
            "devices: 2 CPUs, mirrored (strategy mirrored, as given)",
            2,
            tf.distribute.MirroredStrategy,
        ),
        (
            "one_device",
            "devices: 1 CPU of 2 (strategy one_device, as given)",
            1,
            tf.distribute.OneDeviceStrategy,
        ),
    ],
)
def test_several_devices(
    name: str, line: str, replicas: int, kind: type, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = make_strategy(name)
    assert isinstance(strategy, kind) and strategy.num_replicas_in_sync == replicas
    assert capsys.readouterr().out == f"{line}\n"


def test_compiling_for_cpus_is_refused_but_in_runs_that_do_so(tmp_path: Path) -> None:
    config = TrainConfig(workdir=str(tmp_path), jit=True)
    with pytest.raises(ConfigError, match="--jit makes training slower on CPUs"):
        refuse_slow_compilation(config)
    (tmp_path / "run.json").write_text("{}")
    refuse_slow_compilation(config)


def test_one_device_trains_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpus = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: cpus[:1] if kind == "CPU" else []
    )
    assert make_strategy("auto") is tf.distribute.get_strategy()
    assert capsys.readouterr().out == f"{ONE}\n"


@pytest.mark.parametrize(
    ("workers", "more", "line"),
    [
        (1, [], ONE),
        (1, ["--num_logical_cpus=2"], SEVERAL),
        (
            2,
            [],
            "devices: 1 CPU in this one of 2 workers, multi_worker (strategy auto: TF_CONFIG names "
            "several workers)",
        ),
    ],
    ids=["one device", "several devices", "several workers"],
)
def test_the_first_line_of_a_run(
    train_flags: list[str], tmp_path: Path, workers: int, more: list[str], line: str
) -> None:
    flags = [*train_flags, "--strategy=auto", "--max_steps=1", f"--workdir={tmp_path / 'run'}"]
    names = ["chief", "other"][:workers]
    with started(fork_server(), tmp_path, names, [*flags, *more]) as processes:
        assert exit_codes(processes) == [0] * workers, (tmp_path / "chief.err").read_text()
    assert (tmp_path / "chief.out").read_text().splitlines()[0] == line


def test_a_batch_that_several_devices_can_not_share(
    train_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*train_flags, f"--workdir={tmp_path / 'run'}", "--strategy=auto", "--batch_size=9"]
    assert train.main(["imgcap-train", *flags]) == 2
    assert "2 replicas: choose a multiple, or --strategy=one_device" in capsys.readouterr().err


def test_a_stored_config_may_name_what_is_no_choice_any_more(
    workdir: Path, train_flags: list[str], tmp_path: Path
) -> None:
    """The strategy is no part of what a run computes: a run kept with another one goes on."""
    copy = shutil.copytree(workdir, tmp_path / "run")
    tree = json.loads((copy / "config.json").read_text())
    tree["train"]["strategy"] = "default"
    (copy / "config.json").write_text(json.dumps(tree))
    forget_checksums(copy)
    assert directory.load_run(copy)[0].train.strategy == "default"
    assert train.main(["imgcap-train", f"--workdir={copy}", *train_flags]) == 0
