"""`imgcap-evaluate`: captions and scores of a run on a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgcap.cli import command
from imgcap.config import DecodeConfig, EvaluateConfig
from imgcap.errors import ConfigError
from imgcap.evaluation.report.result_files import find_evaluation
from imgcap.evaluation.report.wording import describe_search
from imgcap.evaluation.scores import NAMES
from imgcap.run.pretrained import refuse_pretrained, resolve_run, results_folder


def run(config: EvaluateConfig, decode: dict[str, Any], arguments: list[str]) -> None:
    """Captions the split, scores it, and prints the scores with their intervals."""
    del arguments
    workdir = resolve_run(config.workdir)
    if config.sweep:
        refuse_pretrained(config.workdir, "--sweep")
        _sweep(workdir, config.data_dir, decode)
        return
    from imgcap.evaluation.confidence import calibrate
    from imgcap.evaluation.evaluate import evaluate

    if config.calibrate:
        refuse_pretrained(config.workdir, "--calibrate")
        _print_calibration(calibrate(workdir, config.data_dir, decode).facts)
    results = results_folder(config.workdir)
    found = evaluate(workdir, config.data_dir, config.split, decode, results)
    print(
        f"{config.split}: {found['images']} images, {describe_search(found['decode'])}, 95 % "
        "intervals"
    )
    for name in NAMES:
        low, high = found["intervals"][name]
        floor = found["constant_caption"][name]
        print(
            f"  {name:8s} {found[name]:6.2f}  [{low:.2f}, {high:.2f}]  one caption for all: "
            f"{floor:.2f}"
        )
    _print_insight(found)
    if "confidence" in found:
        _print_confidence(found["confidence"])
    else:
        print("  no confidence: --calibrate fits it for this search")
    if "diversity" in found:
        _print_diversity(found["diversity"])
    made = find_evaluation(results, config.split, decode)
    print(f"wrote {made.scores}, {made.captions.name}, {made.contact_sheet.name}")


def _print_insight(found: dict[str, Any]) -> None:
    """Prints variety, lengths, and the words whose images are captioned best and worst."""
    insight = found["insight"]
    print(
        f"  {insight['distinct_captions']} distinct captions of {insight['vocabulary_used']} "
        f"words, mean length {found['mean_length']:.1f} (references "
        f"{found['mean_reference_length']:.1f}), {insight['repetitive']:.1%} say a pair of words "
        "twice"
    )
    rows = insight["by_object"]
    for title, chosen in (
        ("best", sorted(rows, key=_cider)[::-1]),
        ("worst", sorted(rows, key=_cider)),
    ):
        words = ", ".join(
            f"{row['word']} {row['cider']:.0f} (named in {row['named']:.0%})" for row in chosen[:4]
        )
        print(f"  CIDEr by what is seen, {title}: {words}")


def _print_calibration(facts: dict[str, Any]) -> None:
    """Prints on what a confidence was fitted."""
    print(
        f"calibrated on {facts['images']} images of {facts['split']}: {facts['share_as_good']:.0%} "
        f"of the captions reach the median of people's own, CIDEr {facts['human_cider']:.1f}; "
        f"expected calibration error {facts['calibration_error']:.3f} by cross-validation"
    )


def _print_confidence(confidence: dict[str, Any]) -> None:
    """Prints risk against coverage, and how right the confidences are."""
    print(
        f"  confidence: expected calibration error {confidence['calibration_error']:.3f}, "
        f"{confidence['share_as_good']:.0%} of the captions as good as a person's"
    )
    for row in confidence["risk_coverage"]:
        low, high = row["interval"]
        print(
            f"  the surest {row['coverage']:4.0%}: CIDEr {row['cider']:6.2f}  [{low:.2f}, "
            f"{high:.2f}]  confidence from {row['confidence']:.2f}"
        )


def _print_diversity(diversity: dict[str, float]) -> None:
    """Prints how much the captions of one image differ."""
    print(
        f"  of {diversity['captions']} captions an image {diversity['distinct']:.1f} differ; "
        f"distinct words and pairs by words (div-1, div-2): {diversity['div_1']:.2f}, "
        f"{diversity['div_2']:.2f}; CIDEr if the best were known: {diversity['oracle_cider']:.2f}"
    )


def _cider(row: dict[str, Any]) -> float:
    """The CIDEr of a row of insight, to sort by."""
    return row["cider"]


def _sweep(workdir: Path, data_dir: str, decode: dict[str, Any]) -> None:
    """Scores the grid of decode options and prints its table."""
    if decode:
        raise ConfigError(f"--sweep tries the decode options itself: drop --{next(iter(decode))}")
    from imgcap.evaluation.sweep import COLUMNS, TABLE, sweep
    from imgcap.run.directory import DECODE

    rows = sweep(workdir, data_dir)
    print("  ".join([*COLUMNS, " cider", "bleu_4", "mean_length"]))
    for row in rows:
        print(
            f"{row['beam_width']:10d}  {row['length_penalty']:14.1f}  {row['block_ngrams']:12d}  "
            f"{row['cider']:6.2f}  {row['bleu_4']:6.2f}  {row['mean_length']:11.1f}"
        )
    print(
        f"wrote {workdir}/{TABLE}; evaluation and export now use the first row ({workdir}/{DECODE})"
    )


COMMAND = command.Command(
    name="imgcap-evaluate",
    summary="Captions a split with the run's best checkpoint and scores it: BLEU, ROUGE-L and "
    "CIDEr with 95 % bootstrap intervals, what the captions are like, and a contact sheet of the "
    "images from best to worst. Files are named by the split and by the decode options that are "
    "not those of training, so no evaluation overwrites another.",
    sections=(EvaluateConfig,),
    run=run,
    tensorflow=True,
    overrides=DecodeConfig,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    return command.main(COMMAND, argv)
