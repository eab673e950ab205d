"""Names of evaluations: one for each split and set of decode options, the same for good."""

import dataclasses
import json
from pathlib import Path

import pytest

from imgcap.config import Config, DecodeConfig, to_json
from imgcap.errors import ConfigError, DataError, RunError
from imgcap.evaluation.report.result_files import (
    Evaluation,
    evaluation_name,
    evaluation_of_captions,
    find_evaluation,
)
from imgcap.run.directory import save_decode


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory that has its settings alone; it was trained with a beam of 4."""
    (tmp_path / "config.json").write_text(to_json(Config(decode=DecodeConfig(beam_width=4))))
    return tmp_path


def test_files_of_an_evaluation(run: Path) -> None:
    own = find_evaluation(run, "dev+test", {})
    assert [own.scores.name, own.captions.name, own.contact_sheet.name] == [
        "scores_dev+test.json",
        "captions_dev+test.jsonl",
        "contact_sheet_dev+test.html",
    ]
    other = find_evaluation(run, "test", {"length_penalty": 1.2, "beam_width": 5})
    assert other.scores == run / "scores_test_beam_width=5,length_penalty=1.2.json"
    assert (other.split, evaluation_name(other.scores)) == ("test", other.name)
    assert evaluation_of_captions(other.captions) == dataclasses.replace(other, flags="")


def test_an_option_as_in_training_is_no_part_of_the_name(run: Path) -> None:
    assert find_evaluation(run, "test", {"beam_width": 4}).name == "test"
    assert find_evaluation(run, "test", {"beam_width": 3}).name == "test_beam_width=3"


def test_a_sweep_changes_what_is_meant_and_not_the_names(run: Path) -> None:
    save_decode(run, DecodeConfig(beam_width=5, block_ngrams=3))
    assert find_evaluation(run, "dev", {}).name == "dev_beam_width=5,block_ngrams=3"
    assert find_evaluation(run, "dev", {"beam_width": 4}).name == "dev_block_ngrams=3"
    assert find_evaluation(run, "dev", {"beam_width": 4, "block_ngrams": 0}).name == "dev"


def test_names_stay_short_and_differ(run: Path) -> None:
    many = {
        "search": "sample",
        "length_normalisation": "none",
        "length_penalty": 0.123456789,
        "min_length": 3,
        "max_length": 17,
        "block_ngrams": 2,
        "num_samples": 12,
        "temperature": 0.333333333333,
        "top_p": 0.987654321,
        "sampling_seed": 2**31 - 1,
    }
    name = find_evaluation(run, "dev+test", many).name
    assert name.startswith("dev+test_options-") and len(name) < 40
    assert name == find_evaluation(run, "dev+test", dict(reversed(many.items()))).name
    assert name != find_evaluation(run, "dev+test", {**many, "sampling_seed": 1}).name
    suppressing = find_evaluation(run, "test", {"suppress": (0, 1, 3, 9)})
    assert suppressing.name == "test_suppress=0-1-3-9"


def test_results_without_their_run(tmp_path: Path) -> None:
    assert find_evaluation(tmp_path, "test", {}) == Evaluation(tmp_path, "test")
    with pytest.raises(RunError, match="config.json is missing"):
        find_evaluation(tmp_path, "test", {"beam_width": 2})


def test_what_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="--temperature=0.5 changes nothing"):
        find_evaluation(run, "test", {"temperature": 0.5})
    with pytest.raises(DataError, match="scores_test.json has not the name of a file of captions"):
        evaluation_of_captions(run / "scores_test.json")


def test_the_remedy_names_command_and_what_is_there(run: Path) -> None:
    missing = find_evaluation(run, "test", {"beam_width": 5})
    command = f"run imgcap-evaluate --workdir={run} --split=test --beam_width=5"
    assert missing.remedy == command
    (run / "captions_dev.jsonl").touch()
    (run / "captions_test.jsonl").touch()
    assert missing.remedy == f"{command} (there: captions_dev.jsonl, captions_test.jsonl)"


def test_settings_of_an_older_version_are_read(run: Path) -> None:
    """Its decode options have no search and no diversity, and `seed` is that of sampling."""
    tree = json.loads((run / "config.json").read_text())
    for name in ("search", "diversity", "sampling_seed"):
        del tree["decode"][name]
    tree["decode"]["seed"] = 6
    (run / "config.json").write_text(json.dumps(tree))
    assert find_evaluation(run, "test", {"sampling_seed": 6, "search": "sample"}).name == (
        "test_search=sample"
    )
    (run / "decode.json").write_text(json.dumps(tree["decode"]))
    assert find_evaluation(run, "test", {}).name == "test"
