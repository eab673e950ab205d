"""A Slurm step's variables as `srun` sets them, and the workers that they mean."""

import itertools
import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import tensorflow as tf

from imgcap.errors import ConfigError
from imgcap.training.machines.cluster import Cluster
from imgcap.training.machines.slurm import count_tasks, load_step
from imgcap.training.machines.strategy import make_strategy
from imgcap.training.machines.workers import Workers
from tests.support.cluster_of_processes import exit_codes, fork_server

# Job 4711, step 0: 10000 + (31 · 4711 mod 1250) · 16, by hand 146,041 - 116 · 1250 = 1,041.
PORT = 10000 + 1041 * 16


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)


def variables(nodes: str, tasks: str, node: str, local: int = 0, **more: str) -> dict[str, str]:
    """What `srun` sets in one task; nothing may depend on SLURM_PROCID."""
    counts = [int(part) for part in tasks.split(",") if part.isdecimal()]
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(sum(counts)),
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURMD_NODENAME": node,
        "SLURM_LOCALID": str(local),
        "SLURM_PROCID": "0",
        **more,
    }


def step(monkeypatch: pytest.MonkeyPatch, *places: str | int, **more: str) -> None:
    """Makes this process a task by `variables`."""
    for name, value in variables(*places, **more).items():
        monkeypatch.setenv(name, value)


def cluster(rank: int, *addresses: str) -> Cluster:
    return Cluster(addresses, rank, "SLURM_STEP_NODELIST")


def test_one_task_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [f"gpu{number:02d}" for number in (1, 2, 3, 7)]
    for rank, node in enumerate(nodes):
        step(monkeypatch, "gpu[01-03,07]", "1(x4)", node, SLURM_STEP_NUM_TASKS="4")
        assert load_step() == cluster(rank, *(f"{name}:{PORT}" for name in nodes))


def test_several_tasks_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = (f"a1:{PORT}", f"a1:{PORT + 1}", f"b2:{PORT}")
    places = [("a1", 0), ("a1", 1), ("b2", 0)]
    for rank, (node, local) in enumerate(places):
        step(monkeypatch, "a1,b2", "2,1", node, local)
        assert load_step() == cluster(rank, *addresses)


def test_each_task_finds_itself_whatever_the_order_of_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slurm counts n2 before n10; the addresses need only be the same everywhere."""
    found = []
    for procid, node in enumerate(["n2", "n10"]):
        step(monkeypatch, "n[2,10]", "1,1", node, SLURM_PROCID=str(procid))
        found.append(load_step())
    assert {one.workers for one in found} == {(f"n10:{PORT}", f"n2:{PORT}")}
    assert [one.workers[one.rank] for one in found] == [f"n2:{PORT}", f"n10:{PORT}"]


def test_steps_beside_each_other_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = set()
    for job in (4711, 4712):
        for number in (0, 1):
            ids = {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(number)}
            step(monkeypatch, "a1", "1", "a1", **ids)
            ports.add(int(load_step().workers[0].partition(":")[2]))
    assert len(ports) == 4 and all(10000 <= port < 32768 - 16 for port in ports)
    assert all(abs(one - other) >= 16 for one in ports for other in ports - {one})


def test_gpus_stay_as_slurm_gave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    step(monkeypatch, "a1", "2", "a1", 1, CUDA_VISIBLE_DEVICES="0")
    assert load_step().rank == 1
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_names_that_tensorflow_can_not_expand_are_asked_of_slurm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "scontrol"
    script.write_text('#!/bin/sh\n[ "$*" = "show hostnames n[1-2]-ib" ] && echo "n1-ib\nn2-ib"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    step(monkeypatch, "n[1-2]-ib", "1(x2)", "n2-ib", SLURM_STEP_NUM_TASKS="2")
    assert load_step() == cluster(1, f"n1-ib:{PORT}", f"n2-ib:{PORT}")


def test_outside_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load_step(), count_tasks()) == (None, 0)
    # What a batch script has, before its first srun.
    for name, value in {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "2",
        "SLURM_TASKS_PER_NODE": "1(x2)",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURMD_NODENAME": "n1",
    }.items():
        monkeypatch.setenv(name, value)
    assert (load_step(), count_tasks()) == (None, 0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"SLURMD_NODENAME": "c9"}, f"c9:{PORT} is none of a1:{PORT}, b2:{PORT}"),
        ({"SLURM_STEP_NUM_TASKS": "3"}, "Requested 3 tasks but only 2 were assigned"),
        ({"SLURM_STEP_TASKS_PER_NODE": "many"}, "Invalid tasks-per-node list format"),
        ({"SLURM_STEP_NODELIST": "a[1-"}, "SLURM_STEP_NODELIST=a[1-: "),
        ({"SLURM_JOB_ID": "?"}, "invalid literal"),
    ],
)
def test_what_does_not_fit_together(
    more: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step(monkeypatch, "a1,b2", "1,1", "a1", **more)
    with pytest.raises(ConfigError) as error:
        load_step()
    assert message in str(error.value) and "srun" in str(error.value)


def test_a_variable_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    step(monkeypatch, "a1,b2", "1,1", "a1")
    monkeypatch.delenv("SLURM_LOCALID")
    with pytest.raises(ConfigError, match="SLURM_LOCALID is not set in this Slurm step: start it"):
        load_step()


def test_the_official_resolver_alone_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why it is given arguments: drop them when this fails."""
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver
    step(monkeypatch, "n[2,10]", "1,1", "n2", CUDA_VISIBLE_DEVICES="3", SLURM_PROCID="0")
    official = resolver()
    addresses = official.cluster_spec().as_dict()["worker"]
    # Task 0 runs on n2, and would call itself n10; its GPU would be another one.
    assert addresses[official.task_id] == "n10:8888"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    with pytest.raises(ValueError):
        resolver(gpus_per_node=0).cluster_spec()


def test_tasks_train_apart_unless_they_are_to_be_joined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each task of a step may have a run of its own: `srun bash -c 'imgcap-train --seed=…'`."""
    step(monkeypatch, "a1,b2", "1,1", "a1")
    assert make_strategy("auto").num_replicas_in_sync == 2
    assert capsys.readouterr().out == (
        "devices: 2 CPUs, mirrored (strategy auto: several devices; the 2 tasks of this Slurm step "
        "train apart, multi_worker would join them)\n"
    )
    step(monkeypatch, "a1", "1", "a1")
    make_strategy("auto")
    assert capsys.readouterr().out == "devices: 2 CPUs, mirrored (strategy auto: several devices)\n"


def job_with_free_ports() -> str:
    """The number of a job whose first two ports nobody listens to."""
    for job in itertools.count(os.getpid()):
        port = 10000 + 31 * job % 1250 * 16
        with ExitStack() as stack:
            try:
                for number in (port, port + 1):
                    stack.enter_context(socket.socket()).bind(("localhost", number))
            except OSError:
                continue
            return str(job)
    raise AssertionError


def join_here(folder: Path, environment: dict[str, str]) -> None:
    """Joins the workers of this process's step, and writes what all of them tell each other."""
    os.environ.update(environment)
    strategy = make_strategy("multi_worker")
    workers = Workers(strategy)
    text = f"{strategy.num_replicas_in_sync} {workers.count} {workers.gather(10 + workers.rank)}"
    (folder / f"{workers.rank}.txt").write_text(text)


def test_the_tasks_of_a_step_find_each_other(tmp_path: Path) -> None:
    job, context = job_with_free_ports(), fork_server()
    tasks = [
        variables("localhost", "2", "localhost", local, SLURM_JOB_ID=job) for local in range(2)
    ]
    processes = [context.Process(target=join_here, args=(tmp_path, task)) for task in tasks]
    try:
        for process in processes:
            process.start()
        assert exit_codes(processes) == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["2 2 [10, 11]"] * 2
