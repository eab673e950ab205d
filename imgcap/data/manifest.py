"""`manifest.json`: the content of a folder of shards, its source, and what was left out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from imgcap.config.prepare import WORD
from imgcap.data.text.vocabulary import SPECIALS, UNK
from imgcap.errors import DataError
from imgcap.files.checked import read_checked, write_checked
from imgcap.files.locations import file_size, join
from imgcap.files.names import shell_flag

NAME = "manifest.json"
VOCABULARY_NAME = "vocab.txt"
REMEDY = "run imgcap-prepare"

DEFAULT_PICTURES = "photographs"
"""Kind of the pictures of data whose manifest does not say it."""


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        imgcap_version: of imgcap when it was written.
        dataset: the reader's name.
        fingerprint: of all that decides the shards: images, captions, splits, vocabulary, options.
        vocabulary_fingerprint: of `vocab.txt`.
        vocabulary_size: words, special tokens included.
        min_count: least count of a word that was taken from the training captions; 0 if all words
            are a run's.
        max_length: words of a caption that are used.
        seed: of the order of the records, and of the split if drawn.
        split_source: 'official' or 'seeded'.
        images: split to the number of its images.
        captions: split to the number of its captions.
        shards: split to the names of its shard files.
        token_counts: length of a training caption in tokens, special tokens included and cut to
            `max_length`, to the number of captions of that length.
        text: statistics of the captions (see `imgcap.data.prepare.summary`).
        unreadable: image name to the reason it was left out.
        absent: names listed but not in the image folder.
        unlisted: names in no split list, not used.
        uncaptioned: names listed without a caption, not used.
        pictures: 'photographs' or 'drawings'.
        vocabulary_from: the run whose words come first in `vocab.txt`, as it was named; empty if
            all words are of the training captions.
        new_words: how many words come after those of that run.
        sizes: bytes of each shard file; empty in manifests of earlier versions.
        tokenizer: how captions were split, 'word' or 'character'.
    """

    imgcap_version: str
    dataset: str
    fingerprint: str
    vocabulary_fingerprint: str
    vocabulary_size: int
    min_count: int
    max_length: int
    seed: int
    split_source: str
    images: dict[str, int]
    captions: dict[str, int]
    shards: dict[str, list[str]]
    token_counts: dict[str, int]
    text: dict[str, float]
    unreadable: dict[str, str]
    absent: list[str]
    unlisted: list[str]
    uncaptioned: list[str]
    # Fields added later have defaults: data that were prepared before them stay readable.
    pictures: str = DEFAULT_PICTURES
    vocabulary_from: str = ""
    new_words: int = 0
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    tokenizer: str = WORD

    def unknown_fraction(self, split: str) -> float:
        """The share of unknown words in the captions of a split, in [0, 1]."""
        return self.text[f"{SPECIALS[UNK]}_fraction_{split}"]


def write_manifest(folder: Path | str, manifest: Manifest) -> None:
    """Writes the manifest, as the last file of a preparation: a folder that has one is complete."""
    write_checked(join(str(folder), NAME), dataclasses.asdict(manifest))


def load_manifest(folder: Path | str) -> Manifest:
    """Reads the manifest of a folder and checks that its shards are there.

    Args:
        folder: what `imgcap-prepare` wrote, a path or an address.

    Returns:
        The manifest.

    Raises:
        DataError: the manifest is missing, broken or of another version, or a shard is missing.
    """
    folder = str(folder)
    path = join(folder, NAME)
    tree = read_checked(path, DataError, f"{REMEDY} {shell_flag('output_dir', folder)}")
    try:
        manifest = Manifest(**tree)
    except TypeError as error:
        raise DataError(
            f"{path} is of another version of imgcap ({error}): {REMEDY} again"
        ) from None
    for name in (name for names in manifest.shards.values() for name in names):
        _refuse_other_size(join(folder, name), manifest.sizes.get(name))
    return manifest


def _refuse_other_size(shard: str, size: int | None) -> None:
    """Raises DataError if a shard is missing, or not as long as it was written.

    Cut off between two records, it would be read without an error.

    Args:
        shard: location of the file.
        size: in bytes; None if the manifest does not say it.
    """
    try:
        found = file_size(shard)
    except OSError:
        raise DataError(f"{shard} is missing: {REMEDY} into a new --output_dir") from None
    if size is not None and size != found:
        raise DataError(
            f"{shard} has {found} bytes and was written with {size}: a shard is damaged: {REMEDY} "
            "into a new --output_dir"
        )


def shard_paths(folder: Path | str, manifest: Manifest, split: str) -> list[str]:
    """The shards of one split, in order.

    Args:
        folder: what `imgcap-prepare` wrote, a path or an address.
        manifest: of `folder`.
        split: 'train', 'dev' or 'test'.

    Returns:
        Locations of the shards.

    Raises:
        DataError: the split has no image.
    """
    if not manifest.images.get(split):
        available = ", ".join(name for name, count in manifest.images.items() if count)
        raise DataError(
            f"{join(str(folder), NAME)} has no images in split {split!r}: choose one of {available}"
        )
    return [join(str(folder), name) for name in manifest.shards[split]]


def count_images(manifest: Manifest, splits: str) -> int:
    """Counts the images of a split, or of several joined by '+'."""
    return sum(manifest.images.get(split, 0) for split in splits.split("+"))
