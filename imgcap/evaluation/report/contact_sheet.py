"""The contact sheet: a page of images with captions and references, the best caption first."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from imgcap import files
from imgcap.data.pictures import encode_jpeg, load_rgb
from imgcap.evaluation.scores import NAMES

THUMBNAIL_QUALITY = 80
"""JPEG quality of a picture in the page: within 0.9 levels of the model's picture, 1.1 at 75."""

THUMBNAIL_SIZE = 320
"""Longest side of a picture in the page, in pixels; about 18 KB each as JPEG."""

_HEADS = dict(zip(NAMES, ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"), strict=True))


@dataclass(frozen=True)
class Entry:
    """One image of the sheet.

    Attributes:
        image_id: its name.
        image_bytes: the encoded image file; if it can't be read, the page says so in its place.
        caption: of the model.
        references: by people.
        score: of the caption, CIDEr x 100 (see `imgcap.evaluation.scores.score_each`).
        others: further captions of the model, best first, if it was asked for several.
        confidence: that the caption is as good as a person's, in [0, 1]; None if it is unknown.
    """

    image_id: str
    image_bytes: bytes
    caption: str
    references: Sequence[str]
    score: float
    others: Sequence[str] = ()
    confidence: float | None = None


def write_contact_sheet(
    path: Path,
    entries: Sequence[Entry],
    title: str,
    scores: Mapping[str, Any],
    *,
    picture: bytes | None = None,
    max_entries: int = 200,
) -> None:
    """Writes the page in one step; it needs no other file and no network.

    If the entries have confidences, a reader may sort the images by them.

    Args:
        path: the HTML file; its folder must exist.
        entries: the images, in any order.
        title: heading of the page.
        scores: of the whole set, as `imgcap.evaluation.scores.score_captions` gives them; what is
            absent is left out.
        picture: PNG file of how right the confidences are, if there is one.
        max_entries: most images shown. Of more, a third are the best, a third the worst, and the
            rest evenly spread over the ranks between; the page says so.
    """
    ranked = sorted(entries, key=lambda entry: (-entry.score, entry.image_id))
    ranks = select_ranks(len(ranked), max_entries)
    by_confidence = sorted(ranks, key=lambda rank: -(ranked[rank].confidence or 0.0))
    places = {rank: place for place, rank in enumerate(by_confidence)}
    figures = "\n".join(_make_figure(ranked[rank], rank + 1, places[rank]) for rank in ranks)
    confident = any(entry.confidence is not None for entry in entries)
    page = _PAGE.format(
        title=escape(title),
        style=_STYLE,
        selection=_describe_selection(len(ranks), len(ranked)),
        table=_make_table(scores),
        confidence=_make_confidence(picture) + (_SORTING if confident else ""),
        figures=figures,
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


def _describe_selection(shown: int, count: int) -> str:
    """The sentence that says which images are shown."""
    if shown == count:
        return f"All {count} images, from the best caption to the worst by CIDEr."
    end = shown // 3
    return (
        f"{shown} of {count} images, from the best caption to the worst by CIDEr: the {end} best, "
        f"the {end} worst, and {shown - 2 * end} evenly spread over the ranks between."
    )


def _make_table(scores: Mapping[str, Any]) -> str:
    """The table of the scores of the whole set, HTML; empty if there are none."""
    names = [name for name in NAMES if name in scores]
    if not names:
        return ""
    rows = [_make_row("this run", [_format_score(scores, name) for name in names])]
    floor = scores.get("constant_caption")
    if floor:
        label = f"one caption for every image: “{floor['caption']}”"
        rows.append(_make_row(label, [_format_score(floor, name) for name in names]))
    heads = "".join(f'<th scope="col">{_HEADS[name]}</th>' for name in names)
    corner = "<td><small>× 100, with the 95 % interval</small></td>"
    return f"<table><thead><tr>{corner}{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _make_row(label: str, cells: Sequence[str]) -> str:
    """A row of the table, HTML."""
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(label)}</th>{row}</tr>'


def _format_score(scores: Mapping[str, Any], name: str) -> str:
    """A score with its interval, if it has one, HTML."""
    interval = scores.get("intervals", {}).get(name)
    text = f"{scores[name]:.1f}"
    return f"{text} <small>{interval[0]:.1f}–{interval[1]:.1f}</small>" if interval else text


def _make_confidence(picture: bytes | None) -> str:
    """The picture of how right the confidences are, HTML; empty if there is none."""
    if picture is None:
        return ""
    content = base64.b64encode(picture).decode("ascii")
    alt = "Reliability of the confidences, and CIDEr of the surest captions"
    return f'<img class="plot" src="data:image/png;base64,{content}" alt="{alt}">'


def _make_figure(entry: Entry, rank: int, place: int) -> str:
    """An image with its caption, references and score, HTML.

    Args:
        entry: the image.
        rank: by CIDEr, from 1.
        place: by confidence, from 0.
    """
    references = "".join(
        f'<li dir="auto">{escape(reference)}</li>' for reference in entry.references
    )
    others = "".join(f'<p class="other" dir="auto">{escape(text)}</p>' for text in entry.others)
    caption = escape(entry.caption) if entry.caption.strip() else "<em>no words</em>"
    sure = "" if entry.confidence is None else f"<span>{entry.confidence:.0%} sure</span>"
    return (
        f'<figure style="--place: {place}">{_make_picture(entry)}<figcaption>'
        f'<p class="score"><span>#{rank}</span>{sure}<b>CIDEr {entry.score:.1f}</b></p>'
        f'<p class="caption" dir="auto">{caption}</p>{others}<ul>{references}</ul>'
        f'<p class="name" dir="auto">{escape(entry.image_id)}</p></figcaption></figure>'
    )


def _make_picture(entry: Entry) -> str:
    """The image itself, within the page, HTML."""
    try:
        content = base64.b64encode(make_thumbnail(entry.image_bytes)).decode("ascii")
    except ValueError:
        return '<div class="unreadable">This image can’t be read.</div>'
    return (
        f'<img loading="lazy" src="data:image/jpeg;base64,{content}" alt="{escape(entry.caption)}">'
    )


def make_thumbnail(image_bytes: bytes) -> bytes:
    """Shrinks an image to THUMBNAIL_SIZE, turned upright and on white.

    Args:
        image_bytes: an image file, as the model sees it.

    Returns:
        A JPEG file.

    Raises:
        ValueError: not an image, or broken.
    """
    return encode_jpeg(load_rgb(image_bytes, THUMBNAIL_SIZE), THUMBNAIL_QUALITY)


_STYLE = """
:root { color-scheme: light dark;
  --card: #fff; --page: #f3f3f1; --ink: #1d1d1b; --soft: #62625d; --line: #d9d9d4; }
@media (prefers-color-scheme: dark) {
  :root { --card: #22231f; --page: #171815; --ink: #ecece6; --soft: #a3a39a; --line: #3a3b36; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1.5rem 1rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.5rem; }
header p { margin: 0 0 1rem; color: var(--soft); }
.scroll { overflow-x: auto; margin-bottom: 1.5rem; }
table { border-collapse: collapse; }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left;
  font-weight: normal; white-space: nowrap; font-variant-numeric: tabular-nums; }
tbody th { white-space: normal; min-width: 10rem; }
thead th, small { color: var(--soft); }
main { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
body:has(#by-confidence:checked) figure { order: var(--place); }
fieldset { margin: 0 0 1rem; padding: 0; border: 0; }
.plot { width: min(60rem, 100%); aspect-ratio: auto; margin-bottom: 1rem; background: #fff; }
figure { margin: 0; overflow: hidden; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); }
img, .unreadable { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain;
  background: var(--page); }
.unreadable { display: grid; place-items: center; color: var(--soft); }
figcaption { padding: .7rem .9rem .9rem; overflow-wrap: anywhere; }
figcaption p { margin: 0; }
.score { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.score span, ul, .name { color: var(--soft); }
.caption { margin: .3rem 0 .5rem !important; font-size: 1.1rem; font-weight: 600; }
.other { margin: 0 0 .3rem !important; }
ul { margin: 0 0 .5rem; padding-left: 1.1rem; font-size: .9rem; }
.name { font-size: .8rem; }
"""

# Sorted by a style rule, since the page runs no script.
_SORTING = (
    "<fieldset><legend>Sort by</legend>"
    '<label><input type="radio" name="sort" checked> CIDEr</label> '
    '<label><input type="radio" name="sort" id="by-confidence"> confidence</label>'
    "</fieldset>"
)

# The policy lets the page load nothing and run nothing, whatever a caption holds.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1 dir="auto">{title}</h1>
<p>{selection}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Scores of the whole set">{table}</div>
{confidence}
</header>
<main>
{figures}
</main>
</body>
</html>
"""
