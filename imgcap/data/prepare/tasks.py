"""Tasks and results of the processes of a preparation; its parent process needs no TensorFlow."""

from pathlib import Path
from typing import NamedTuple

from imgcap.data.raw.example import Example
from imgcap.data.text.vocabulary import Vocabulary


class ShardTask(NamedTuple):
    """The order for one process to write a shard and its part file.

    Attributes:
        path: the shard.
        part: the part file.
        plan: fingerprint of the preparation.
        settings: from which the fingerprint was made, by the names of the flags.
        examples: the images, in the order of the shard.
        vocabulary: of the data set.
        max_length: words of a caption that are used.
    """

    path: Path
    part: Path
    plan: str
    settings: dict[str, str]
    examples: list[Example]
    vocabulary: Vocabulary
    max_length: int


class ShardResult(NamedTuple):
    """The content of a part file, written when its shard is whole.

    Attributes:
        plan: fingerprint of the preparation it belongs to.
        settings: from which the fingerprint was made.
        images: records written.
        captions: captions in them.
        unreadable: image name to the reason it was left out.
        size: bytes of the shard.
    """

    plan: str
    settings: dict[str, str]
    images: int
    captions: int
    unreadable: dict[str, str]
    size: int
