"""What the demo shows at its end: which captions name colour and shape rightly, and a picture."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from imgcap.data.pictures import load_rgb
from imgcap.data.raw.drawn import names_colour_and_shape

SHOWN_IMAGES = 12
"""Images whose captions are printed and drawn."""

WANTED_SHARE = 0.8
"""Least share of held-out images whose colour and shape must be named for the demo to succeed."""

# Of the picture: pixels of a tile and of the caption under it, tiles in a row, colours of captions.
_TILE, _CAPTION_HEIGHT, _COLUMNS = 240, 44, 4
_RIGHT, _WRONG = (26, 127, 55), (190, 40, 40)


def report(folder: Path, answers: Sequence[Mapping[str, Any]]) -> bool:
    """Prints captions and scores, and draws `captions.png`.

    Args:
        folder: the demo's, with an evaluated run in `run`.
        answers: of the server, each with the path `image`, the text `caption` and its `score`.

    Returns:
        Whether enough captions name colour and shape.
    """
    with (folder / "run" / "captions_test.jsonl").open(encoding="utf-8") as lines:
        references = {line["image"]: line["references"] for line in map(json.loads, lines)}
    right = [
        names_colour_and_shape(answer["caption"], references[_name(answer)]) for answer in answers
    ]
    print("\nheld-out images, captioned over gRPC:")
    for answer in answers[:SHOWN_IMAGES]:
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
    draw_captions(picture, answers[:SHOWN_IMAGES], right)
    print(f"picture: {picture}   contact sheet: {folder}/run/contact_sheet_test.html")
    return share >= WANTED_SHARE


def _name(answer: Mapping[str, Any]) -> str:
    """The file name of an answer's image."""
    return Path(answer["image"]).name


def draw_captions(path: Path, answers: Sequence[Mapping[str, Any]], right: Sequence[bool]) -> None:
    """Draws images with their captions, good ones in green, bad ones in red.

    Args:
        path: the PNG file to write.
        answers: each with the path `image` and the text `caption`.
        right: whether each caption is good; may be longer than `answers`.
    """
    rows = -(-len(answers) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + _CAPTION_HEIGHT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, (answer, is_right) in enumerate(zip(answers, right, strict=False)):
        left, top = place % _COLUMNS * _TILE, place // _COLUMNS * (_TILE + _CAPTION_HEIGHT)
        photo = load_rgb(Path(answer["image"]).read_bytes())
        fitted = ImageOps.contain(photo, (_TILE - 16, _TILE - 16))
        corner = left + (_TILE - fitted.width) // 2, top + (_TILE - fitted.height) // 2
        sheet.paste(fitted, corner)
        text = _wrap(draw, answer["caption"], font)
        colour = _RIGHT if is_right else _WRONG
        draw.multiline_text((left + 10, top + _TILE - 4), text, colour, font)
    sheet.save(path)


def _wrap(
    draw: ImageDraw.ImageDraw, caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """A caption in at most two lines that fit under a tile; what is longer is cut."""
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) > _TILE - 20:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines[:2])
