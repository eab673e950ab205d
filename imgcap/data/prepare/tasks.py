"""What the processes of a preparation are told and what they answer; imports no TensorFlow, so that
the parent need not.
"""

from pathlib import Path
from typing import NamedTuple

from imgcap.data.raw.example import Example
from imgcap.data.vocabulary import Vocabulary


class ShardTask(NamedTuple):
    """What one process writes: a shard and its part file.

    Attributes:
        path: the shard.
        part: the part file.
        plan: fingerprint of the preparation.
        settings: what the fingerprint was made of, by the names that people know.
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
    """What a part file holds.

    Attributes:
        plan: fingerprint of the preparation it belongs to.
        settings: what the fingerprint was made of.
        images: records written.
        captions: captions in them.
        unreadable: image name to reason.
    """

    plan: str
    settings: dict[str, str]
    images: int
    captions: int
    unreadable: dict[str, str]


def run_task(task: ShardTask) -> ShardResult:
    """Writes one shard; runs in a worker process, where TensorFlow is imported already (see
    `imgcap.data.prepare.preparation`).
    """
    from imgcap.data.prepare import shard_writer

    return shard_writer.write(task)
