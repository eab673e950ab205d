"""The tables of docs/train/scale.md, made from the figures in docs/measurements.md."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.bench.scale.assumptions import GPUS, REASONS, SIZES, Assumptions, Size
from tests.bench.scale.figures import FEW_WORDS, Figures, from_table
from tests.bench.scale.plan import (
    Job,
    caption_ms,
    captioning,
    exchange,
    gradient,
    least_step,
    preparing,
    storage,
    storing_features,
    training,
)
from tests.support.paths import ROOT

MEASUREMENTS = ROOT / "docs" / "measurements.md"
DOCUMENT = ROOT / "docs" / "train" / "scale.md"
FIGURES = "figures of the plan"


def load_figures(path: Path = MEASUREMENTS) -> Figures:
    """Reads the figures between their marks."""
    return from_table(between(path.read_text(encoding="utf-8"), FIGURES))


def between(text: str, name: str) -> str:
    """The text between the marks of a name.

    Raises:
        ValueError: the marks are not there.
    """
    found = re.search(f"{_mark(name, 'begin')}\n(.*?){_mark(name, 'end')}", text, re.DOTALL)
    if not found:
        raise ValueError(f"no marks of '{name}'")
    return found[1]


def replace(text: str, name: str, content: str) -> str:
    """Puts other text between the marks of a name."""
    old = between(text, name)
    begin, end = _mark(name, "begin"), _mark(name, "end")
    return text.replace(f"{begin}\n{old}{end}", f"{begin}\n{content}\n{end}")


def _mark(name: str, place: str) -> str:
    return f"<!-- {name}: {place} -->"


def make_tables(figures: Figures, given: Assumptions) -> dict[str, str]:
    """Makes all tables.

    Args:
        figures: measured.
        given: assumed.

    Returns:
        Lines of Markdown by the name of their marks.
    """
    makers: dict[str, Callable[[Figures, Assumptions], str]] = {
        "assumptions": _assumptions,
        "storage": _storage,
        "preparing": _preparing,
        "features": _features,
        "exchange": _exchange,
        "epochs": _epochs,
        "captioning": _captioning,
        "binds": _binds,
    }
    return {name: make(figures, given) for name, make in makers.items()}


def fill(text: str, figures: Figures, given: Assumptions) -> str:
    """Puts all tables into the document."""
    for name, table in make_tables(figures, given).items():
        text = replace(text, name, table)
    return text


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _assumptions(figures: Figures, given: Assumptions) -> str:
    del figures, given
    return _markdown(
        ("assumption", "value", "why"),
        [(key.replace("_", " "), value, reason) for key, (value, reason) in REASONS.items()],
    )


def _storage(figures: Figures, given: Assumptions) -> str:
    rows = []
    for size in SIZES:
        one = storage(figures, given, size)
        shards = f"{one.shards:,} of {write_bytes(one.shard)}"
        disk = [one.images, one.records, one.pooled, one.grid]
        cells = [write_count(size), *map(write_bytes, disk), write_price(one.month)]
        rows.append([*cells[:3], shards, *cells[3:]])
    return _markdown(
        ("images", "files", "records", "shards", "features, averaged", "features, grid", "a month"),
        rows,
    )


def _preparing(figures: Figures, given: Assumptions) -> str:
    rows = []
    for size in SIZES:
        job = preparing(figures, given, size)
        road = "one machine" if job.workers == 1 else f"Beam, {job.workers} machines"
        rows.append(
            [
                write_count(size),
                write_time(job.core_seconds),
                write_time(job.alone),
                write_time(job.reading),
                road,
                write_time(job.seconds),
                write_price(job.price),
            ]
        )
    heads = ("images", "CPU time", "one machine", "of it reading at least", "road", "time", "price")
    return _markdown(heads, rows)


def _captioning(figures: Figures, given: Assumptions) -> str:
    rows = []
    for size in SIZES:
        job = captioning(figures, given, size)
        rows.append(
            [
                write_count(size),
                write_time(job.core_seconds),
                write_time(job.alone),
                str(job.workers),
                write_time(job.seconds),
                write_price(job.price),
                write_bytes(size.images * given.answer_bytes),
            ]
        )
    heads = ("images", "CPU time", "one machine", "machines", "time", "price", "answers")
    return _markdown(heads, rows)


def _features(figures: Figures, given: Assumptions) -> str:
    rows = []
    for size in SIZES:
        one = storing_features(figures, given, size)
        rows.append(
            [
                write_count(size),
                write_time(one.core_seconds),
                write_time(one.machine),
                write_time(one.gpu),
                write_time(one.writing),
            ]
        )
    heads = ("images", "CPU time", "chief without GPU", "chief with one GPU", "of it writing")
    return _markdown(heads, rows)


def _exchange(figures: Figures, given: Assumptions) -> str:
    small, large = (gradient(figures, words) for words in (FEW_WORDS, SIZES[-1].words))
    rows = []
    for gpus in GPUS:
        one, other = exchange(small, given, gpus), exchange(large, given, gpus)
        least = least_step(large, given, gpus)
        rows.append(
            [
                str(gpus),
                write_bytes(one.sent),
                write_bytes(other.sent),
                write_time(other.seconds()),
                write_time(other.slow) if other.slow is not None else "–",
                write_time(least[0]),
                write_time(least[1]) if other.slow is not None else "–",
            ]
        )
    heads = (
        "GPUs",
        f"sent by each, {FEW_WORDS:,} words",
        f"sent by each, {SIZES[-1].words:,} words",
        "exchange, NVLink or 100 Gbit/s",
        "exchange, 25 Gbit/s",
        "step below which it binds",
        "the same at 25 Gbit/s",
    )
    return _markdown(heads, rows)


def _epochs(figures: Figures, given: Assumptions) -> str:
    rows = []
    for size in SIZES[1:]:
        for gpus in (1, 8, 64):
            for name, feature_bytes in (
                ("averaged", figures.pooled_bytes),
                ("grid", figures.grid_bytes),
            ):
                one = training(figures, given, size, gpus, feature_bytes)
                rows.append(
                    [
                        write_count(size),
                        name,
                        str(gpus),
                        f"{gpus * given.gpu_captions:,}",
                        write_time(one.compute),
                        write_time(one.exchange),
                        write_time(one.reading),
                        one.binds(),
                        write_time(one.epoch),
                        write_price(one.price),
                    ]
                )
    heads = (
        "images",
        "features",
        "GPUs",
        "batch",
        "compute",
        "exchange",
        "reading",
        "binds",
        "epoch",
        "price",
    )
    return _markdown(heads, rows)


def _binds(figures: Figures, given: Assumptions) -> str:
    rows = []
    for size in SIZES:
        store = storing_features(figures, given, size)
        eight = training(figures, given, size, 8, figures.grid_bytes)
        rows.append(
            [
                write_count(size),
                _job_binds(given, preparing(figures, given, size)),
                _longest(start=given.start_seconds, encoding=store.gpu, writing=store.writing),
                "start" if given.start_seconds > eight.epoch / 2 else eight.binds(),
                _job_binds(given, captioning(figures, given, size)),
            ]
        )
    heads = ("images", "prepare", "store features, one GPU", "an epoch, 8 GPUs, grid", "caption")
    return _markdown(heads, rows)


def _job_binds(given: Assumptions, job: Job) -> str:
    return _longest(
        start=given.start_seconds,
        cores=job.core_seconds / given.cores / job.workers,
        reading=job.reading / job.workers,
    )


def _longest(**seconds: float) -> str:
    """The name of what takes the longest; of equals the last, which is the link."""
    return max(reversed(seconds), key=lambda name: seconds[name])


def write_count(size: Size) -> str:
    """The number of images."""
    return f"{size.images:,}"


def write_bytes(value: float) -> str:
    """Bytes in the unit that suits, three digits."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if value >= unit:
            return f"{_three(value / unit)} {name}"
    return f"{value:.0f} B"


def write_time(seconds: float) -> str:
    """Seconds in the unit that suits, three digits."""
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
        # Up to two days, hours are easier to read.
        if seconds >= unit * (2 if name == "days" else 1):
            return f"{_three(seconds / unit)} {name}"
    return f"{_three(seconds * 1000)} ms" if seconds else "0"


def write_price(dollars: float) -> str:
    """US dollars; whole ones from ten on."""
    if dollars < 0.01:
        return "< $0.01"
    return f"${dollars:,.0f}" if dollars >= 10 else f"${dollars:.2f}"


def _three(value: float) -> str:
    """A number with three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def caption_speed(figures: Figures) -> float:
    """Images that a core captions a second."""
    return 1000 / caption_ms(figures)
