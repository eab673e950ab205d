"""A table of scores in a Markdown file: a row is a recipe, with the runs of all its seeds."""

import dataclasses
import html
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgcap import files
from imgcap.config import MOVABLE, Config, ModelConfig, TrainConfig
from imgcap.errors import ConfigError, DataError, RunError
from imgcap.evaluation.report.result_files import Evaluation
from imgcap.run.config_file import load_config
from imgcap.run.directory import is_run
from imgcap.run.identity import Members, read_members
from imgcap.run.pretrained import resolve_run

BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"
HEADS = ("encoder", "decoder", "training", "search", "split", "seeds", "CIDEr", "BLEU-4")
KEY = HEADS.index("seeds")
"""Number of cells that identify a row."""

# Settings that are no part of a recipe: where and how it was computed, the seed, and those that the
# row itself names.
_NO_PART_OF_A_RECIPE = MOVABLE | {
    "encoder",
    "encoder_weights",
    "finetune_from",
    "teacher",
    "seed",
}

_OBJECTIVES = {"cross_entropy": "cross-entropy", "distill": "distilled", "scst": "SCST"}
"""The objectives of training as the table names them."""


class ScoredRun(NamedTuple):
    """One run with its scores.

    Attributes:
        workdir: the run directory.
        lineage: the settings of the runs from which it was tuned, one after the other, oldest
            first; its own last.
        split: that was scored.
        scores: what `imgcap-evaluate` wrote.
        members: of an ensemble, whose first one's lineage this is; None of one decoder.
    """

    workdir: Path
    lineage: tuple[Config, ...]
    split: str
    scores: dict[str, Any]
    members: Members | None = None

    @property
    def decoder(self) -> str:
        """The decoder, or those of an ensemble with their weights if they differ."""
        if self.members is None:
            return self.lineage[-1].model.decoder
        weights = [f"{member.weight:.2f}" for member in self.members.members]
        weighted = f", weights {' '.join(weights)}" if len(set(weights)) > 1 else ""
        mean = "" if self.members.mean_of == "log" else ", mean of probabilities"
        return f"ensemble: {self.members.decoders}{mean}{weighted}"

    @property
    def seed(self) -> str:
        """The seed of training, or those of all members of an ensemble."""
        if self.members is None:
            return str(self.lineage[-1].train.seed)
        return "+".join(str(member.seed) for member in self.members.members)


def read_scored_run(evaluation: Evaluation) -> ScoredRun:
    """Reads the settings and the scores of a run.

    Args:
        evaluation: of the run, whose scores are read.

    Returns:
        The run.

    Raises:
        RunError: the directory is no run.
        DataError: the evaluation was not made, or the scores are damaged.
    """
    lineage = _lineage(evaluation.workdir)
    path, remedy = evaluation.scores, evaluation.remedy
    scores = files.read_json(path, DataError, remedy)
    if not (
        isinstance(scores, dict) and {"cider", "bleu_4", "intervals", "decode"} <= scores.keys()
    ):
        raise DataError(f"{path} is damaged: {remedy}")
    # The results of a captioner of the package stand in a folder that is no run.
    members = read_members(evaluation.workdir) if is_run(evaluation.workdir) else None
    return ScoredRun(evaluation.workdir, lineage, evaluation.split, scores, members)


def make_rows(runs: Sequence[ScoredRun]) -> list[tuple[str, ...]]:
    """Makes the rows of a table, one a recipe.

    Args:
        runs: in the order of the rows; those that differ in their seed alone share a row.

    Returns:
        Cells in the order of `HEADS`: one seed with its 95 % interval, several as mean ± standard
        deviation.

    Raises:
        ConfigError: two runs would share a row though more than the seed differs, or nothing at
            all.
    """
    groups: dict[tuple[str, ...], list[ScoredRun]] = {}
    for run in runs:
        group = groups.setdefault(_key(run), [])
        for other in group:
            _refuse_unlike(other, run)
        group.append(run)
    return [
        (
            *key,
            ", ".join(run.seed for run in group),
            _cell(group, "cider"),
            _cell(group, "bleu_4"),
        )
        for key, group in groups.items()
    ]


def update_file(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    """Writes rows into the table that a Markdown file holds between `BEGIN` and `END`.

    Args:
        path: the file.
        rows: from `make_rows`; each replaces the row with the same encoder, decoder, training,
            search and split, or is added at the end. Other rows stay.

    Raises:
        ConfigError: the file can't be read, has no such place, or holds something else there.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--table={path} can't be read ({error}): name a Markdown file") from None
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(
            f"--table={path} has no lines {BEGIN} and {END}: put them where the table is to stand"
        )
    there = [_cells(line) for line in inside.strip().splitlines()]
    if there and (there[0] != HEADS or any(len(row) != len(HEADS) for row in there)):
        raise ConfigError(
            f"--table={path} holds another table between {BEGIN} and {END}: give its rows the "
            f"cells {', '.join(HEADS)}"
        )
    kept = {row[:KEY]: row for row in (*there[2:], *rows)}
    lines = [HEADS, ("---",) * len(HEADS), *kept.values()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    files.write_text(path, f"{before}{BEGIN}\n{table}\n{END}{after}")


def _cells(line: str) -> tuple[str, ...]:
    """The cells of a line of a Markdown table."""
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def _lineage(workdir: Path) -> tuple[Config, ...]:
    """Reads the settings of a run and of those that it was tuned from, oldest first.

    Runs that are gone are left out, with all before them.
    """
    config = load_config(workdir, "name a run directory of imgcap-train")
    if not config.train.finetune_from:
        return (config,)
    try:
        return (*_lineage(resolve_run(config.train.finetune_from)), config)
    except (RunError, ConfigError):
        return (config,)


def _describe_step(train: TrainConfig) -> str:
    """The objective and the trained part of one run of a lineage, in a few words."""
    step = _OBJECTIVES[train.objective]
    if not train.finetune_blocks:
        return step
    if train.finetune_blocks < 0:
        return f"{step} + encoder"
    return (
        f"{step} + last block"
        if train.finetune_blocks == 1
        else f"{step} + last {train.finetune_blocks} blocks"
    )


def _key(run: ScoredRun) -> tuple[str, ...]:
    """The cells that identify the row of a run."""
    training = " → ".join(_describe_step(config.train) for config in run.lineage)
    if run.lineage[0].train.finetune_from:
        training = f"… → {training}"
    # A run that was tuned names the copy of its encoder; the first names the encoder.
    return (
        _describe_encoder(run.lineage[0].model),
        run.decoder,
        training,
        _describe_search(run.scores["decode"]),
        run.split,
    )


def _describe_search(options: dict[str, Any]) -> str:
    """The decode options of scores in a few words; older scores do not name the search."""
    kind = options.get("search", "beam")
    if kind == "sample":
        search = (
            f"best of {options['num_samples']} samples, temperature {options['temperature']:g}, "
            f"top p {options['top_p']:g}"
        )
    elif kind == "mbr":
        search = (
            f"of {options['beam_width']} beams the most like {options['num_samples']} samples, "
            f"temperature {options['temperature']:g}, top p {options['top_p']:g}"
        )
    elif kind == "diverse":
        search = f"diverse {options['beam_width']}, diversity {options['diversity']:g}"
    else:
        search = f"beam {options['beam_width']}"
    if options["length_normalisation"] == "wu":
        search += f", α {options['length_penalty']:g}"
    else:
        search += f", length normalisation {options['length_normalisation']}"
    if options["min_length"]:
        search += f", at least {options['min_length']} words"
    if options["block_ngrams"]:
        search += f", no {options['block_ngrams']}-gram twice"
    return search


def _describe_encoder(model: ModelConfig) -> str:
    path, weights = Path(model.encoder), Path(model.encoder_weights).name
    name = path.stem
    if path.suffix != ".keras" and weights != "imagenet":
        name = f"{name}, weights {weights}"
    # A path may hold anything: a bar would end the cell, a line end the row, a tag be one.
    return html.escape(" ".join(name.split())).replace("|", "/")


def _refuse_unlike(one: ScoredRun, other: ScoredRun) -> None:
    ones, others = _settings(one), _settings(other)
    unlike = [name for name in ones if ones[name] != others[name]]
    if unlike:
        raise ConfigError(
            f"{one.workdir} and {other.workdir} would share a row, but were trained with different "
            f"--{unlike[0]}: name one of them"
        )
    if one.seed == other.seed:
        raise ConfigError(
            f"{one.workdir} and {other.workdir} are one recipe with one seed: name one of them"
        )


def _settings(run: ScoredRun) -> dict[str, tuple[Any, ...]]:
    """All settings of a recipe, each with its values in the runs of the lineage, oldest first."""
    steps = [
        dataclasses.asdict(config.model) | dataclasses.asdict(config.train)
        for config in run.lineage
    ]
    return {
        name: tuple(step[name] for step in steps)
        for name in steps[0]
        if name not in _NO_PART_OF_A_RECIPE
    }


def _cell(group: Sequence[ScoredRun], name: str) -> str:
    """One score of a recipe: of one seed with its interval, of several as mean ± deviation."""
    values = [run.scores[name] for run in group]
    if len(values) > 1:
        return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    low, high = group[0].scores["intervals"][name]
    return f"{values[0]:.1f} [{low:.1f}, {high:.1f}]"
