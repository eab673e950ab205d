"""Signs that a run is about to learn nothing, told on stderr while there is time to change it."""

import sys
from collections.abc import Mapping, Sequence

from imgcap.config.prepare import WORD
from imgcap.data.manifest import Manifest
from imgcap.data.text.tokenisation import normalise
from imgcap.evaluation.scores import score_each

FEWEST_STEPS = 100
"""Steps in all below which a run is warned of."""

MOST_UNKNOWN = 0.1
"""Share of unknown words above which a run is warned of."""


def warn(text: str) -> None:
    """Prints one line on stderr."""
    print(f"imgcap-train: warning: {text}", file=sys.stderr, flush=True)


def warn_of_size(steps: int, epochs: int, manifest: Manifest) -> None:
    """Warns of a run that is too short, and of captions with many unknown words.

    Args:
        steps: of the whole run.
        epochs: of the whole run.
        manifest: of the image shards.
    """
    if steps < FEWEST_STEPS:
        warn(
            f"only {steps} steps in all, {epochs} epochs of {manifest.captions['train']} captions: "
            "give more --epochs (0 chooses them by the size of the data), a smaller --batch_size, "
            "or start from a trained run by --finetune_from"
        )
    unknown = manifest.unknown_fraction("train")
    if unknown > MOST_UNKNOWN:
        remedy = (
            "--extend_vocabulary"
            if manifest.vocabulary_from
            else "a lower --min_count (0 chooses it)"
        )
        warn(
            f"{unknown:.1%} of the words of the training captions are unknown to the vocabulary, "
            f"and captions will lack them: prepare the data again with {remedy}"
        )


def score_constant(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]], tokenizer: str = WORD
) -> float:
    """Scores one caption for all images on those whose references do not have it.

    It was chosen among the references. Of 20 images with one reference each, the one that it was
    taken from alone would add 50 to the mean.

    Args:
        captions: image to the caption, the same for all.
        references: image to its true captions.
        tokenizer: how texts are split, 'word' or 'character'.

    Returns:
        CIDEr x 100; 0 if all images have the caption among their references.
    """
    scores = score_each(captions, references, tokenizer=tokenizer)
    others = [
        score
        for image, score in scores.items()
        if normalise(captions[image], tokenizer)
        not in [normalise(text, tokenizer) for text in references[image]]
    ]
    return sum(others) / len(others) if others else 0.0


def warn_of_constant(cider: float, constant: float, step: int, last: int) -> None:
    """Warns of captions that score less than one caption for all images.

    Args:
        cider: dev CIDEr x 100 of the captions.
        constant: from `score_constant`.
        step: steps taken.
        last: steps of the whole run.
    """
    if cider < constant:
        warn(
            f"after {step} of {last} steps dev CIDEr is {cider:.1f}, below the {constant:.1f} of "
            "one caption for all images: nothing of the images is learnt so far; give more "
            "--epochs or another --learning_rate, or start from a trained run by --finetune_from"
        )
