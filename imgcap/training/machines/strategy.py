"""Strategy by name, precision policy, seeds, devices: how the machine is used."""

import keras
import tensorflow as tf

from imgcap.config import TrainConfig
from imgcap.errors import ConfigError
from imgcap.host import quiet
from imgcap.training.machines.cluster import VARIABLE, load_cluster
from imgcap.training.machines.interruption import ended_by_ctrl_c


def set_up(config: TrainConfig) -> tf.distribute.Strategy:
    """Prepares the process for training; to be called before any tensor exists.

    Args:
        config: strategy, devices, precision, seed and determinism.

    Returns:
        The strategy by `config.strategy`.

    Raises:
        ConfigError: the machine or the environment lacks what the strategy needs.
    """
    _set_devices(config.num_logical_cpus)
    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(config.strategy)
    if config.num_logical_cpus > 1 and isinstance(
        strategy, tf.distribute.MultiWorkerMirroredStrategy
    ):
        raise ConfigError(
            f"--num_logical_cpus={config.num_logical_cpus} has no use in a worker, which is one "
            "replica without a GPU: start more workers"
        )
    if (
        config.skip_bad_records
        and _in_a_cluster()
        and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    ):
        raise ConfigError(
            "--skip_bad_records: workers that can read different records would not train on the "
            "same batches: mend the shards, or train on one machine"
        )
    if config.batch_size % strategy.num_replicas_in_sync:
        raise ConfigError(
            f"--batch_size={config.batch_size} can't be split evenly over "
            f"{strategy.num_replicas_in_sync} replicas: choose a multiple"
        )
    quiet.hear_onednn_note()
    return strategy


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


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The tf.distribute strategy of a name.

    Args:
        name: 'default' (no strategy), 'one_device', 'mirrored' (all GPUs, else all logical CPUs),
            'multi_worker' (TF_CONFIG says who is who), or 'auto' (what the machine and TF_CONFIG
            suggest).

    Returns:
        The strategy.

    Raises:
        ConfigError: 'multi_worker' without a usable TF_CONFIG.
    """
    if name == "multi_worker" or (name == "auto" and _in_a_cluster()):
        return _make_multi_worker()
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    if name == "auto":
        name = "mirrored" if len(devices) > 1 else "default"
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.MirroredStrategy(devices)


def _in_a_cluster() -> bool:
    cluster = load_cluster()
    return cluster is not None and len(cluster.workers) > 1


def _make_multi_worker() -> tf.distribute.Strategy:
    cluster = load_cluster()
    if cluster is None:
        raise ConfigError(
            f"--strategy=multi_worker needs {VARIABLE} with a cluster and a task: set it, or use "
            "mirrored"
        )
    # No device may have been listed before: collectives are set up together with the devices.
    gpus = tf.config.list_physical_devices("GPU")
    implementations = tf.distribute.experimental.CommunicationImplementation
    # NCCL moves tensors from GPU to GPU; between CPUs a ring of gRPC calls is all there is.
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementations.NCCL if gpus else implementations.RING
    )
    others = [address for rank, address in enumerate(cluster.workers) if rank != cluster.rank]
    if others:
        print(
            f"worker {cluster.rank} of {len(cluster.workers)}: waiting for {', '.join(others)}",
            flush=True,
        )
    try:
        with ended_by_ctrl_c():
            return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except (tf.errors.OpError, RuntimeError) as error:
        raise ConfigError(
            f"{VARIABLE}: the workers {', '.join(cluster.workers)} can't be joined "
            f"({str(error).splitlines()[0][:160]}): start all of them, with addresses that reach "
            "each other and free ports"
        ) from None
