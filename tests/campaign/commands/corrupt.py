"""Files cut at random lengths and with random bytes changed: one line that names the file, or what
the whole file gives; never a traceback, never silently other results.

Each file is read as the commands read it, in one process; what an ImgcapError says is what a
command prints.
"""

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from imgcap.errors import ImgcapError
from imgcap.files.checked import write_checked
from imgcap.files.model_folder import MANIFEST, WARMUP_FILE
from imgcap.host.progress import Progress
from tests.campaign.commands.cases import CASES, IMAGE_SIZE, World, build_world
from tests.campaign.figures import Row, Tally
from tests.campaign.server.world import write_export

SIZE = 200
MOST_BYTES = 8
"""Most bytes that are changed at once."""

Read = Callable[[Path], object]
"""Reads all that a command reads, given the place; what comes can be compared."""


class Target(NamedTuple):
    """A file that is damaged.

    Attributes:
        name: path of the file in the place; of several that match, the first.
        read: reads it.
        called: what the error line must have in it, if not the file's name.
        log: whether it is a log, whose damaged lines may be left out.
    """

    name: str
    read: Read
    called: str = ""
    log: bool = False


def read_data(place: Path) -> object:
    """Reads prepared data as training does: manifest, vocabulary, all records."""
    from imgcap.config import Config, TrainConfig
    from imgcap.data.shards import damage_refused, read_records
    from imgcap.training import trainer

    prepared = trainer.load_data(Config(train=TrainConfig(data_dir=str(place / "data"), epochs=1)))
    paths = [place / "data" / name for names in prepared.manifest.shards.values() for name in names]
    with damage_refused(paths):
        records = list(read_records(paths).as_numpy_iterator())
    return prepared.manifest, prepared.vocabulary.words, records


def read_features(place: Path) -> object:
    """Stores features as training does, which keeps those that are there, and reads them."""
    from imgcap.config import ModelConfig
    from imgcap.data.manifest import load_manifest
    from imgcap.data.shards import damage_refused, read_records
    from imgcap.model.captioner import make_captioner_encoder
    from imgcap.training.inputs.stored_features import store_features

    manifest = load_manifest(place / "data")
    stored = store_features(
        make_captioner_encoder(
            ModelConfig(encoder=str(place / "encoder.keras"), image_size=IMAGE_SIZE)
        ),
        place / "data",
        manifest,
        place / "features",
        image_size=IMAGE_SIZE,
        splits=("train", "dev"),
    )
    paths = [*stored.paths(manifest, "train"), *stored.paths(manifest, "dev")]
    with damage_refused(paths):
        return stored.shape, list(read_records(paths).as_numpy_iterator())


def read_run(place: Path) -> object:
    """Reads a run as evaluation and export do: settings, words, weights, calibration."""
    from imgcap.run import checkpoints, confidence_file
    from imgcap.run.restore import load_captioner

    captioner, config = load_captioner(place / "run")
    fitted = confidence_file.load_confidence(place / "run")
    content = hashlib.sha256()
    variables = [*captioner.decoder.variables, *captioner.encoder.variables]
    for variable in checkpoints.tf_variables(variables):
        content.update(variable.numpy().tobytes())
    numbers = [] if fitted is None else [v for part in fitted.calibration for v in part]
    return (
        content.hexdigest(),
        config,
        captioner.vocabulary.words,
        checkpoints.latest(place / "run"),
        [getattr(number, "tolist", lambda number=number: number)() for number in numbers],
        fitted.facts if fitted else None,
    )


def read_metrics(place: Path) -> object:
    """Reads the log of a run as a resumed training does, and draws its curves."""
    from imgcap.run import checkpoints
    from imgcap.run.metrics import METRICS, Metrics
    from imgcap.training.watching import curves

    progression = checkpoints.latest(place / "run")
    assert progression is not None
    Metrics(place / "run", progression.step)
    metrics = curves.read_metrics(place / "run" / METRICS)
    curves.make_table(metrics)
    curves.draw_curves(metrics, "run")
    return None


def read_version(place: Path) -> object:
    """Loads a served version with its warm-up, and asks it."""
    import numpy as np

    from serving.server.models.servable import LoadError, Servable

    try:
        servable = Servable(place / "served" / "1")
    except LoadError as error:
        raise ImgcapError(str(error)) from None
    answer = servable.run("decode", {"image_bytes": np.array([b"four"], object)})
    return servable.max_rows, {name: str(value) for name, value in sorted(answer.items())}


TARGETS = (
    Target("data/manifest.json", read_data),
    Target("data/vocab.txt", read_data),
    Target("data/train-*", read_data),
    Target("features/*/train-*", read_features),
    Target("features/*/features.json", read_features),
    Target("run/config.json", read_run),
    Target("run/run.json", read_run),
    Target("run/vocab.txt", read_run),
    Target("run/decode.json", read_run),
    Target("run/encoder.keras", read_run),
    Target("run/encoder/weights.index", read_run, "encoder/weights"),
    Target("run/encoder/weights.data*", read_run, "encoder/weights"),
    Target("run/checkpoints/*/state.json", read_run),
    Target("run/checkpoints/*/weights.index", read_run, "weights"),
    Target("run/checkpoints/*/weights.data*", read_run, "weights"),
    Target("run/confidence.json", read_run),
    Target("run/confidence.npz", read_run),
    Target("run/metrics.jsonl", read_metrics, log=True),
    Target("served/1/manifest.json", read_version),
    Target(f"served/1/{WARMUP_FILE}", read_version),
)


def run(size: int, seed: int, only: str = "") -> list[Row]:
    """Damages each file many times.

    Args:
        size: damages of each file.
        seed: decides them.
        only: the one file to damage; empty is all.
    """
    targets = [target for target in TARGETS if only in ("", target.name)]
    tally = Tally(*(target.name for target in targets))
    with (
        tempfile.TemporaryDirectory(prefix="imgcap-corrupt-") as folder,
        Progress("damages", size * len(targets), "damages") as progress,
    ):
        place = prepare_place(build_world(Path(folder)))
        for target in targets:
            damage_often(place, target, tally, size, seed, progress)
    return tally.rows()


def prepare_place(world: World) -> Path:
    """Makes a place with data, features, a calibrated run and a served version; returns it."""
    evaluate = next(case for case in CASES if case.command == "evaluate")
    world.set_up((*evaluate.inputs, "encoder.keras"))
    ended = world.run(evaluate)
    if ended.status:
        raise RuntimeError(f"imgcap-evaluate failed undisturbed: {ended.output}")
    write_export(world.place / "served" / "1")
    write_checked(world.place / "served" / "1" / MANIFEST, {"max_batch": 256})
    write_warmup(world.place / "served" / "1")
    complete_place(world.place)
    return world.place


def write_warmup(version: Path) -> None:
    """Writes a request to be replayed before a version is served."""
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="imgcap", signature_name="decode"),
        inputs={"image_bytes": tf.make_tensor_proto([b"four"])},
    )
    log = prediction_log_pb2.PredictLog(request=request)
    (version / WARMUP_FILE.parent).mkdir()
    with tf.io.TFRecordWriter(str(version / WARMUP_FILE)) as writer:
        writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def complete_place(place: Path) -> None:
    """Adds what commands write that a calibrated run with its data has not yet."""
    from imgcap.run import checkpoints, directory

    directory.save_decode(place / "run", directory.load_decode(place / "run"))
    # Of several checkpoints the last says which is the best: one is both.
    best = checkpoints.best_step(place / "run")
    for step in checkpoints.steps(place / "run"):
        if step > best:
            shutil.rmtree(place / "run" / "checkpoints" / str(step))
    for step in checkpoints.steps(place / "run")[:-1]:
        shutil.rmtree(place / "run" / "checkpoints" / str(step))
    read_features(place)


def damage_often(
    place: Path, target: Target, tally: Tally, size: int, seed: int, progress: Progress
) -> None:
    """Damages one file many times, reads it each time, and counts what held."""
    os.chdir(place)
    path = next(place.glob(target.name))
    whole, expected = path.read_bytes(), target.read(place)
    whole = path.read_bytes()
    for number in range(size):
        rng = random.Random(f"{seed} {target.name} {number}")
        path.write_bytes(damage(whole, rng))
        tally.add(target.name, judge(place, path, target, expected), f"{seed} {number}")
        progress.advance(1, target.name)
        path.write_bytes(whole)


def damage(whole: bytes, rng: random.Random) -> bytes:
    """Cuts a file, or changes some of its bytes."""
    if rng.random() < 0.4:
        return whole[: rng.randrange(len(whole))]
    damaged = bytearray(whole)
    for place in rng.sample(range(len(whole)), min(len(whole), rng.randint(1, MOST_BYTES))):
        damaged[place] ^= rng.randint(1, 255)
    return bytes(damaged)


def judge(place: Path, path: Path, target: Target, expected: object) -> str:
    """Reads a place with a damaged file; says what did not hold, empty if all did."""
    try:
        found = target.read(place)
    except ImgcapError as error:
        line = str(error)
        if (target.called or path.name) not in line:
            return f"the line does not name the file: {line}"
        return "" if len(line.splitlines()) == 1 else f"more than one line: {line}"
    except Exception as error:
        return f"a traceback: {type(error).__name__}: {str(error)[:300]}"
    return "" if target.log or found == expected else "silently other results"
