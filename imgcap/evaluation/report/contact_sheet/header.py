"""The head of a contact sheet: what was captioned by what, the scores, and how to look around."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

from imgcap.config.confidence import Level
from imgcap.config.decode import decode_from_tree
from imgcap.evaluation.report.contact_sheet.cards import LEVELS
from imgcap.evaluation.report.wording import describe_search
from imgcap.evaluation.scores import NAMES

_HEADS = dict(zip(NAMES, ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"), strict=True))


def make_facts(scores: Mapping[str, Any], written: date | None) -> str:
    """Says which run captioned which images, how and when.

    Args:
        scores: as `imgcap-evaluate` writes them; what is absent is left out.
        written: the day of the evaluation; None if it is unknown.

    Returns:
        HTML; empty if nothing is known.
    """
    facts = []
    if "run" in scores:
        step = f", step {scores['step']:,}" if scores.get("step") is not None else ""
        facts.append(("Run", f"{scores['run']}{step}"))
    if "split" in scores:
        images = f", {scores['images']:,} images" if "images" in scores else ""
        facts.append(("Split", f"{scores['split']}{images}"))
    if "decode" in scores:
        facts.append(("Search", describe_search(scores["decode"])))
    if written:
        facts.append(("Date", written.isoformat()))
    if "imgcap_version" in scores:
        facts.append(("imgcap", scores["imgcap_version"]))
    items = "".join(
        f'<div><dt>{name}</dt><dd dir="auto">{escape(str(value))}</dd></div>'
        for name, value in facts
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def make_table(scores: Mapping[str, Any]) -> str:
    """Makes the table of the scores of the whole set.

    Args:
        scores: as `imgcap.evaluation.scores.score_captions` gives them.

    Returns:
        HTML; empty if there are no scores.
    """
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
    table = f"<table><thead><tr>{corner}{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Scores of the whole set">'
        f"{table}</div>"
    )


def _make_row(label: str, cells: Sequence[str]) -> str:
    """A row of the table, HTML."""
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row" dir="auto">{escape(label)}</th>{row}</tr>'


def _format_score(scores: Mapping[str, Any], name: str) -> str:
    """A score with its interval, if it has one, HTML."""
    interval = scores.get("intervals", {}).get(name)
    text = f"{scores[name]:.1f}"
    return f"{text} <small>{interval[0]:.1f}–{interval[1]:.1f}</small>" if interval else text


def make_details(scores: Mapping[str, Any], picture: bytes | None) -> str:
    """Makes what unfolds on demand: all options of the search, and how right confidences are.

    Args:
        scores: as `imgcap-evaluate` writes them.
        picture: PNG file of how right the confidences are, if there is one.

    Returns:
        HTML; empty if there is neither.
    """
    details = []
    if "decode" in scores:
        flags = decode_from_tree(scores["decode"]).read_by_search()
        text = " ".join(f"--{name}={value}" for name, value in flags.items())
        origin = "".join(
            f"<br>{name} <code>{escape(str(scores[key]))}</code>"
            for name, key in (("data", "data"), ("vocabulary", "vocabulary"))
            if key in scores
        )
        details.append(("Decode options", f"<p><code>{escape(text)}</code>{origin}</p>"))
    if picture is not None:
        content = base64.b64encode(picture).decode("ascii")
        alt = "Reliability of the confidences, and CIDEr of the surest captions"
        image = f'<img class="plot" src="data:image/png;base64,{content}" alt="{alt}">'
        details.append(("How right the confidences are", image))
    return "".join(
        f"<details><summary>{title}</summary>{content}</details>" for title, content in details
    )


def make_choices(levels: Sequence[Level]) -> str:
    """Makes the choice of an order and of confidences; style rules obey it, without a script.

    Args:
        levels: of the cards that have a confidence.

    Returns:
        HTML; empty if there are none.
    """
    if not levels:
        return ""
    counts = Counter(levels)
    shown = {"all": "All"} | {
        name: f"{words.capitalize()} <small>{counts[words]}</small>"
        for words, name in LEVELS.items()
    }
    show = "".join(
        f'<label><input type="radio" name="show" id="show-{key}"'
        f"{' checked' if key == 'all' else ''}> {name}</label>"
        for key, name in shown.items()
    )
    return (
        '<div class="choices"><fieldset><legend>Sort by</legend>'
        '<label><input type="radio" name="sort" id="by-cider" checked> CIDEr</label>'
        '<label><input type="radio" name="sort" id="by-confidence"> Confidence</label></fieldset>'
        f"<fieldset><legend>Show</legend>{show}</fieldset></div>"
    )


def make_bar(best: str, worst: str, unsure: str, count: str) -> str:
    """Makes the bar that stays in sight: jumps, the filter by words, and the number of images.

    Args:
        best: id of the card with the best caption; empty if there are no cards.
        worst: id of the one with the worst.
        unsure: id of the surest of the unsure ones; empty if there are none.
        count: says how many images are shown.

    Returns:
        HTML. The filter stays hidden until the script shows it.
    """
    targets = (("best", "Best", best), ("worst", "Worst", worst), ("unsure", "Unsure", unsure))
    links = "".join(
        f'<a id="to-{name}" href="#{target}">{text}</a>' for name, text, target in targets if target
    )
    jumps = f'<nav aria-label="Jump to"><span aria-hidden="true">Jump to</span>{links}</nav>'
    return (
        f'<div class="bar">{jumps if links else ""}'
        '<label id="filter" hidden>Word <input type="search" id="words" autocomplete="off" '
        'autocapitalize="none" spellcheck="false"></label>'
        f'<p role="status" id="count">{escape(count)}</p></div>'
    )
