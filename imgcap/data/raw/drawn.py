"""A drawn data set, one coloured shape a scene, in the layout of Flickr8k.

It serves the demo, the tests and the page's samples, and needs no download and no licence.
"""

import random
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from imgcap import files

COLOURS = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (40, 90, 214),
    "yellow": (240, 200, 30),
    "purple": (140, 60, 180),
}
# No circle: at 48 pixels only the corners tell a square from it, and a short training confuses the
# two.
SHAPES = ("ring", "square", "triangle")
BACKGROUNDS = {"white": (245, 245, 245), "grey": (150, 150, 150), "black": (25, 25, 25)}
# Short, and each names colour and shape: a network from random weights has two hundred steps to
# learn what they mean.
TEMPLATES = (
    "A {colour} {shape} .",
    "There is a {colour} {shape} .",
    "The picture shows a {colour} {shape} .",
    "A {colour} {shape} on a {background} background .",
    "A {shape} painted {colour} .",
)


class Scene(NamedTuple):
    """A drawn picture and what it shows.

    Attributes:
        picture: RGB.
        colour: of the shape, a key of COLOURS.
        shape: one of SHAPES.
        captions: five true sentences.
    """

    picture: Image.Image
    colour: str
    shape: str
    captions: tuple[str, ...]


def draw_scene(rng: random.Random) -> Scene:
    """Draws one scene and makes its five captions.

    Args:
        rng: decides all that varies.

    Returns:
        The scene; its picture is RGB, between 96 and 128 pixels wide and high.
    """
    words = {
        "colour": rng.choice(list(COLOURS)),
        "shape": rng.choice(SHAPES),
        "background": rng.choice(list(BACKGROUNDS)),
    }
    width, height = rng.randint(96, 128), rng.randint(96, 128)
    picture = Image.new("RGB", (width, height), _shade(BACKGROUNDS[words["background"]], rng))
    centre = (width * rng.uniform(0.42, 0.58), height * rng.uniform(0.42, 0.58))
    radius = min(width, height) * rng.uniform(0.28, 0.42)
    _draw_shape(
        ImageDraw.Draw(picture),
        words["shape"],
        centre,
        radius,
        _shade(COLOURS[words["colour"]], rng),
    )
    captions = tuple(template.format(**words) for template in TEMPLATES)
    return Scene(picture, words["colour"], words["shape"], captions)


def _shade(colour: tuple[int, int, int], rng: random.Random) -> tuple[int, int, int]:
    """A colour close to the given one, RGB in 0..255."""
    red, green, blue = (min(255, max(0, channel + rng.randint(-14, 14))) for channel in colour)
    return red, green, blue


def _draw_shape(
    draw: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    fill: tuple[int, int, int],
) -> None:
    """Draws one shape of about that radius, in pixels."""
    x, y = centre
    if shape == "ring":
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            outline=fill,
            width=round(0.45 * radius),
        )
        return
    corners = {
        "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
        "triangle": ((0, -1), (0.95, 0.8), (-0.95, 0.8)),
    }[shape]
    draw.polygon([(x + right * radius, y + down * radius) for right, down in corners], fill)


def write_dataset(folder: Path, images: int, seed: int) -> None:
    """Draws a data set in Kaggle's layout with Flickr8k's split files.

    Eight tenths of the images are in split train, one each in dev and test.

    Args:
        folder: made if absent; files of the same name are replaced.
        images: how many scenes.
        seed: of all that varies.
    """
    rng = random.Random(seed)
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    rows = ["image,caption"]
    splits: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for number in range(images):
        scene, name = draw_scene(rng), f"scene_{number:04d}.jpg"
        scene.picture.save(folder / "Images" / name, quality=92)
        rows += [f'{name},"{caption}"' for caption in scene.captions]
        splits[("dev", "test")[number % 2] if number % 10 >= 8 else "train"].append(name)
    files.write_text(folder / "captions.txt", "\n".join(rows) + "\n")
    for split, names in splits.items():
        files.write_text(folder / f"Flickr_8k.{split}Images.txt", "\n".join(names) + "\n")


def names_colour_and_shape(caption: str, references: tuple[str, ...] | list[str]) -> bool:
    """Whether a caption names the colour and the shape that the references name, and no others.

    Args:
        caption: to be judged.
        references: captions of the same scene by `draw_scene`.

    Returns:
        Whether both are right.
    """
    said, true = set(caption.lower().split()), set(" ".join(references).lower().split())
    return all(said & words == true & words for words in (set(COLOURS), set(SHAPES)))
