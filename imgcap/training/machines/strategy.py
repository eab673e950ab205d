"""Setting up the process for training: devices, tf.distribute strategy, precision, seeds."""

from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.errors import ConfigError
from imgcap.host import quiet
from imgcap.run.directory import is_run
from imgcap.training.machines.cluster import VARIABLE, WORKER, Cluster, load_cluster
from imgcap.training.machines.interruption import ended_by_ctrl_c
from imgcap.training.machines.slurm import count_tasks, load_step


def set_up(config: TrainConfig) -> tf.distribute.Strategy:
    """Sets up the process for training, and prints which devices train; before any tensor exists.

    Args:
        config: strategy, devices, precision, seed and determinism.

    Returns:
        The strategy by `config.strategy`.

    Raises:
        ConfigError: the machine or the environment lacks something that the strategy needs, or the
            strategy cannot do what another setting says, or --jit would compile for CPUs.
    """
    refuse_slow_compilation(config)
    _set_devices(config.num_logical_cpus)
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(config.strategy)
    _refuse_what_it_cannot_do(strategy, config)
    quiet.hide_onednn_note()
    return strategy


def has_only_cpus() -> bool:
    """Whether this machine has no accelerator that TensorFlow can use."""
    return all(device.device_type == "CPU" for device in tf.config.list_physical_devices())


def refuse_slow_compilation(config: TrainConfig) -> None:
    """Refuses --jit on CPUs, where compiled steps are slower, unless the run was begun with it.

    XLA makes float32 products of bfloat16 ones on a CPU, so that bfloat16 gains nothing: half of
    the captions a second on a processor with bfloat16, nine tenths on one without. Besides, each
    length of captions is compiled anew, for 12 to 18 s of a core.

    Args:
        config: names --jit and the run directory.

    Raises:
        ConfigError: a new run would compile for CPUs.
    """
    if config.jit and has_only_cpus() and not is_run(Path(config.workdir)):
        raise ConfigError(
            "--jit makes training slower on CPUs, where XLA multiplies bfloat16 as float32 and "
            "compiles for many seconds at each new length of captions: drop it, or train on a GPU"
        )


def _refuse_what_it_cannot_do(strategy: tf.distribute.Strategy, config: TrainConfig) -> None:
    several_workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if config.num_logical_cpus > 1 and several_workers:
        raise ConfigError(
            f"--num_logical_cpus={config.num_logical_cpus} has no use in a worker, which is one "
            "replica without a GPU: start more workers"
        )
    if config.skip_bad_records and several_workers and _count_workers(strategy) > 1:
        raise ConfigError(
            "--skip_bad_records: workers that can read different records would not train on the "
            "same batches: mend the shards, or train on one machine"
        )
    if config.batch_size % strategy.num_replicas_in_sync:
        raise ConfigError(
            f"--batch_size={config.batch_size} can't be split evenly over "
            f"{strategy.num_replicas_in_sync} replicas: choose a multiple, or --strategy=one_device"
        )


def _count_workers(strategy: tf.distribute.MultiWorkerMirroredStrategy) -> int:
    return strategy.cluster_resolver.cluster_spec().num_tasks(WORKER)


def _set_devices(num_logical_cpus: int) -> None:
    for gpu in tf.config.list_physical_devices("GPU"):
        # Take memory as it is needed: other processes of the user (a server, a notebook) may share
        # the card.
        tf.config.experimental.set_memory_growth(gpu, True)
    if num_logical_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        if tf.config.get_logical_device_configuration(cpu) is None:
            parts = [tf.config.LogicalDeviceConfiguration()] * num_logical_cpus
            tf.config.set_logical_device_configuration(cpu, parts)


class _Choice(NamedTuple):
    """A strategy that was chosen, and why.

    Attributes:
        strategy: 'plain' (no replication), or as the flag's values but 'auto'.
        reason: in words.
    """

    strategy: str
    reason: str


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Builds the tf.distribute strategy of a name, and prints which devices it uses and why.

    Args:
        name: 'auto' (multi_worker if TF_CONFIG names several workers, else mirrored if there are
            several devices, else none), 'one_device', 'mirrored' (all GPUs, else all logical CPUs)
            or 'multi_worker' (TF_CONFIG says who is who; without it, the Slurm step by `srun`).

    Returns:
        The strategy.

    Raises:
        ConfigError: 'multi_worker' without a usable TF_CONFIG or Slurm step.
    """
    if name == "multi_worker" or (name == "auto" and _in_a_cluster()):
        auto = "strategy auto: TF_CONFIG names several workers"
        return _make_multi_worker(auto if name == "auto" else f"strategy {name}, as given")
    # No device may be listed before a multi_worker strategy exists; here they may.
    gpus = tf.config.list_logical_devices("GPU")
    kind, devices = ("GPU", gpus) if gpus else ("CPU", tf.config.list_logical_devices("CPU"))
    chosen = _choose(name, len(devices))
    if chosen.strategy == "mirrored":
        print(f"devices: {_count(len(devices), kind)}, mirrored ({chosen.reason})", flush=True)
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    among = f" of {len(devices)}" if len(devices) > 1 else ""
    print(f"devices: {_count(1, kind)}{among} ({chosen.reason})", flush=True)
    if chosen.strategy == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    return tf.distribute.get_strategy()


def _choose(name: str, devices: int) -> _Choice:
    if name != "auto":
        return _Choice(name, f"strategy {name}, as given")
    if devices > 1:
        return _Choice("mirrored", f"strategy auto: several devices{_remark_on_slurm()}")
    return _Choice("plain", f"strategy auto: one device, no replication{_remark_on_slurm()}")


def _remark_on_slurm() -> str:
    """Says that tasks of one step train apart, as is right if each has a run of its own."""
    tasks = count_tasks()
    if tasks < 2:
        return ""
    return f"; the {tasks} tasks of this Slurm step train apart, multi_worker would join them"


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'s' if number > 1 else ''}"


def _in_a_cluster() -> bool:
    cluster = load_cluster()
    return cluster is not None and len(cluster.workers) > 1


def _make_multi_worker(reason: str) -> tf.distribute.Strategy:
    cluster = load_cluster() or load_step()
    if cluster is None:
        raise ConfigError(
            f"--strategy=multi_worker needs {VARIABLE} with a cluster and a task, or a Slurm step "
            "(srun imgcap-train …): set it, or use mirrored"
        )
    # No logical device may have been listed before: collectives are set up together with them.
    gpus = tf.config.list_physical_devices("GPU")
    implementations = tf.distribute.experimental.CommunicationImplementation
    # NCCL moves tensors from GPU to GPU; between CPUs a ring of gRPC calls is all there is.
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementations.NCCL if gpus else implementations.RING
    )
    count = len(cluster.workers)
    if cluster.rank == 0:
        print(
            f"devices: {_count(max(1, len(gpus)), 'GPU' if gpus else 'CPU')} in this one of "
            f"{_count(count, 'worker')}, multi_worker ({reason})",
            flush=True,
        )
    others = [address for rank, address in enumerate(cluster.workers) if rank != cluster.rank]
    if others:
        print(
            f"worker {cluster.rank} of {count}: waiting for {', '.join(others)}",
            flush=True,
        )
    try:
        with ended_by_ctrl_c():
            return tf.distribute.MultiWorkerMirroredStrategy(
                _make_resolver(cluster, len(gpus)), options
            )
    except (tf.errors.OpError, RuntimeError) as error:
        raise ConfigError(
            f"{cluster.source}: the workers {', '.join(cluster.workers)} can't be joined "
            f"({str(error).splitlines()[0][:160]}): start all of them, with addresses that reach "
            "each other and free ports"
        ) from None


def _make_resolver(
    cluster: Cluster, gpus: int
) -> tf.distribute.cluster_resolver.SimpleClusterResolver:
    """Tells TensorFlow of those that train alone: it would wait for every 'chief' and know no
    'master'.
    """
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({WORKER: list(cluster.workers)}),
        task_type=WORKER,
        task_id=cluster.rank,
        num_accelerators={"GPU": gpus},
        rpc_layer="grpc",
    )
