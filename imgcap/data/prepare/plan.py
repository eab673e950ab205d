"""The plan of a preparation: what is decided from all captions before an image is opened."""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

import imgcap
from imgcap.config import PrepareConfig
from imgcap.config.prepare import WORD
from imgcap.data.manifest import DEFAULT_PICTURES
from imgcap.data.prepare.sharding import count_shards, shard_name, shard_of, wanted_shards
from imgcap.data.prepare.tally import Tally
from imgcap.data.prepare.tasks import ShardTask
from imgcap.data.prepare.words import Words, choose_words
from imgcap.data.raw.example import SPLITS, Example
from imgcap.data.raw.order import position
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError
from imgcap.files.locations import join


class Survey(NamedTuple):
    """A raw data set as it was found, without its images.

    Attributes:
        dataset: the reader's name.
        tally: counts of the usable images.
        absent: names in captions or split files that the image folders lack.
        unlisted: names of images with captions that no split file lists.
        uncaptioned: names of listed images without a caption.
        split_source: 'official' or 'seeded'.
    """

    dataset: str
    tally: Tally
    absent: list[str]
    unlisted: list[str]
    uncaptioned: list[str]
    split_source: str


class ShardPlan(NamedTuple):
    """The shards of a data set, and which images each holds.

    Attributes:
        counts: split to the number of its shards.
        seed: of the order of records.
        empty_task: what the tasks of all shards have in common; its `shard` is their folder.
    """

    counts: dict[str, int]
    seed: int
    empty_task: ShardTask

    def names(self, split: str) -> list[str]:
        """The names of a split's shards, in order."""
        count = self.counts[split]
        return [shard_name(split, index, count) for index in range(count)]

    def name_of(self, image_id: str, split: str) -> str:
        """The name of the shard that an image belongs to."""
        count = self.counts[split]
        return shard_name(split, shard_of(position(self.seed, image_id), count), count)

    def make_task(self, name: str, examples: Iterable[Example]) -> ShardTask:
        """Makes the task of one shard.

        Args:
            name: of the shard.
            examples: its images, in any order.

        Returns:
            The task, with the images in the order of their positions.
        """
        ordered = sorted(
            examples, key=lambda one: (position(self.seed, one.image_id), one.image_id)
        )
        return self.empty_task._replace(
            shard=join(self.empty_task.shard, name), examples=tuple(ordered)
        )


class Plan(NamedTuple):
    """A preparation before its first image is opened.

    Attributes:
        survey: the raw data set.
        words: the vocabulary, and how it was chosen.
        fingerprint: of all that decides the shards.
        shards: which they are.
    """

    survey: Survey
    words: Words
    fingerprint: str
    shards: ShardPlan


def make_plan(config: PrepareConfig, survey: Survey, base: Vocabulary | None) -> Plan:
    """Chooses the words and the shards.

    Args:
        config: validated settings.
        survey: of the raw data set.
        base: vocabulary of the run that `config.vocabulary` names; None if it names none.

    Returns:
        The plan.

    Raises:
        DataError: there is no training image, or too many words are unknown to `base`.
    """
    words = _choose_words(config, survey, base)
    fingerprint = _make_fingerprint(config, survey, words.vocabulary)
    counts = {
        split: count_shards(
            survey.tally.splits[split].bins, wanted_shards(split, config.num_shards)
        )
        for split in SPLITS
    }
    empty_task = ShardTask(config.output_dir, fingerprint, (), words.vocabulary, config.max_length)
    return Plan(survey, words, fingerprint, ShardPlan(counts, config.seed, empty_task))


def _choose_words(config: PrepareConfig, survey: Survey, base: Vocabulary | None) -> Words:
    """Chooses the words, and refuses those of a run that leave too many unknown."""
    train = survey.tally.splits["train"]
    if not train.images:
        raise DataError(
            "the training split has no image with captions: check the split files against the "
            "image folder"
        )
    if base is not None and base.tokenizer != config.tokenizer:
        raise DataError(
            f"--tokenizer={config.tokenizer}, but --vocabulary={config.vocabulary} has the words "
            f"of {base.tokenizer}: give --tokenizer={base.tokenizer}"
        )
    words = choose_words(
        train.words, config.min_count, base, config.extend_vocabulary, config.tokenizer
    )
    if base is not None and words.unknown_fraction > config.max_unknown:
        frequent = [f"{word} {count} times" for word, count in words.most_unknown(5)]
        remedy = "lower --min_count" if config.extend_vocabulary else "give --extend_vocabulary"
        raise DataError(
            f"{config.raw_dir or config.captions}: {words.unknown_fraction:.1%} of the words of "
            f"the training captions are unknown to --vocabulary={config.vocabulary}, more than "
            f"--max_unknown={config.max_unknown}: {remedy}, or raise the limit "
            f"({', '.join(frequent)}, …)"
        )
    return words


def _make_fingerprint(config: PrepareConfig, survey: Survey, vocabulary: Vocabulary) -> str:
    """A hash of all that decides the shards."""
    settings = [
        config.num_shards,
        config.max_length,
        config.seed,
        vocabulary.fingerprint,
        imgcap.__version__,
    ]
    if config.pictures != DEFAULT_PICTURES:
        # Only then: the fingerprint of data that were prepared before is still theirs.
        settings.append(config.pictures)
    if config.tokenizer != WORD:
        settings.append(config.tokenizer)
    tree = [settings, survey.tally.images, f"{survey.tally.identity:032x}"]
    return hashlib.sha256(json.dumps(tree).encode()).hexdigest()[:16]
