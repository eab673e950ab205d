"""What imgcap-caption writes of each image: lines, JSON, CSV or alternative texts."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from imgcap.config import Section, setting
from imgcap.errors import ConfigError
from imgcap.files.names import write_line, write_name
from serving.cli.answers.answer_file import Kept, open_answers
from serving.client import Outcome
from serving.client.texts import FORMULA_STARTS, CsvRows, make_alt_text

CSV_COLUMNS = ("image", "caption", "score", "confidence", "unsure", "error")


@dataclass(frozen=True)
class FormatConfig(Section):
    """How to print the answers: lines, or one of these."""

    json: bool = setting(False, "Print one JSON array of objects instead of lines.")
    jsonl_output: str = setting(
        "",
        "Write one JSON object a line to this file, as the answers come, instead of printing. What "
        "the file has already is kept, and not asked for again.",
        path=True,
    )
    csv: bool = setting(
        False,
        "Print CSV: a header, and a row for each image. No cell is a formula to a spreadsheet.",
    )
    alt_text: bool = setting(
        False,
        'Print for each image its path, a tab and a sentence to paste into alt="…"; nothing after '
        "the tab if there is no caption or it is unsure.",
    )
    min_confidence: float = setting(
        0.0,
        "A caption whose confidence is below this is unsure, and marked as such; 0 takes all.",
        minimum=0.0,
        maximum=1.0,
    )

    def validate_combinations(self) -> None:
        """Refuses two formats at once."""
        names = ("json", "jsonl_output", "csv", "alt_text")
        given = [f"--{name}" for name in names if getattr(self, name)]
        if len(given) > 1:
            both = "both" if len(given) == 2 else "all"
            raise ConfigError(f"{' and '.join(given)} are {both} given: choose one")

    @property
    def prints_lines(self) -> bool:
        """Whether something is printed as each answer comes."""
        return not (self.json or self.jsonl_output)


class Answer(NamedTuple):
    """What came of an image.

    Attributes:
        name: path of the image, as it was found; what is no text in it is written as escapes.
        outcome: its caption or error.
        unsure: whether it has a caption that is below the least confidence.
    """

    name: str
    outcome: Outcome
    unsure: bool


def judge(name: str, outcome: Outcome, min_confidence: float) -> Answer:
    """Finds out whether a caption is unsure.

    Args:
        name: path of the image, as it was found.
        outcome: its caption or error.
        min_confidence: a caption whose confidence is below this is unsure; 0 takes all.

    Raises:
        ConfigError: the model gives no confidence, and a least one is wanted.
    """
    caption = outcome.caption
    if caption is None or not min_confidence:
        return Answer(name, outcome, False)
    if caption.confidence is None:
        raise ConfigError(
            f"--min_confidence={min_confidence:g}: this model gives no confidence; run "
            "imgcap-evaluate --calibrate on its run and export it again, or leave the flag out"
        )
    return Answer(name, outcome, caption.confidence < min_confidence)


class Output(NamedTuple):
    """Where answers go.

    Attributes:
        write: takes an answer.
        kept: what an earlier run has written there.
    """

    write: Callable[[Answer], None]
    kept: Kept = Kept()


@contextlib.contextmanager
def open_output(config: FormatConfig) -> Iterator[Output]:
    """Opens where the answers go.

    Args:
        config: which format, and which file if it is not standard output.

    Yields:
        How to write an answer, in a JSON array when the context ends without an error, and which
        answers are there already.

    Raises:
        ConfigError: the file cannot be written.
    """
    if config.jsonl_output:
        with open_answers(config.jsonl_output) as file:
            yield Output(lambda answer: file.add(to_object(answer)), file.kept)
    elif config.json:
        objects: list[dict[str, Any]] = []
        yield Output(lambda answer: objects.append(to_object(answer)))
        print(json.dumps(objects, indent=2, ensure_ascii=False))
    elif config.csv:
        rows = CsvRows(sys.stdout, CSV_COLUMNS)
        yield Output(lambda answer: rows.write(to_row(answer)))
    elif config.alt_text:
        yield Output(
            lambda answer: print(f"{write_line(answer.name)}\t{_alt_text(answer)}", flush=True)
        )
    else:
        yield Output(_print_line)


def to_object(answer: Answer) -> dict[str, Any]:
    """Makes the object that the JSON outputs have for an image.

    Returns:
        Path, caption, score and error, and if there is a caption also its confidence (None if the
        model gives none), whether it is unsure, and the alternatives.
    """
    name, caption = write_name(answer.name), answer.outcome.caption
    if caption is None:
        error = str(answer.outcome.error)
        return {"image": name, "caption": None, "score": None, "error": error}
    return {
        "image": name,
        "caption": caption.text,
        "score": caption.score,
        "error": None,
        "confidence": caption.confidence,
        "unsure": answer.unsure,
        "alternatives": [
            {"caption": other.text, "score": other.score} for other in caption.alternatives
        ],
        "model_version": caption.version,
        "seconds": round(caption.seconds, 4),
    }


def to_row(answer: Answer) -> dict[str, Any]:
    """Makes the row of `CSV_COLUMNS` of an image; what it does not have is None."""
    name, caption = _cell(answer.name), answer.outcome.caption
    if caption is None:
        return {"image": name, "error": str(answer.outcome.error)}
    return {
        "image": name,
        "caption": caption.text,
        "score": round(caption.score, 4),
        "confidence": None if caption.confidence is None else round(caption.confidence, 4),
        "unsure": str(answer.unsure).lower(),
    }


def _cell(name: str) -> str:
    """A path that no spreadsheet takes for a formula, and that still leads to its file."""
    written = write_name(name)
    return os.path.join(os.curdir, written) if written.startswith(FORMULA_STARTS) else written


def _alt_text(answer: Answer) -> str:
    caption = answer.outcome.caption
    return "" if caption is None or answer.unsure else make_alt_text(caption.text)


def _print_line(answer: Answer) -> None:
    """Prints path and caption, and if the model gives one the confidence, between tabs.

    What went wrong with the others stands on standard error.
    """
    caption = answer.outcome.caption
    if caption is None:
        return
    columns = [write_line(answer.name), caption.text]
    if caption.confidence is not None:
        columns.append(f"{caption.confidence:.0%}{' unsure' if answer.unsure else ''}")
    print(*columns, sep="\t", flush=True)
