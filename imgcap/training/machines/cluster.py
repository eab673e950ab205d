"""`TF_CONFIG`, the variable that says which processes train together and which of them this is."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from imgcap.errors import ConfigError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["a:12345", "b:12345"]}, "task": {"type": "worker", "index": 0}}'
WORKER = "worker"
# In the order in which tf.distribute numbers them; 'master' is what 'chief' was called in
# TensorFlow 1.
TRAINING_JOBS = ("chief", "master", WORKER)
# Jobs of other kinds of training, which schedulers start all the same.
IDLE_JOBS = ("evaluator", "ps")


class Cluster(NamedTuple):
    """The processes of one run.

    Attributes:
        workers: addresses as host:port, the chief's first.
        rank: this process's place among them; 0 is the chief.
        source: the variable that names them, for error texts.
    """

    workers: tuple[str, ...]
    rank: int
    source: str = VARIABLE


def load_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Reads TF_CONFIG as schedulers set it.

    The jobs 'worker' and, if there is one, 'chief' (or 'master') train; others take no part.

    Args:
        environment: the process's variables.

    Returns:
        The cluster; None if the variable is not set or names no cluster.

    Raises:
        ConfigError: it cannot be understood, or this process takes no part in training.
    """
    tree = _load_tree(environment)
    if not tree.get("cluster"):
        return None
    jobs = _jobs(tree["cluster"])
    workers = tuple(address for job in TRAINING_JOBS for address in jobs.get(job, ()))
    return Cluster(workers, _rank(tree.get("task"), jobs))


def find_idle_task(environment: Mapping[str, str] = os.environ) -> str | None:
    """Finds out whether TF_CONFIG gives this process a task that takes no part in training.

    Args:
        environment: the process's variables.

    Returns:
        Job and index, such as 'evaluator 0'; None if this process trains.

    Raises:
        ConfigError: TF_CONFIG is no JSON.
    """
    tree = _load_tree(environment)
    task = tree.get("task")
    if not tree.get("cluster") or not isinstance(task, dict) or task.get("type") not in IDLE_JOBS:
        return None
    return f"{task['type']} {task.get('index', 0)}"


def _load_tree(environment: Mapping[str, str]) -> dict[str, Any]:
    """What TF_CONFIG holds; empty if it is not set."""
    try:
        tree = json.loads(environment.get(VARIABLE) or "{}")
    except ValueError as error:
        raise ConfigError(
            f"{VARIABLE} is no JSON ({error}): set it to something like {EXAMPLE}"
        ) from None
    return tree if isinstance(tree, dict) else {}


def _jobs(cluster: Any) -> dict[str, list[str]]:
    """The addresses of each training job of a cluster that names at least one."""
    given = cluster if isinstance(cluster, dict) else {}
    # Go writes an empty list as null.
    jobs = {job: given[job] for job in TRAINING_JOBS if given.get(job) is not None}
    lists = list(jobs.values())
    addresses = [address for found in lists if isinstance(found, list) for address in found]
    whole = bool(addresses) and all(
        isinstance(address, str) and _has_port(address) for address in addresses
    )
    if not whole or not all(isinstance(found, list) for found in lists):
        raise ConfigError(
            f"{VARIABLE} has the cluster {json.dumps(cluster)[:200]}, not a list of host:port "
            f"under 'worker': set it to something like {EXAMPLE}"
        )
    if len(set(addresses)) < len(addresses):
        raise ConfigError(
            f"{VARIABLE} names an address twice ({', '.join(addresses)[:200]}): give each worker "
            "its own"
        )
    return jobs


def _has_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _rank(task: Any, jobs: dict[str, list[str]]) -> int:
    """The place of a task among all that train."""
    task = task if isinstance(task, dict) else {}
    job, index = task.get("type"), str(task.get("index", ""))
    if job not in TRAINING_JOBS or not index.isdecimal() or int(index) >= len(jobs.get(job, ())):
        count = sum(len(jobs.get(name, ())) for name in TRAINING_JOBS)
        raise ConfigError(
            f"{VARIABLE} has the task {json.dumps(task)[:200]}, which is none of its {count} "
            "workers: set 'type' to 'worker' and 'index' to this worker's place in the list, from 0"
        )
    before = TRAINING_JOBS[: TRAINING_JOBS.index(job)]
    return int(index) + sum(len(jobs.get(name, ())) for name in before)
