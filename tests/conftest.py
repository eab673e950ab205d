"""Fixtures that tests share: two logical devices, small drawn data, one trained run, one export."""

import gc
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgcap.host import quiet
from tests.support.paths import SHARED
from tests.support.sharing import build_once

SCENES = 40
IMAGE_SIZE = 32


def pytest_configure(config: pytest.Config) -> None:
    """Splits the CPU in two before any tensor exists: MirroredStrategy then has two replicas."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # this process only shares out the files, and its seconds are everybody's
    quiet.import_tensorflow()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    _keep_exchanges_apart(tf.distribute.MirroredStrategy)


def _keep_exchanges_apart(strategy: type) -> None:
    """Gives each mirrored strategy keys of its own for its exchanges, as TensorFlow's own tests do.

    A process that makes several strategies would number their exchanges alike ("Collective instance
    112 expected type 2 … but got type 0"). A command makes one, and needs no such care.
    """
    make = strategy.__init__

    def make_apart(self: object, *arguments: object, **values: object) -> None:
        strategy._collective_key_base += 100_000
        make(self, *arguments, **values)

    strategy.__init__ = make_apart


@pytest.fixture(autouse=True, scope="module")
def _collect_garbage_once() -> None:
    """Takes what lives already out of the garbage collector's sight.

    TensorFlow and the graphs of earlier tests are millions of objects, which each full collection
    would go over again while later tests trace theirs.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _leave_precision_as_it_was() -> Iterator[None]:
    """Brings Keras' policy back, which training in this process sets and the next test would find.

    Keras is not imported for it: most tests need none.
    """
    yield
    keras = sys.modules.get("keras")
    if keras is not None and keras.config.dtype_policy().name != "float32":
        keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data for optional tests."""
    if not (SHARED / "flickr8k").is_dir():
        pytest.skip(f"{SHARED} has no flickr8k: set IMGCAP_SHARED to a folder that has")
    return SHARED


@pytest.fixture(scope="session")
def raw_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw data set of drawn scenes in Kaggle's layout."""
    from imgcap.data.raw import drawn

    folder = tmp_path_factory.mktemp("raw")
    drawn.write_dataset(folder, SCENES, seed=0)
    return folder


@pytest.fixture(scope="session")
def data_dir(raw_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes as shards."""
    from imgcap.config import PrepareConfig
    from imgcap.data.prepare.preparation import prepare

    folder = tmp_path_factory.mktemp("data")
    prepare(
        PrepareConfig(
            raw_dir=str(raw_dir), output_dir=str(folder), num_shards=4, min_count=2, num_processes=2
        )
    )
    return folder


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small .keras encoder that sees colours: mixtures of the mean colours of 8 × 8 patches."""
    import keras

    def build(folder: Path) -> None:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
        patches = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 127.5, -1.0)(inputs))
        outputs = keras.layers.Conv2D(24, 1, activation="relu", name="mixtures")(patches)
        folder.mkdir()
        keras.Model(inputs, outputs).save(folder / "patches.keras")

    return build_once(tmp_path_factory, "encoder", build) / "patches.keras"


@pytest.fixture(scope="session")
def train_flags(data_dir: Path, encoder_file: Path) -> list[str]:
    """Flags of a run that takes a second."""
    return [
        f"--data_dir={data_dir}",
        f"--encoder={encoder_file}",
        f"--image_size={IMAGE_SIZE}",
        "--units=24",
        "--embedding_dim=16",
        "--batch_size=8",
        "--epochs=2",
        "--log_every=1",
        "--cache_features",
        "--learning_rate=0.03",
        "--dropout=0.1",
        # The CPU is split in two, which auto would use: tests name the strategy they are about.
        "--strategy=one_device",
    ]


@pytest.fixture(scope="module")
def compiling_for_cpus() -> Iterator[None]:
    """Lets --jit compile for the CPUs of the tests, as it compiles for GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imgcap.training.machines.strategy.has_only_cpus", lambda: False)
        yield


@pytest.fixture(scope="session")
def workdir(train_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    from imgcap.cli import train

    def build(folder: Path) -> None:
        assert train.main(["imgcap-train", f"--workdir={folder}", *train_flags]) == 0

    return build_once(tmp_path_factory, "run", build)


@pytest.fixture(scope="session")
def models(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with the run as version 1; a test that changes it copies it first."""
    from export import cli

    def build(folder: Path) -> None:
        base = folder / "imgcap"
        assert cli.main(["imgcap-export", f"--workdir={workdir}", f"--output_dir={base}"]) == 0

    return build_once(tmp_path_factory, "models", build) / "imgcap"
