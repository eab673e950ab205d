"""The batch script: it joins the tasks that it asks for, its flags exist, and it requeues the job
for the status that means "try again" alone.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from imgcap.training.machines.interruption import PREEMPTED_STATUS
from tests.support.command_lines import flags_of, load_commands
from tests.support.paths import ROOT

SCRIPT = ROOT / "configs" / "train.slurm"


def options() -> dict[str, str]:
    lines = re.findall(r"^#SBATCH --(\S+)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(line.partition("=")[::2] for line in lines)


def run(tmp_path: Path, status: int) -> tuple[int, list[str]]:
    """Runs the script with programs that only write down how they were called."""
    log = tmp_path / "log"
    for name, code in (("srun", status), ("scontrol", 0)):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $SRUN_CPUS_PER_TASK $*" >> {log}\nexit {code}\n'
        )
        program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_JOB_ID": "4711",
        "SLURM_CPUS_PER_TASK": "32",
    }
    arguments = ["--data_dir=/shared/my data", "--workdir=/shared/run"]
    ended = subprocess.run(["bash", str(SCRIPT), *arguments], env=environment, check=False)
    return ended.returncode, log.read_text().splitlines()


@pytest.mark.parametrize("status", [0, 1, 2, PREEMPTED_STATUS, 137])
def test_only_try_again_is_tried_again(status: int, tmp_path: Path) -> None:
    ended, (called, *more) = run(tmp_path, status)
    assert ended == status
    assert called == (
        "srun 32 --kill-on-bad-exit=0 imgcap-train --strategy=multi_worker --checkpoint_every=200 "
        "--data_dir=/shared/my data --workdir=/shared/run"
    )
    assert more == (["scontrol 32 requeue 4711"] if status == PREEMPTED_STATUS else [])


def test_what_it_asks_slurm_for() -> None:
    asked = options()
    assert asked["ntasks-per-node"] == "1" and int(asked["nodes"]) > 1
    # To the tasks alone, as this script has no handler ('B:' would be the script alone).
    signal, seconds = asked["signal"].split("@")
    assert signal == "TERM" and int(seconds) >= 60
    # A requeued job writes on in the same file.
    assert asked["requeue"] == "" and asked["open-mode"] == "append"


def test_flags_exist() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    commands = re.findall(r"(?:imgcap-train|train\.slurm) (--(?!container).*)", text)
    assert len(commands) == 2
    known = flags_of(load_commands()["imgcap-train"]) | {"flagfile"}
    for flag in re.findall(r"--(\w+)", " ".join(commands)):
        assert flag in known, flag


def test_bash_can_read_it() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True, env=os.environ)
