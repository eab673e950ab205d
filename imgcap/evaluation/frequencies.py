"""Document frequencies of a run: counted from its training captions, and kept with it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from imgcap.config import DecodeConfig
from imgcap.data import shards
from imgcap.data.manifest import load_manifest, shard_paths
from imgcap.data.text.ngrams import DocumentFrequencies
from imgcap.errors import DataError, RunError
from imgcap.files.names import shell_flag
from imgcap.host.progress import Progress
from imgcap.model.captioner import Captioner
from imgcap.model.search.cider_reward import CiderReward
from imgcap.run.directory import FREQUENCIES
from imgcap.run.identity import read_identity

SPLIT = "train"


def count_frequencies(
    paths: Sequence[str], images: int, vocabulary_size: int, *, skip_bad: bool = False
) -> DocumentFrequencies:
    """Counts in how many training images each n-gram of their captions stands.

    Args:
        paths: of the shards.
        images: how many they hold.
        vocabulary_size: V.
        skip_bad: whether to leave out the rest of a shard after damage.

    Returns:
        The counts.

    Raises:
        DataError: the vocabulary is too large.
        tf.errors.DataLossError: a shard is damaged.
    """

    def read(progress: Progress) -> Iterator[np.ndarray]:
        for tokens in shards.reference_tokens(paths, skip_bad):
            yield tokens
            progress.advance()

    with Progress("count n-grams", images, "images") as progress:
        return DocumentFrequencies.count(read(progress), vocabulary_size)


def ensure_reward(
    workdir: Path,
    captioner: Captioner,
    options: DecodeConfig,
    data_dirs: Sequence[Path | str],
    *,
    keep: bool,
) -> None:
    """Gives a captioner the CIDEr-D that its search chooses by, if it needs one.

    Runs of earlier versions have no document frequencies. They are counted then.

    Args:
        workdir: the run directory.
        captioner: of the run; its `reward` is set if the search needs it and the run had none.
        options: the search.
        data_dirs: where the data that the run was trained on may be.
        keep: whether new counts are written to the run.

    Raises:
        RunError: there are no counts, and the data is in none of the places.
        DataError: the data is damaged, or its vocabulary is too large.
    """
    if not options.needs_reward or captioner.reward is not None:
        return
    frequencies = _count_of_run(workdir, captioner, data_dirs)
    if frequencies is None:
        raise RunError(_say_what_is_missing(workdir, keep))
    if keep:
        frequencies.save(workdir / FREQUENCIES, captioner.vocabulary)
    captioner.reward = CiderReward(frequencies)


def _count_of_run(
    workdir: Path, captioner: Captioner, data_dirs: Sequence[Path | str]
) -> DocumentFrequencies | None:
    """Counts from the first place that has the data of the run; None if none has."""
    fingerprint = read_identity(workdir)["data"]
    for data_dir in data_dirs:
        try:
            manifest = load_manifest(data_dir)
        except DataError:
            continue
        if manifest.fingerprint == fingerprint:
            paths = shard_paths(data_dir, manifest, SPLIT)
            with shards.damage_refused(paths):
                return count_frequencies(paths, manifest.images[SPLIT], len(captioner.vocabulary))
    return None


def _say_what_is_missing(workdir: Path, keep: bool) -> str:
    """The text of the error if there are neither counts nor data; see `ensure_reward`."""
    missing = f"{workdir} has no {FREQUENCIES}, which --search=mbr needs"
    if not keep:
        return f"{missing}, and is not to be changed: tune it into a run of your own"
    return (
        f"{missing}: run imgcap-evaluate {shell_flag('workdir', workdir)} --search=mbr with the "
        "--data_dir that it was trained on, which counts and keeps them"
    )
