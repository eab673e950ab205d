"""What a version says of itself: the facts of its run, whole where they are known and "unknown"
where they are not.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from export import card
from imgcap.data import manifest
from imgcap.errors import ExportError
from imgcap.evaluation import scores
from imgcap.run import checkpoints
from imgcap.run.restore import load_captioner
from tests.support.sharing import forget_checksums

ADDED = {
    "max_pixels": 1000,
    "max_batch": 64,
    "encoder_description": "as Keras runs it",
    "cpu_features": ["avx512_bf16"],
    "encoder_numerics": "bfloat16",
    "decoder_numerics": "float32",
    "confidence": None,
}


@pytest.fixture
def run(workdir: Path, tmp_path: Path) -> Path:
    """A copy of the run that was never scored."""
    ignore = shutil.ignore_patterns("scores_*", "captions_*", "contact_*")
    return shutil.copytree(workdir, tmp_path / "run", ignore=ignore)


def facts_of(run: Path) -> card.Facts:
    captioner, config = load_captioner(run)
    return card.collect_facts(run, config, captioner.vocabulary, config.decode, ADDED)


def write_scores(run: Path, split: str, step: int, name: str = "", **changes: Any) -> None:
    values = {score: 10.0 + place for place, score in enumerate(scores.NAMES)}
    intervals = {score: [value - 1, value + 1] for score, value in values.items()}
    decode = json.loads((run / "config.json").read_text())["decode"]
    tree = {
        "split": split,
        "step": step,
        "images": 7,
        "decode": decode,
        "intervals": intervals,
        **values,
        **changes,
    }
    (run / f"scores_{name or split}.json").write_text(json.dumps(tree))


def test_the_three_forms_say_the_same(models: Path) -> None:
    facts = card.read_manifest(models / "1")
    assert facts["version"] == 1 and facts["name"] == "imgcap"
    assert facts["tensorflow_version"] == tf.__version__  # the tag of the server's image
    describe = tf.saved_model.load(str(models / "1")).signatures["describe"]
    answers = describe(query=tf.constant(["", "anything"]))["card"].numpy()
    assert [json.loads(answer) for answer in answers] == [facts, facts]
    assert (models / "1" / "MODEL_CARD.md").read_text() == card.format_card(facts)


def test_facts_of_a_run(run: Path, data_dir: Path) -> None:
    facts, prepared = facts_of(run), manifest.load_manifest(data_dir)
    assert facts["step"] == checkpoints.best_step(run)
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert facts["dev_cider"] == max(line["dev_cider"] for line in lines if "dev_cider" in line)
    assert facts["model"]["encoder"] == "encoder.keras" and facts["model"]["units"] == 24
    assert facts["vocabulary_fingerprint"] == prepared.vocabulary_fingerprint
    assert facts["data"]["images"] == {"train": 32, "dev": 4, "test": 4}
    assert facts["data"]["pictures"] == "photographs"
    assert facts["training"]["learning_rate"] == 0.03
    assert facts["max_pixels"] == 1000 and facts["scores"] == {}
    assert str(run.parent) not in json.dumps(facts) and str(data_dir) not in json.dumps(facts)


def test_the_scores_of_this_checkpoint_alone(run: Path) -> None:
    step = checkpoints.best_step(run)
    write_scores(run, "test", step)
    write_scores(run, "dev", step + 1)
    facts = facts_of(run)
    assert list(facts["scores"]) == ["test"]
    assert facts["scores"]["test"]["cider"] == 15.0 and facts["scores"]["test"]["intervals"][
        "cider"
    ] == [14.0, 16.0]
    row = next(line for line in card.format_card(facts).splitlines() if line.startswith("| test |"))
    assert row.startswith("| test | 7 | 10.0 [9.0, 11.0] |") and row.endswith(
        "| 15.0 [14.0, 16.0] | as exported |"
    )


def test_scores_taken_with_another_search(run: Path) -> None:
    decode = json.loads((run / "config.json").read_text())["decode"]
    write_scores(run, "test", checkpoints.best_step(run), decode={**decode, "beam_width": 9})
    assert "| beam_width=9 |" in card.format_card(facts_of(run))


def test_several_evaluations_of_one_split(run: Path) -> None:
    """One by an older version, whose decode options lack the settings that came later."""
    step, settings = checkpoints.best_step(run), json.loads((run / "config.json").read_text())
    older = {
        name: value
        for name, value in settings["decode"].items()
        if name not in ("search", "diversity", "sampling_seed")
    }
    write_scores(run, "test", step, decode={**older, "seed": 0})
    other = {**settings["decode"], "beam_width": 9}
    write_scores(run, "test", step, "test_beam_width=9", decode=other)
    facts = facts_of(run)
    assert list(facts["scores"]) == ["test", "test_beam_width=9"]
    rows = [line for line in card.format_card(facts).splitlines() if line.startswith("| test |")]
    assert [row.split(" | ")[-1] for row in rows] == ["as exported |", "beam_width=9 |"]


def test_what_is_not_known_is_said_so(run: Path) -> None:
    settings = json.loads((run / "config.json").read_text())
    settings["train"]["data_dir"] = str(run / "moved")
    (run / "config.json").write_text(json.dumps(settings))
    forget_checksums(run)
    facts = facts_of(run)
    assert facts["data"]["images"] is None and facts["data"]["fingerprint"]
    text = card.format_card(facts)
    assert text.startswith("# Model card: imgcap, version unknown\n")
    assert "| images, captions | unknown |" in text and "| layout | unknown |" in text
    assert "Not scored: run imgcap-evaluate" in text


def test_data_of_another_preparation_is_not_that_of_the_run(run: Path) -> None:
    made = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**made, "data": "0" * 16}))
    forget_checksums(run)
    assert facts_of(run)["data"] == {
        "fingerprint": "0" * 16,
        **dict.fromkeys(("dataset", "split_source", "images", "captions", "text", "pictures")),
    }


def test_the_card_for_people(run: Path) -> None:
    text = card.format_card({**facts_of(run), "version": 12})
    titles = [line for line in text.splitlines() if line.startswith("#")]
    sections = ("Intended use", "Data", "Training", "Scores", "Confidence", "Decoding", "Limits")
    assert titles == ["# Model card: imgcap, version 12", *(f"## {name}" for name in sections)]
    for row in (
        "| encoder | encoder.keras, images of 32 × 32 |",
        "| CPU features it needs | avx512_bf16 |",
        "| layout | flickr8k |",
        "| train: images, captions | 32, 160 |",
        "| learning_rate | 0.03 |",
        "| beam_width | 3 |",
    ):
        assert row in text
    assert "more than 1,000 pixels is refused" in text and "at most 20 words" in text
    assert "a request has at most 64 images" in text.lower()


@pytest.mark.parametrize("content", ["[]", '{"step": 1}'])
def test_a_file_that_holds_no_scores(content: str, run: Path) -> None:
    (run / "scores_dev.json").write_text(content.replace("1", str(checkpoints.best_step(run))))
    with pytest.raises(
        ExportError, match=r"scores_dev.json holds no scores \(.*\): run imgcap-evaluate again"
    ):
        facts_of(run)


def test_the_confidence_of_a_card(run: Path) -> None:
    facts = facts_of(run)
    assert "Not calibrated: run imgcap-evaluate --calibrate" in card.format_card(facts)
    fitted = {
        "decode": {**facts["decode"], "beam_width": 5},
        "split": "dev",
        "images": 500,
        "human_cider": 71.25,
        "share_as_good": 0.31,
        "calibration_error": 0.042,
        "reliability": [{"confidence": 0.125, "good": 0.1, "captions": 50}],
    }
    text = card.format_card({**facts, "confidence": fitted})
    assert "at least 71.2, the median of people's own captions" in text
    assert "Fitted on 500 images of dev, where 31% of the captions were." in text
    assert "fitted to the search beam_width=5" in text and "cross-validation: 0.042" in text
    assert "| 0.12 | 0.10 | 50 |" in text


def test_a_version_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="manifest.json is missing: export the run again"):
        card.read_manifest(tmp_path)
