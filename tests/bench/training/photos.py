"""Raw data to measure on, in Kaggle's layout: drawn scenes of the size and weight of photos, or the
photos of a data set.
"""

import csv
import itertools
import random
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf
from PIL import Image

from imgcap.data import manifest, shards
from imgcap.data.raw import drawn
from imgcap.data.records import parse_example

# Flickr8k's photos are about as large as this, in pixels and (by the noise) in bytes: 60 KB.
PHOTO_SIZE = (500, 375)
NOISE, NOISE_SHARE, QUALITY = 48, 0.35, 85
# Its captions have 11.8 ± 3.9 words, of which its vocabulary holds 2,539.
CAPTIONS, MEAN_WORDS, SPREAD, LEAST_WORDS, WORDS = 5, 11.8, 3.9, 4, 2539
CONSONANTS, VOWELS = "bdfgklmnprst", "aeiou"


def draw_photos(folder: Path, images: int, seed: int) -> None:
    """Draws pictures that take as long to decode as photos, with captions of photos' lengths.

    Args:
        folder: made if absent.
        images: how many.
        seed: of the scenes and the words.
    """
    rng = random.Random(seed)
    words = [
        "".join(letters) for letters in itertools.product(CONSONANTS, VOWELS, CONSONANTS, VOWELS)
    ][:WORDS]
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(images):
        name, large = f"photo_{number:05d}.jpg", drawn.draw_scene(rng).picture.resize(PHOTO_SIZE)
        noise = Image.effect_noise(PHOTO_SIZE, NOISE).convert("RGB")
        Image.blend(large, noise, NOISE_SHARE).save(folder / "Images" / name, quality=QUALITY)
        for _ in range(CAPTIONS):
            rows.append((name, " ".join(rng.choices(words, k=draw_length(rng)))))
    _write_captions(folder, rows)


def draw_length(rng: random.Random) -> int:
    """Draws how many words a caption has, as Flickr8k's have."""
    return max(LEAST_WORDS, round(rng.gauss(MEAN_WORDS, SPREAD)))


def copy_photos(folder: Path, data_dir: Path, images: int) -> None:
    """Copies photos and captions out of shards.

    Args:
        folder: made if absent.
        data_dir: what `imgcap-prepare` wrote.
        images: how many at most, of the training split.

    Raises:
        DataError: `data_dir` is no such folder.
    """
    paths = manifest.shard_paths(data_dir, manifest.load_manifest(data_dir), "train")
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    records = tf.data.TFRecordDataset([str(path) for path in paths]).take(images).map(parse_example)
    rows = []
    for record, reference in zip(
        records.as_numpy_iterator(), shards.references(paths), strict=False
    ):
        (folder / "Images" / reference.image_id).write_bytes(record.image_bytes)
        rows += [(reference.image_id, caption) for caption in reference.captions]
    _write_captions(folder, rows)


def _write_captions(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    with (folder / "captions.txt").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
