"""The tasks of a Slurm step, which `srun` starts, as workers of one run."""

import os
import subprocess

import tensorflow as tf

from imgcap.errors import ConfigError
from imgcap.training.machines.cluster import WORKER, Cluster

TASKS, NODES = "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST"
EXAMPLE = "srun --ntasks-per-node=1 imgcap-train …"
# Ports of a step: below those that Linux gives to outgoing connections (from 32768 on). 16 tasks of
# one step fit on a node beside those of another step.
FIRST_PORT, STEPS, PORTS_OF_A_STEP = 10000, 1250, 16


def count_tasks() -> int:
    """Counts the tasks of this step; 0 outside of one, such as in a batch script itself."""
    tasks = os.environ.get(TASKS, "")
    return int(tasks) if tasks.isdecimal() else 0


def load_step() -> Cluster | None:
    """Reads which tasks `srun` started together, and which of them this process is.

    TensorFlow's `SlurmClusterResolver` makes the addresses. It sorts nodes by their names as text,
    and Slurm does not (n2 comes before n10), so this process finds its own place by its node and
    its number there, not by SLURM_PROCID. That holds for each `--distribution`, too. GPUs are left
    as Slurm gave them: the resolver would number them anew, which is wrong if a task sees its own
    alone, and it fails on nodes without any.

    Returns:
        The cluster; None outside of a step.

    Raises:
        ConfigError: the step's variables do not fit together.
    """
    tasks = count_tasks()
    if not tasks:
        return None
    try:
        port = _first_port(os.environ["SLURM_JOB_ID"], os.environ["SLURM_STEP_ID"])
        addresses = _addresses(tasks, port)
        own = f"{os.environ['SLURMD_NODENAME']}:{port + int(os.environ['SLURM_LOCALID'])}"
        if own not in addresses:
            raise ValueError(f"{own} is none of {', '.join(addresses)[:160]}")
        return Cluster(addresses, addresses.index(own), NODES)
    except KeyError as error:
        raise ConfigError(
            f"{error.args[0]} is not set in this Slurm step: start it as {EXAMPLE}, or set "
            "TF_CONFIG"
        ) from None
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{NODES}={os.environ.get(NODES)}: this Slurm step of {tasks} tasks can't be "
            f"understood ({error}): start it as {EXAMPLE}, or set TF_CONFIG"
        ) from None


def _first_port(job: str, step: str) -> int:
    """The port of the first task on each node; that of another step is another one, if ids are
    near each other.
    """
    return FIRST_PORT + (31 * int(job) + int(step)) % STEPS * PORTS_OF_A_STEP


def _addresses(tasks: int, port: int) -> tuple[str, ...]:
    """The addresses of all tasks, host:port, in the order that every task finds alike."""
    try:
        return _resolve(tasks, port)
    except ValueError:
        # Names with something after the brackets, such as n[1-2]-ib, are beyond TensorFlow.
        hosts = _ask_slurm(os.environ[NODES])
        if not hosts:
            raise
        os.environ[NODES] = ",".join(hosts)
        return _resolve(tasks, port)


def _resolve(tasks: int, port: int) -> tuple[str, ...]:
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=port,
        # As many as can be needed: it does not list a task without one.
        gpus_per_node=tasks,
        gpus_per_task=1,
        auto_set_gpu=False,
    )
    return tuple(resolver.cluster_spec().as_dict()[WORKER])


def _ask_slurm(nodes: str) -> list[str]:
    """Has Slurm itself write out a list of nodes; empty if `scontrol` is not at hand."""
    try:
        found = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return found.stdout.split()
