"""`imgcap-compare`: evaluations side by side, and whether they differ by more than chance."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgcap import files
from imgcap.cli import command
from imgcap.config import CompareConfig, DecodeConfig
from imgcap.config.prepare import TOKENIZERS, WORD
from imgcap.errors import ConfigError, DataError
from imgcap.evaluation.compare import BOOTSTRAP_SAMPLES, Difference, compare
from imgcap.evaluation.report import recipe_table
from imgcap.evaluation.report.result_files import (
    Evaluation,
    evaluation_of_captions,
    find_evaluation,
)
from imgcap.evaluation.scores import NAMES
from imgcap.run.pretrained import results_folder


class _Captions(NamedTuple):
    """Captions of one evaluation.

    Attributes:
        candidates: image to the run's caption.
        references: image to its true captions.
        tokenizer: by which they were scored, 'word' or 'character'.
    """

    candidates: dict[str, str]
    references: dict[str, list[str]]
    tokenizer: str


def run(config: CompareConfig, decode: dict[str, Any], arguments: list[str]) -> None:
    """Compares the evaluations and prints a row for each score and evaluation."""
    if len(arguments) < 2:
        raise ConfigError("name at least two run directories: imgcap-compare RUN RUN ...")
    evaluations = {name: _find(results_folder(name), config.split, decode) for name in arguments}
    if len({evaluation.captions.resolve() for evaluation in evaluations.values()}) < len(arguments):
        raise ConfigError(
            "a run directory is named twice: name different ones, or files of captions in it"
        )
    read = {name: _read_captions(evaluation) for name, evaluation in evaluations.items()}
    base = arguments[0]
    for name in arguments[1:]:
        if read[name].tokenizer != read[base].tokenizer:
            raise DataError(
                f"{name} was scored by the tokenizer {read[name].tokenizer}, {base} by "
                f"{read[base].tokenizer}: evaluate both on one data set"
            )
        if read[name].references != read[base].references:
            raise DataError(
                f"{name} was scored on other images or references than {base}: evaluate both on "
                "one data set"
            )
    if config.table:
        # Before the draws, which take a while: a run that cannot be a row is refused at once.
        rows = recipe_table.make_rows(
            [recipe_table.read_scored_run(evaluation) for evaluation in evaluations.values()]
        )
        recipe_table.update_file(Path(config.table), rows)
        print(f"updated the table in {config.table}")
    found = compare(
        {name: one.candidates for name, one in read.items()},
        read[base].references,
        seed=config.seed,
        tokenizer=read[base].tokenizer,
    )
    print(
        f"{evaluations[base].split}: {len(read[base].references)} images, x 100; change from "
        f"{base} with its middle 95 % of {BOOTSTRAP_SAMPLES} paired draws"
    )
    width = max(map(len, arguments))
    for score in NAMES:
        print(f"{score}:")
        for name in arguments:
            print(f"  {name:{width}s} {_row(found[name][score], name == base)}")
    print(
        "p is about the draw of the images alone: training again with another --seed may move a "
        "score as far"
    )


def _row(difference: Difference, is_base: bool) -> str:
    """A score of a run, with its change from the base run unless it is the base run itself."""
    if is_base:
        return f"{difference.score:6.2f}"
    verdict = "" if difference.p_value < 0.05 else "  not significant"
    return (
        f"{difference.score:6.2f}  {difference.change:+6.2f} [{difference.low:+.2f}, "
        f"{difference.high:+.2f}]  p {difference.p_value:.3f}{verdict}"
    )


def _find(path: Path, split: str, decode: dict[str, Any]) -> Evaluation:
    """The evaluation that an argument names: a run directory, or a file of captions in one."""
    if path.is_file() or path.suffix == ".jsonl":
        return evaluation_of_captions(path)
    return find_evaluation(path, split, decode)


def _read_captions(evaluation: Evaluation) -> _Captions:
    """Reads the captions that `imgcap-evaluate` wrote."""
    path, remedy = evaluation.captions, evaluation.remedy
    try:
        # Not by `splitlines`: a caption may hold a line separator of Unicode.
        with path.open(encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        return _Captions(
            {line["image"]: line["caption"] for line in lines},
            {line["image"]: line["references"] for line in lines},
            _read_tokenizer(evaluation),
        )
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): {remedy}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged: {remedy}") from None


def _read_tokenizer(evaluation: Evaluation) -> str:
    """The tokenizer in an evaluation's scores; those of earlier versions do not say it."""
    path, remedy = evaluation.scores, evaluation.remedy
    if not path.exists():
        return WORD
    scores = files.read_json(path, DataError, remedy)
    tokenizer = scores.get("tokenizer", WORD) if isinstance(scores, dict) else None
    if tokenizer not in TOKENIZERS:
        raise DataError(f"{path} is damaged: {remedy}")
    return tokenizer


COMMAND = command.Command(
    name="imgcap-compare",
    summary="Puts the scores of runs side by side, each against the first by a paired bootstrap "
    "over the images. A run stands for its evaluation with the options chosen for it, or with the "
    "decode options given here; any other evaluation is named by its file, such as "
    "RUN/captions_test_beam_width=5.jsonl.",
    sections=(CompareConfig,),
    run=run,
    positional="RUN RUN ...",
    overrides=DecodeConfig,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
