"""`TF_CONFIG`, the variable that says which processes train together and which of them this is."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from imgcap.errors import ConfigError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["a:12345", "b:12345"]}, "task": {"type": "worker", "index": 0}}'
# In the order in which tf.distribute numbers them.
TRAINING_JOBS = ("chief", "worker")


class Cluster(NamedTuple):
    """The processes of one run.

    Attributes:
        workers: addresses as host:port, the chief's first.
        rank: this process's place among them; 0 is the chief.
    """

    workers: tuple[str, ...]
    rank: int


def load_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Reads TF_CONFIG as schedulers set it.

    The jobs 'worker' and, if there is one, 'chief' train; others take no part.

    Args:
        environment: the process's variables.

    Returns:
        The cluster; None if the variable is not set or names no cluster.

    Raises:
        ConfigError: it cannot be understood, or this process takes no part in training.
    """
    try:
        tree = json.loads(environment.get(VARIABLE) or "{}")
    except ValueError as error:
        raise ConfigError(
            f"{VARIABLE} is no JSON ({error}): set it to something like {EXAMPLE}"
        ) from None
    if not isinstance(tree, dict) or not tree.get("cluster"):
        return None
    jobs = _jobs(tree["cluster"])
    workers = tuple(address for job in TRAINING_JOBS for address in jobs.get(job, ()))
    return Cluster(workers, _rank(tree.get("task"), jobs))


def _jobs(cluster: Any) -> dict[str, list[str]]:
    jobs = cluster if isinstance(cluster, dict) else {}
    lists = [jobs[job] for job in TRAINING_JOBS if job in jobs]
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
    task = task if isinstance(task, dict) else {}
    job, index = task.get("type"), str(task.get("index", ""))
    if job not in TRAINING_JOBS or not index.isdecimal() or int(index) >= len(jobs.get(job, ())):
        count = sum(len(jobs.get(name, ())) for name in TRAINING_JOBS)
        raise ConfigError(
            f"{VARIABLE} has the task {json.dumps(task)[:200]}, which is none of its {count} "
            "workers: set 'type' to 'worker' and 'index' to this worker's place in the list, from 0"
        )
    return int(index) + (len(jobs.get("chief", ())) if job == "worker" else 0)
