"""The commands under attack: a small world to work on, what each reads there, and what it makes."""

import json
import multiprocessing
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imgcap.data.raw import drawn
from tests.campaign.commands import zygote

PLACE = "place"
"""Folder of a world in which each attempt works: the same path each time, since files name it."""

SCENES = 24
IMAGE_SIZE = 32

# Times that a command took: they differ from run to run.
_TIMES = {"tokens_per_second", "images_per_second", "waiting", "seconds_left", "seconds"}
# TensorFlow numbers the functions of a graph as it pleases; that there is a file can be compared.
_NOT_DETERMINISTIC = {"saved_model.pb", "fingerprint.pb"}
_LOCK = ".lock"


class Case(NamedTuple):
    """One command as an attempt runs it.

    Attributes:
        command: key of `zygote.MAINS`.
        arguments: its command line; paths are relative to the place.
        inputs: files and folders of the world that it reads, copied to the place.
        refusal: end of the line by which it refuses to do again what is done; empty if it does not.
    """

    command: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    refusal: str = ""


TRAIN_FLAGS = (
    "--data_dir=data",
    "--encoder=encoder.keras",
    f"--image_size={IMAGE_SIZE}",
    "--units=8",
    "--embedding_dim=8",
    "--batch_size=16",
    "--epochs=2",
    "--log_every=1",
    "--cache_features",
    "--learning_rate=0.03",
    "--strategy=one_device",
    "--deterministic",
    "--checkpoint_every=2",
    "--beam_width=1",
)

PREPARE_FLAGS = (
    "--raw_dir=raw",
    "--output_dir=data",
    "--num_shards=3",
    "--num_processes=2",
    "--min_count=1",
    "--pictures=drawings",
)

CASES = (
    Case("prepare", PREPARE_FLAGS, ("raw",)),
    Case("train", ("--workdir=run", *TRAIN_FLAGS), ("data", "encoder.keras")),
    Case(
        "evaluate",
        ("--workdir=run", "--data_dir=data", "--split=dev", "--calibrate"),
        ("data", "run"),
    ),
    Case(
        "export",
        ("--workdir=run", "--output_dir=models", "--nocheck"),
        ("data", "run"),
    ),
    Case(
        "average",
        ("run", "--workdir=mean", "--checkpoints=kept"),
        ("run",),
        "mean exists: give a new --workdir",
    ),
    Case(
        "caption",
        ("raw/Images", "--local", "--workdir=run", "--jsonl_output=captions.jsonl"),
        ("raw", "run"),
    ),
)


class World(NamedTuple):
    """A folder with small inputs for all commands.

    Attributes:
        folder: holds `raw`, `encoder.keras`, `data` and `run`, and the place.
    """

    folder: Path

    @property
    def place(self) -> Path:
        """Where attempts work."""
        return self.folder / PLACE

    def set_up(self, inputs: Sequence[str]) -> Path:
        """Makes the place anew with copies of some inputs; returns it."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        for name in inputs:
            source, target = self.folder / name, self.place / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
        return self.place

    def run(self, case: Case) -> zygote.Ended:
        """Runs a command in the place as it is, undisturbed."""
        return zygote.run(case.command, case.arguments, self.place)


def build_world(folder: Path) -> World:
    """Draws pictures and an encoder, prepares, trains; the commands themselves do it.

    Args:
        folder: empty.

    Returns:
        The world.
    """
    world = World(folder)
    drawn.write_dataset(folder / "raw", SCENES, seed=0)
    process = multiprocessing.get_context("spawn").Process(
        target=_write_encoder, args=(folder / "encoder.keras",)
    )
    process.start()
    process.join()
    for case, output in ((CASES[0], "data"), (CASES[1], "run")):
        world.set_up(case.inputs)
        ended = world.run(case)
        if ended.status:
            raise RuntimeError(f"imgcap-{case.command} failed undisturbed: {ended.output}")
        shutil.rmtree(world.place / "data" / "features", ignore_errors=True)
        shutil.copytree(world.place / output, folder / output)
    return world


def _write_encoder(path: Path) -> None:
    """Writes a small encoder that sees colours: mixtures of the means of 8 × 8 patches."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    patches = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 127.5, -1.0)(inputs))
    keras.Model(inputs, keras.layers.Conv2D(8, 1, activation="relu")(patches)).save(path)


Tree = dict[str, bytes]
"""Contents of files by their paths."""


def read_place(place: Path) -> Tree:
    """Reads all that a command left, hidden files and inputs as well.

    Args:
        place: where it worked.

    Returns:
        What can be compared byte for byte, without what time and chance decide.
    """
    return {
        str(path.relative_to(place)): _comparable(path)
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name != _LOCK
    }


def _comparable(path: Path) -> bytes:
    if path.name in _NOT_DETERMINISTIC:
        return b""
    content = path.read_bytes()
    if path.suffix != ".jsonl":
        return content
    objects = [json.loads(line) for line in content.decode().splitlines()]
    return json.dumps(
        [{key: value for key, value in row.items() if key not in _TIMES} for row in objects]
    ).encode()


def compare(found: Tree, undisturbed: Tree) -> str:
    """Says how files differ from those of an undisturbed command; empty if they do not."""
    faults = [
        *(f"{path} is missing" for path in undisturbed.keys() - found.keys()),
        *(f"{path} is litter" for path in found.keys() - undisturbed.keys()),
        *(
            f"{path} differs"
            for path in found.keys() & undisturbed.keys()
            if found[path] != undisturbed[path]
        ),
    ]
    return "; ".join(sorted(faults))
