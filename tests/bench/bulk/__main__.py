"""Measures bulk work: preparing by Beam, and captioning many images, as ratios in one run.

    python -m tests.bench.bulk --raw_dir=flickr8k [--images=2000] [--kills=5]

Photos are copied from the raw data set. Captioning is by an export of the captioner in the box.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.bulk.processes import (
    PREPARE,
    Bulk,
    answered,
    export_captioner,
    kill_at_random,
    run_command,
)
from tests.bench.table import Row, format_table
from tests.support.paths import ROOT

GROWTH = 10


def measure(raw_dir: Path, images: int, repetitions: int, kills: int, folder: Path) -> list[Row]:
    """Measures everything.

    Args:
        raw_dir: a raw data set.
        images: to caption; the memory is also measured on a tenth of them.
        repetitions: turns of preparing.
        kills: of a job of `images` images.
        folder: for what is made.

    Returns:
        A row a target.
    """
    rows = [prepare_row(raw_dir, repetitions, folder)]
    photos = _copy_photos(raw_dir, images, folder)
    bulk = Bulk(export_captioner(folder / "models"), folder)
    rows += [*speed_rows(bulk, photos), memory_row(bulk, photos), kill_row(bulk, photos, kills)]
    return rows


def prepare_row(raw_dir: Path, repetitions: int, folder: Path) -> Row:
    """Times preparing by Beam's DirectRunner against the local road, by turns."""
    seconds: dict[str, list[float]] = {"local": [], "DirectRunner": []}
    for turn in range(repetitions):
        for runner, times in seconds.items():
            output = folder / f"{runner}_{turn}"
            started = time.monotonic()
            flags = [f"--raw_dir={raw_dir}", f"--output_dir={output}", f"--runner={runner}"]
            run_command([*PREPARE, *flags])
            times.append(time.monotonic() - started)
        made = [folder / f"{runner}_{turn}" for runner in seconds]
        subprocess.run(["diff", "--recursive", "--exclude=.lock", *made], check=True)
        for output in made:
            shutil.rmtree(output)
    local, beam = map(statistics.median, seconds.values())
    note = f"{beam:.1f} against {local:.1f} s, the same files"
    return Row("prepare by Beam's DirectRunner", beam / local, "≤ 2.0", note)


def speed_rows(bulk: Bulk, photos: Path) -> list[Row]:
    """Times captioning in bulk against the SavedModel called in batches of 16 in one process."""
    images = len(list(photos.iterdir()))
    loop, whole = bulk.time_loop(photos)
    rate = images / bulk.caption(photos, "speed").seconds
    note = f"{rate:.1f} images/s, {images} images, starts included"
    return [
        Row("bulk against one process", rate / whole, "≥ 0.85", f"{note}; {whole:.1f} alone"),
        Row("the same against its loop alone", rate / loop, "", f"{note}; {loop:.1f} in the loop"),
    ]


def memory_row(bulk: Bulk, photos: Path) -> Row:
    """Measures the peak memory of captioning all photos against that of a tenth of them."""
    few = photos.with_name("few")
    few.mkdir()
    names = sorted(photos.iterdir())
    for photo in names[: max(1, len(names) // GROWTH)]:
        shutil.copy(photo, few)
    small, large = (bulk.caption(folder, folder.name).peak for folder in (few, photos))
    note = f"{large / 1e6:.0f} against {small / 1e6:.0f} MB"
    return Row("memory of bulk, ten times the images", large / small, "≤ 1.1", note)


def kill_row(bulk: Bulk, photos: Path, kills: int) -> Row:
    """Kills a job at random moments; at most one shard is made again for each kill."""
    finished = kill_at_random(bulk, photos, kills, random.Random(0))
    names = [str(photo) for photo in sorted(photos.iterdir())]
    if answered(bulk.output("kill")) != names:
        raise SystemExit("the answers of a killed job are not complete, or some stand twice")
    note = f"{len(names)} answers, each once; shards finished before each kill: {finished}"
    return Row("kills survived", float(len(finished)), f"≥ {kills}", note)


def _copy_photos(raw_dir: Path, images: int, folder: Path) -> Path:
    """Copies photos of a raw data set, again and again if it has too few."""
    photos = sorted(raw_dir.glob("**/*.jpg"))
    target = folder / "photos"
    target.mkdir()
    for number in range(images):
        shutil.copy(photos[number % len(photos)], target / f"{number:06d}.jpg")
    return target


def main() -> None:
    """Parses the flags, measures and prints the table."""
    parser = argparse.ArgumentParser(description="Measures bulk work.")
    parser.add_argument("--raw_dir", type=Path, required=True, help="A raw data set.")
    parser.add_argument("--images", type=int, default=2000, help="Images to caption.")
    parser.add_argument("--repetitions", type=int, default=3, help="Turns of preparing.")
    parser.add_argument("--kills", type=int, default=5, help="Kills of one job.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bulk.") as folder:
        rows = measure(
            given.raw_dir.resolve(), given.images, given.repetitions, given.kills, Path(folder)
        )
    print(format_table(rows))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
