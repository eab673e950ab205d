"""Tasks and results of the workers of a preparation; what plans them needs no TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

from imgcap.data.raw.example import Example
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError
from imgcap.files.checked import read_checked
from imgcap.files.locations import base_name, file_size, is_file, join

PARTS = ".parts"
"""Folder of a preparation that is not finished, in its `output_dir`."""


class ShardTask(NamedTuple):
    """The order for one worker to write a shard and its part file.

    Attributes:
        shard: location of the shard.
        plan: fingerprint of the preparation.
        examples: the images, in the order of the shard.
        vocabulary: of the data set.
        max_length: words of a caption that are used.
    """

    shard: str
    plan: str
    examples: Sequence[Example]
    vocabulary: Vocabulary
    max_length: int

    @property
    def part(self) -> str:
        """Location of the part file."""
        name = base_name(self.shard)
        return join(self.shard[: -len(name)], PARTS, f"{name}.json")


class ShardResult(NamedTuple):
    """The content of a part file, written when its shard is whole.

    Attributes:
        plan: fingerprint of the preparation it belongs to.
        images: records written.
        captions: captions in them.
        token_counts: length of a caption in tokens to the number of captions of that length.
        unreadable: image name to the reason it was left out.
        size: bytes of the shard.
    """

    plan: str
    images: int
    captions: int
    token_counts: dict[str, int]
    unreadable: dict[str, str]
    size: int


def read_part(task: ShardTask) -> ShardResult | None:
    """Reads the result of a task that an earlier run finished; None if it must be run."""
    if not (is_file(task.part) and is_file(task.shard)):
        return None
    try:
        result = ShardResult(**read_checked(task.part, DataError, ""))
    except (DataError, TypeError):
        return None
    if result.plan != task.plan or result.size != file_size(task.shard):
        return None
    return result
