"""What the demo shows at its end: which captions name colour and shape rightly, and a picture."""

import json
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from imgcap.data.pictures import load_rgb
from imgcap.data.raw.drawn import COLOURS, SHAPES, names_colour_and_shape

SHOWN_IMAGES = 12
"""Images whose captions are printed and drawn."""

WANTED_SHARE = 0.8
"""Least share of held-out images whose colour and shape must be named for the demo to succeed."""

Answer = Mapping[str, Any]
"""Of the server: the path `image`, the text `caption` and its `score`."""

# Of the picture, in pixels: a tile, the margin around its image, and the room for the mark before a
# caption; tiles in a row.
_TILE, _MARGIN, _MARK, _COLUMNS = 240, 8, 22, 4
# Of the captions: size and distance of lines, how many there may be.
_FONT_SIZE, _LINE_HEIGHT, _MOST_LINES = 15, 19, 3
_RIGHT, _WRONG, _FRAME = (26, 127, 55), (190, 40, 40), (236, 236, 232)


def report(folder: Path, answers: Sequence[Answer]) -> bool:
    """Prints captions and scores, and draws `captions.png`.

    Args:
        folder: the demo's, with an evaluated run in `run`.
        answers: about all test images.

    Returns:
        Whether enough captions name colour and shape.
    """
    with (folder / "run" / "captions_test.jsonl").open(encoding="utf-8") as lines:
        references = {line["image"]: line["references"] for line in map(json.loads, lines)}
    right = [
        names_colour_and_shape(answer["caption"], references[_name(answer)]) for answer in answers
    ]
    print("\nheld-out images, captioned over gRPC:")
    kinds = [_kind(references[_name(answer)]) for answer in answers]
    shown = choose_shown(right, kinds, SHOWN_IMAGES)
    for answer in (answers[place] for place in shown):
        human = random.Random(_name(answer)).choice(references[_name(answer)])
        print(
            f"  {_name(answer)}  {answer['caption']}  ({answer['score']:.2f})   a person: {human}"
        )
    share = sum(right) / len(right)
    scores = json.loads((folder / "run" / "scores_test.json").read_text(encoding="utf-8"))
    print(
        f"\ncolour and shape right: {sum(right)} of {len(right)} held-out images ({share:.0%}; "
        f"wanted: {WANTED_SHARE * 100:.0f} %)"
    )
    print(f"test scores: CIDEr {scores['cider']:.1f}, BLEU-4 {scores['bleu_4']:.1f}")
    picture = folder / "captions.png"
    draw_captions(picture, [answers[place] for place in shown], [right[place] for place in shown])
    print(f"picture: {picture}   contact sheet: {folder}/run/contact_sheet_test.html")
    return share >= WANTED_SHARE


def _name(answer: Answer) -> str:
    """The file name of an answer's image."""
    return Path(answer["image"]).name


def _kind(references: Sequence[str]) -> frozenset[str]:
    """The colour and the shape that the captions of a scene name."""
    return frozenset(" ".join(references).lower().split()) & {*COLOURS, *SHAPES}


def choose_shown(right: Sequence[bool], kinds: Sequence[Hashable], number: int) -> list[int]:
    """Chooses answers that show much: of many kinds, and wrong ones in their share.

    Args:
        right: whether the caption of each answer is good.
        kinds: what each image shows, such as colour and shape; those of one kind look alike.
        number: how many to choose, if there are so many.

    Returns:
        Their places, rising. If a caption is wrong, one is shown at least.
    """
    places = range(len(right))
    wrong = [place for place in places if not right[place]]
    share = -(-len(wrong) * number // max(len(right), 1))
    shown = _choose_varied(wrong, kinds, share)
    rest = [place for place in places if place not in wrong]
    shown += _choose_varied(rest, kinds, number - len(shown))
    return sorted(shown)


def _choose_varied(places: Sequence[int], kinds: Sequence[Hashable], number: int) -> list[int]:
    """Chooses places whose kinds come as seldom as possible, the earlier ones first."""
    seen: Counter[Hashable] = Counter()
    turns = []
    for place in places:
        turns.append((seen[kinds[place]], place))
        seen[kinds[place]] += 1
    return [place for _, place in sorted(turns)[:number]]


def draw_captions(
    path: Path, answers: Sequence[Answer], right: Sequence[bool], *, doubt: bool = False
) -> None:
    """Draws images with their captions, good ones in green after a tick, bad ones in red.

    Args:
        path: the PNG file to write.
        answers: each with the path `image` and the text `caption`.
        right: whether each caption is good; may be longer than `answers`.
        doubt: whether captions that are not good are only unsure: they have a question mark in
            place of a cross.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    texts = [_wrap(answer["caption"], font) for answer in answers]
    strip = _LINE_HEIGHT * max((len(text) for text in texts), default=1) + _MARGIN
    rows = -(-len(answers) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + strip)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (answer, text, is_right) in enumerate(zip(answers, texts, right, strict=False)):
        left, top = place % _COLUMNS * _TILE, place // _COLUMNS * (_TILE + strip)
        side = _TILE - 2 * _MARGIN
        fitted = ImageOps.contain(load_rgb(Path(answer["image"]).read_bytes()), (side, side))
        # A white scene has an edge, too.
        start, end = (
            (left + _MARGIN, top + _MARGIN),
            (left + _TILE - _MARGIN, top + _TILE - _MARGIN),
        )
        draw.rectangle((start, end), fill=_FRAME)
        corner = left + (_TILE - fitted.width) // 2, top + (_TILE - fitted.height) // 2
        sheet.paste(fitted, corner)
        colour = _RIGHT if is_right else _WRONG
        below = (left + _MARGIN + _MARK, top + _TILE - 4)
        draw.multiline_text(below, "\n".join(text), colour, font)
        mark = "right" if is_right else "unsure" if doubt else "wrong"
        draw_mark(draw, (left + _MARGIN, top + _TILE), mark, colour)
    sheet.save(path, optimize=True)


def draw_mark(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], mark: str, colour: tuple[int, int, int]
) -> None:
    """Draws a mark of about 12 pixels: who cannot tell green from red sees it all the same.

    Args:
        draw: of the sheet.
        corner: the upper left one.
        mark: 'right' is a tick, 'wrong' a cross, 'unsure' a question mark.
        colour: RGB in 0..255.
    """
    x, y = corner
    strokes: dict[str, list[list[tuple[int, int]]]] = {
        "right": [[(1, 7), (5, 11), (12, 2)]],
        "wrong": [[(2, 2), (11, 11)], [(11, 2), (2, 11)]],
        "unsure": [[(3, 4), (4, 2), (9, 2), (10, 4), (7, 7), (7, 9)], [(7, 11), (7, 12)]],
    }
    for stroke in strokes[mark]:
        draw.line([(x + right, y + down) for right, down in stroke], colour, 2)


def _wrap(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """A caption in lines that fit under a tile; what is longer than `_MOST_LINES` is cut."""
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > _TILE - 2 * _MARGIN - _MARK:
            lines.append(word)
        else:
            lines[-1] = longer
    cut = "…" if len(lines) > _MOST_LINES else ""
    lines = lines[:_MOST_LINES]
    return [*lines[:-1], lines[-1] + cut]
