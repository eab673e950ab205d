"""The length of a run by the size of its data, and the warnings of one that will learn nothing."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from imgcap.config import Config, TrainConfig
from imgcap.data.manifest import Manifest, load_manifest
from imgcap.data.shards import Reference
from imgcap.evaluation.scores import score_each
from imgcap.run.checkpoints import Progression
from imgcap.training import loop
from imgcap.training.length import choose_length
from imgcap.training.watching.warning_signs import score_constant, warn_of_size


def manifest(data_dir: Path, images: int, captions: int, unknown: float = 0.02) -> Manifest:
    """A manifest of captions that are all of one length."""
    found = load_manifest(data_dir)
    return dataclasses.replace(
        found,
        images={**found.images, "train": images},
        captions={**found.captions, "train": captions},
        token_counts={"12": captions},
        text={**found.text, "<unk>_fraction_train": unknown},
    )


@pytest.mark.parametrize(
    ("captions", "given", "chosen"),
    [
        # 469 steps an epoch: what the recipes had before.
        (30_000, {}, (12, 4)),
        (30_000, {"epochs": 8}, (8, 4)),
        (30_000, {"epochs": 3, "patience": 0}, (3, 0)),
        # 4 steps an epoch, 600 in all; patience is a third of the run.
        (200, {}, (150, 50)),
        (200, {"patience": 7}, (150, 7)),
        (200, {"epochs": 20}, (20, 6)),
    ],
)
def test_few_captions_are_seen_more_often(
    data_dir: Path, captions: int, given: dict, chosen: tuple[int, int]
) -> None:
    train = TrainConfig(batch_size=64, cache_features=True, **given)
    found = choose_length(Config(train=train), manifest(data_dir, captions, captions)).train
    assert (found.epochs, found.patience) == chosen
    assert dataclasses.replace(train, epochs=chosen[0], patience=chosen[1]) == found


def test_a_run_too_short_and_words_unknown(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_size(100, 5, manifest(data_dir, 100, 100, unknown=0.1))
    assert capsys.readouterr().err == ""
    warn_of_size(99, 3, manifest(data_dir, 100, 500, unknown=0.123))
    short, unknown = capsys.readouterr().err.splitlines()
    assert short.startswith(
        "imgcap-train: warning: only 99 steps in all, 3 epochs of 500 captions: give more --epochs"
    )
    assert unknown.startswith("imgcap-train: warning: 12.3% of the words of the training captions")
    assert unknown.endswith("prepare the data again with a lower --min_count (0 chooses it)")
    prepared = manifest(data_dir, 100, 500, unknown=0.5)
    warn_of_size(999, 3, dataclasses.replace(prepared, vocabulary_from="RUN"))
    assert capsys.readouterr().err.endswith("prepare the data again with --extend_vocabulary\n")


@pytest.mark.parametrize(
    ("step", "cider", "before", "warned"),
    [
        (40, 1.0, -1.0, False),  # half of the run is still to come
        (50, 1.0, -1.0, True),
        (50, 1.0, 9.0, False),  # an earlier checkpoint was better
        (50, 9.0, 1.0, False),
        (60, 1.0, 1.0, False),  # it was said after step 50
    ],
)
def test_captions_below_one_for_all_images(
    step: int,
    cider: float,
    before: float,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    references = (Reference("1", ("a dog",)), Reference("2", ("a cat",)))
    data = SimpleNamespace(steps_per_epoch=10, references=references)
    captioner = SimpleNamespace(vocabulary=SimpleNamespace(tokenizer="word"))
    run = SimpleNamespace(last_step=lambda: 100, data=data, captioner=captioner)
    scores = {"cider": cider, "constant_caption": {"caption": "a dog"}}
    monkeypatch.setattr(loop, "score_constant", lambda captions, references, tokenizer: 8.0)
    loop._warn_of_constant(run, Progression(step=step, best_cider=before), scores)
    error = capsys.readouterr().err
    assert bool(error) == warned
    if warned:
        assert error.startswith(
            "imgcap-train: warning: after 50 of 100 steps dev CIDEr is 1.0, below the 8.0 of one "
            "caption for all images: "
        )
        assert error.count("\n") == 1


def test_the_image_that_a_constant_caption_is_of_does_not_count() -> None:
    references = {"1": ["A dog runs."], "2": ["a dog sits", "two cats"], "3": ["a red kite"]}
    captions = dict.fromkeys(references, "a dog runs")
    each = score_each(captions, references)
    assert each["1"] > 100
    assert score_constant(captions, references) == pytest.approx((each["2"] + each["3"]) / 2)
    assert score_constant({"1": "a dog runs"}, {"1": ["a dog runs"]}) == 0.0
