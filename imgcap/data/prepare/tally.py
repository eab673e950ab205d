"""Tallies of a raw data set: all that is decided from its captions, in parts that can be added up.

The local road makes one for all images, Apache Beam's workers one each: the sums are the same.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from imgcap.data.prepare.sharding import bin_of
from imgcap.data.raw.example import SPLITS, Example
from imgcap.data.raw.order import position
from imgcap.data.text.tokenisation import normalise
from imgcap.files.locations import file_size

IDENTITY_BITS = 128


@dataclass
class SplitTally:
    """Counts of one split.

    Attributes:
        images: its images.
        bins: bin of positions (`sharding.bin_of`) to the number of images in it.
        words: word to the number of times that the captions have it.
        lengths: words of a caption to the number of captions of that length.
    """

    images: int = 0
    bins: Counter[int] = dataclasses.field(default_factory=Counter)
    words: Counter[str] = dataclasses.field(default_factory=Counter)
    lengths: Counter[int] = dataclasses.field(default_factory=Counter)


class Tally:
    """Counts of the usable images of a raw data set, and a hash of what they are.

    Attributes:
        splits: 'train', 'dev' and 'test' to the counts.
        identity: the sum of the images' hashes modulo 2**IDENTITY_BITS, the same in any order.
    """

    def __init__(self) -> None:
        """Starts with no images."""
        self.splits = {split: SplitTally() for split in SPLITS}
        self.identity = 0

    @property
    def images(self) -> int:
        """The images of all splits."""
        return sum(split.images for split in self.splits.values())

    @property
    def captions(self) -> int:
        """The captions of all splits."""
        return sum(split.lengths.total() for split in self.splits.values())

    def add(self, example: Example, seed: int, tokenizer: str) -> None:
        """Counts one image.

        Args:
            example: a usable image; its file is asked for its size, but not opened.
            seed: of the order of records.
            tokenizer: how captions are split, 'word' or 'character'.
        """
        split = self.splits[example.split]
        split.images += 1
        split.bins[bin_of(position(seed, example.image_id))] += 1
        for caption in example.captions:
            words = normalise(caption, tokenizer)
            split.words.update(words)
            split.lengths[len(words)] += 1
        self._identify(_hash_image(example))

    def add_tally(self, other: "Tally") -> None:
        """Adds the counts of other images."""
        for name, split in self.splits.items():
            added = other.splits[name]
            split.images += added.images
            split.bins.update(added.bins)
            split.words.update(added.words)
            split.lengths.update(added.lengths)
        self._identify(other.identity)

    def to_tree(self) -> dict[str, Any]:
        """Makes a tree that JSON can hold; `from_tree` is its reverse."""
        splits = {name: vars(split) for name, split in self.splits.items()}
        return {"splits": splits, "identity": self.identity}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> "Tally":
        """Reads what `to_tree` made, also after a way through JSON, whose keys are texts."""
        tally = cls()
        tally.identity = tree["identity"]
        for name, counts in tree["splits"].items():
            tally.splits[name] = SplitTally(
                counts["images"],
                Counter({int(index): count for index, count in counts["bins"].items()}),
                Counter(counts["words"]),
                Counter({int(length): count for length, count in counts["lengths"].items()}),
            )
        return tally

    def _identify(self, number: int) -> None:
        self.identity = (self.identity + number) % 2**IDENTITY_BITS


def _hash_image(example: Example) -> int:
    """A hash of name, size of the file, split and captions.

    Of the file it takes the size, since reading all files would cost as much as preparing.
    """
    size = file_size(example.location)
    text = json.dumps([example.image_id, size, example.split, *example.captions])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: IDENTITY_BITS // 8], "big")
