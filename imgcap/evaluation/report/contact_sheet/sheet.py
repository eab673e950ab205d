"""The page of a contact sheet as a whole: its parts, and the policy of what it may do."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from imgcap import files
from imgcap.config.confidence import confidence_level
from imgcap.evaluation.report.contact_sheet.cards import Entry, card_id, make_card
from imgcap.evaluation.report.contact_sheet.header import (
    make_bar,
    make_choices,
    make_details,
    make_facts,
    make_table,
)


def write_contact_sheet(
    path: Path,
    entries: Sequence[Entry],
    title: str,
    scores: Mapping[str, Any],
    *,
    picture: bytes | None = None,
    written: date | None = None,
    max_entries: int = 200,
) -> None:
    """Writes the page in one step; it needs no other file and no network.

    A reader jumps to the best and the worst captions and shows those alone that have a word. If the
    entries have confidences, the images can be sorted and chosen by them. Without scripts all stays
    readable, and the filter by words is not there.

    Args:
        path: the HTML file; its folder must exist.
        entries: the images, in any order.
        title: heading of the page.
        scores: of the whole set, as `imgcap-evaluate` writes them; what is absent is left out.
        picture: PNG file of how right the confidences are, if there is one.
        written: the day of the evaluation, if it is to be said.
        max_entries: most images shown. Of more, a third are the best, a third the worst, and the
            rest evenly spread over the ranks between; the page says so.
    """
    ranked = sorted(entries, key=lambda entry: (-entry.score, entry.image_id))
    ranks = select_ranks(len(ranked), max_entries)
    confidences = {rank: ranked[rank].confidence for rank in ranks}
    sure = {rank: value for rank, value in confidences.items() if value is not None}
    places = sorted(ranks, key=lambda rank: -sure.get(rank, 0.0))
    levels = {rank: confidence_level(value) for rank, value in sure.items()}
    unsure = next((card_id(rank) for rank in places if levels.get(rank) == "unsure"), "")
    ends = (card_id(ranks[0]), card_id(ranks[-1])) if ranks else ("", "")
    styles = [_STYLE, _make_order(places)]
    page = _PAGE.format(
        policy=_make_policy(styles),
        title=escape(title),
        styles="".join(f"<style>{style}</style>\n" for style in styles),
        facts=make_facts(scores, written),
        table=make_table(scores),
        details=make_details(scores, picture),
        selection=_describe_selection(len(ranks), len(ranked)),
        choices=make_choices(list(levels.values())),
        bar=make_bar(*ends, unsure, f"{len(ranks):,} of {len(ranked):,} images"),
        parts="\n".join(_make_part(part, ranked) for part in _divide(ranks, len(ranked))),
        script=_SCRIPT,
    )
    # A file name may hold bytes that are no UTF-8; the page then shows question marks.
    files.write_bytes(path, page.encode("utf-8", errors="replace"))


def select_ranks(count: int, limit: int) -> list[int]:
    """Selects the images to show, by their ranks.

    Args:
        count: images, the best has rank 0.
        limit: most images shown.

    Returns:
        Ranks, rising: all if they are no more than `limit`; else a third of `limit` from the front,
        a third from the end, and the rest evenly spread between them.
    """
    if count <= limit:
        return list(range(count))
    end = limit // 3
    middle = limit - 2 * end
    between = count - 2 * end
    spread = [end + (2 * place + 1) * between // (2 * middle) for place in range(middle)]
    return [*range(end), *spread, *range(count - end, count)]


class _Part(NamedTuple):
    """A part of the page with a heading of its own.

    Attributes:
        title: the heading.
        ranks: of its images, rising.
    """

    title: str
    ranks: Sequence[int]


def _divide(ranks: Sequence[int], count: int) -> list[_Part]:
    """Divides the selected ranks as `select_ranks` chose them; all of a small set are one part."""
    if len(ranks) == count:
        return [_Part("All images, from best to worst", ranks)]
    end, last = len(ranks) // 3, len(ranks) - len(ranks) // 3
    parts = [
        _Part(f"The {end} best", ranks[:end]),
        _Part(
            f"{last - end} evenly spread over ranks {end + 1} to {count - end:,}", ranks[end:last]
        ),
        _Part(f"The {end} worst", ranks[last:]),
    ]
    return [part for part in parts if part.ranks]


def _make_part(part: _Part, ranked: Sequence[Entry]) -> str:
    """A heading and its cards, HTML."""
    cards = "\n".join(make_card(ranked[rank], rank) for rank in part.ranks)
    return f"<section><h2>{part.title}</h2>\n{cards}\n</section>"


def _describe_selection(shown: int, count: int) -> str:
    """The sentence that says which images are shown."""
    if shown == count:
        return f"All {count:,} images, from the best caption to the worst by CIDEr."
    end = shown // 3
    return (
        f"{shown:,} of {count:,} images, from the best caption to the worst by CIDEr: the {end} "
        f"best, the {end} worst, and {shown - 2 * end} evenly spread over the ranks between."
    )


def _make_order(places: Sequence[int]) -> str:
    """The style rules that give each card its place by confidence, from 0."""
    return "".join(f"#{card_id(rank)}{{--place: {place}}}" for place, rank in enumerate(places))


def _make_policy(styles: Sequence[str]) -> str:
    """The policy by which the page loads nothing and runs nothing but its own script and styles."""
    allowed = " ".join(_hash_source(style) for style in styles)
    return (
        f"default-src 'none'; img-src data:; style-src {allowed}; "
        f"script-src {_hash_source(_SCRIPT)}; base-uri 'none'; form-action 'none'"
    )


def _hash_source(text: str) -> str:
    """The name of a text in a Content-Security-Policy."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _read_part(name: str) -> str:
    """Reads a file beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_STYLE, _SCRIPT = _read_part("style.css"), _read_part("script.js")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{styles}</head>
<body>
<header>
<h1 dir="auto">{title}</h1>
{facts}
{table}
{details}
<p class="selection">{selection}</p>
{choices}
</header>
{bar}
<main>
{parts}
</main>
<script>{script}</script>
</body>
</html>
"""
