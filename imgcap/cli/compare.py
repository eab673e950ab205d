"""`imgcap-compare`: scores of runs side by side, and whether they differ by more than chance."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from imgcap.cli import command
from imgcap.config import CompareConfig
from imgcap.errors import ConfigError, DataError
from imgcap.evaluation import recipe_table
from imgcap.evaluation.compare import BOOTSTRAP_SAMPLES, Difference, compare
from imgcap.evaluation.result_files import captions_path
from imgcap.evaluation.scores import NAMES


class _Captions(NamedTuple):
    """Captions of one run.

    Attributes:
        candidates: image to the run's caption.
        references: image to its true captions.
    """

    candidates: dict[str, str]
    references: dict[str, list[str]]


def run(config: CompareConfig, arguments: list[str]) -> None:
    """Compares the runs and prints a row for each score and run."""
    if len(arguments) < 2:
        raise ConfigError("name at least two run directories: imgcap-compare RUN RUN ...")
    read = {name: _read_captions(Path(name), config.split) for name in arguments}
    if len(read) < len(arguments):
        raise ConfigError("a run directory is named twice: name different ones")
    base = arguments[0]
    for name in arguments[1:]:
        if read[name].references != read[base].references:
            raise DataError(
                f"{name} was scored on other images or references than {base}: evaluate both on "
                "one data set"
            )
    if config.table:
        # Before the draws, which take a while: a run that cannot be a row is refused at once.
        rows = recipe_table.make_rows(
            [recipe_table.read_scored_run(Path(name), config.split) for name in arguments]
        )
        recipe_table.update_file(Path(config.table), rows)
        print(f"updated the table in {config.table}")
    found = compare(
        {name: one.candidates for name, one in read.items()},
        read[base].references,
        seed=config.seed,
    )
    print(
        f"{config.split}: {len(read[base].references)} images, x 100; change from {base} with its "
        f"middle 95 % of {BOOTSTRAP_SAMPLES} paired draws"
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


def _read_captions(workdir: Path, split: str) -> _Captions:
    """Reads the captions that `imgcap-evaluate` wrote for a split."""
    path = captions_path(workdir, split)
    remedy = f"run imgcap-evaluate --workdir={workdir} --split={split}"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return _Captions(
            {line["image"]: line["caption"] for line in lines},
            {line["image"]: line["references"] for line in lines},
        )
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): {remedy}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged: {remedy} again") from None


COMMAND = command.Command(
    name="imgcap-compare",
    summary="Puts the scores of runs side by side, each against the first by a paired bootstrap "
    "over the images.",
    sections=(CompareConfig,),
    run=run,
    positional="RUN RUN ...",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
