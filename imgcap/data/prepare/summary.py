"""The manifest of a finished preparation, and its summary for people."""

import math
from collections import Counter
from collections.abc import Mapping

import imgcap
from imgcap.config import PrepareConfig
from imgcap.data.manifest import Manifest
from imgcap.data.prepare.plan import Plan
from imgcap.data.prepare.tally import SplitTally, Tally
from imgcap.data.prepare.tasks import ShardResult
from imgcap.data.raw.example import SPLITS
from imgcap.data.text.vocabulary import UNK, Vocabulary
from imgcap.errors import DataError

SHOWN_NAMES = 5


def refuse_too_many_unreadable(
    results: Mapping[str, ShardResult], images: int, limit: float
) -> None:
    """Raises DataError if more than a share of the images is unreadable.

    Args:
        results: of all shards.
        images: how many were to be read.
        limit: the share, in [0, 1].
    """
    unreadable = _find_unreadable(results)
    if len(unreadable) > limit * images:
        listed = "; ".join(f"{name}: {why}" for name, why in list(unreadable.items())[:20])
        more = "" if len(unreadable) <= 20 else f"; and {len(unreadable) - 20} more"
        raise DataError(
            f"{len(unreadable)} of {images} images are unreadable, more than "
            f"--max_bad_fraction={limit}: mend them or raise the limit ({listed}{more})"
        )


def _find_unreadable(results: Mapping[str, ShardResult]) -> dict[str, str]:
    """The unreadable images of all shards, in the order of their names, with the reasons."""
    found = {name: why for result in results.values() for name, why in result.unreadable.items()}
    return dict(sorted(found.items()))


def make_manifest(
    config: PrepareConfig, plan: Plan, results: Mapping[str, ShardResult]
) -> Manifest:
    """Sums up the results of all shards.

    Args:
        config: validated settings.
        plan: of the preparation.
        results: name of each shard to its result.

    Returns:
        The manifest.
    """
    survey, vocabulary = plan.survey, plan.words.vocabulary
    shards = {split: plan.shards.names(split) for split in SPLITS}
    return Manifest(
        imgcap_version=imgcap.__version__,
        dataset=survey.dataset,
        fingerprint=plan.fingerprint,
        vocabulary_fingerprint=vocabulary.fingerprint,
        vocabulary_size=len(vocabulary),
        min_count=plan.words.min_count,
        max_length=config.max_length,
        seed=config.seed,
        split_source=survey.split_source,
        images={
            split: sum(results[name].images for name in names) for split, names in shards.items()
        },
        captions={
            split: sum(results[name].captions for name in names) for split, names in shards.items()
        },
        shards=shards,
        token_counts=_sum_token_counts([results[name] for name in shards["train"]]),
        text=summarise_text(survey.tally, vocabulary),
        unreadable=_find_unreadable(results),
        absent=survey.absent,
        unlisted=survey.unlisted,
        uncaptioned=survey.uncaptioned,
        pictures=config.pictures,
        vocabulary_from=config.vocabulary,
        new_words=plan.words.new_words,
        tokenizer=vocabulary.tokenizer,
        sizes={name: results[name].size for names in shards.values() for name in names},
    )


def _sum_token_counts(results: list[ShardResult]) -> dict[str, int]:
    """Adds up the captions of each length in tokens, the shortest first.

    By them training knows the number of its steps without reading a shard.
    """
    counts: Counter[int] = Counter()
    for result in results:
        counts.update({int(length): count for length, count in result.token_counts.items()})
    return {str(length): counts[length] for length in sorted(counts)}


def summarise_text(tally: Tally, vocabulary: Vocabulary) -> dict[str, float]:
    """Computes lengths of training captions, and each split's share of words that are unknown.

    Args:
        tally: counts of all splits; that of the training split is not empty.
        vocabulary: the known words.

    Returns:
        `length_mean`, `length_95_percentile` and `length_max` in words, and for each split
        `<unk>_fraction_…` in [0, 1]; rounded to 5 digits.
    """
    lengths = tally.splits["train"].lengths
    total = sum(length * count for length, count in lengths.items())
    statistics = {
        "length_mean": total / sum(lengths.values()),
        "length_95_percentile": find_percentile(lengths, 0.95),
        "length_max": float(max(lengths)),
    }
    known = set(vocabulary.words)
    for name, split in tally.splits.items():
        statistics[f"{vocabulary.words[UNK]}_fraction_{name}"] = _unknown_fraction(split, known)
    return {name: round(value, 5) for name, value in statistics.items()}


def _unknown_fraction(split: SplitTally, known: set[str]) -> float:
    """The share of a split's words that are not known; 0 if it has no words."""
    outside = sum(count for word, count in split.words.items() if word not in known)
    return outside / max(1, split.words.total())


def find_percentile(counts: Mapping[int, int], share: float) -> float:
    """Computes a percentile of numbers that were counted, as `numpy.percentile` does of a list.

    Args:
        counts: number to how often it occurs; not empty.
        share: of the numbers that are smaller, in [0, 1].

    Returns:
        The percentile; between two numbers of the list it is interpolated.
    """
    place = share * (sum(counts.values()) - 1)
    lower, upper = (_number_at(counts, index) for index in (math.floor(place), math.ceil(place)))
    return lower + (upper - lower) * (place - math.floor(place))


def _number_at(counts: Mapping[int, int], index: int) -> int:
    """The number at an index of the sorted list."""
    passed = 0
    for number in sorted(counts):
        passed += counts[number]
        if index < passed:
            return number
    return max(counts)


def describe(prepared: Manifest) -> str:
    """Describes what was prepared and what was left out, in a few lines."""
    lines = [_describe_split(prepared, split) for split in SPLITS]
    lines.append(
        f"vocabulary: {prepared.vocabulary_size} words ({_sources_of_words(prepared)}), "
        f"fingerprint {prepared.vocabulary_fingerprint}; split: {prepared.split_source}"
    )
    lines.append(
        f"unknown words: {prepared.unknown_fraction('train'):.1%} of the words of the training "
        "captions"
    )
    left_out = {
        "unreadable": sorted(prepared.unreadable),
        "listed but not in the image folder": prepared.absent,
        "in no split list": prepared.unlisted,
        "without a caption": prepared.uncaptioned,
    }
    lines += [f"left out, {reason}: {_some(names)}" for reason, names in left_out.items() if names]
    return "\n".join(lines)


def _describe_split(prepared: Manifest, split: str) -> str:
    """Counts images, captions and shards of a split."""
    images, captions = prepared.images[split], prepared.captions[split]
    if not images:
        return f"{split}: no images"
    number = len(prepared.shards[split])
    shards = "1 shard" if number == 1 else f"{number} shards"
    return f"{split}: {images} images, {captions} captions, {shards}"


def _sources_of_words(prepared: Manifest) -> str:
    """Where the words of a vocabulary come from, in a few words."""
    if not prepared.vocabulary_from:
        return f"count >= {prepared.min_count}"
    run = f"those of {prepared.vocabulary_from}"
    if not prepared.min_count:
        return run
    return f"{run} and {prepared.new_words} new ones, count >= {prepared.min_count}"


def _some(names: list[str]) -> str:
    """The number of names and the first of them, with an ellipsis if there are more."""
    shown = ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")
    return f"{len(names)} ({shown})"
