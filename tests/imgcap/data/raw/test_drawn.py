"""The data set that is drawn."""

import random
from pathlib import Path

import pytest

from imgcap.data.raw import drawn


def test_scenes_are_what_their_captions_say() -> None:
    rng = random.Random(5)
    for _ in range(50):
        scene = drawn.draw_scene(rng)
        assert len(scene.captions) == 5
        assert all(scene.shape in caption for caption in scene.captions)
        red, green, blue = drawn.COLOURS[scene.colour]
        near = [
            abs(r - red) + abs(g - green) + abs(b - blue) <= 3 * 14
            for r, g, b in scene.picture.get_flattened_data()
        ]
        # The least shape, a small triangle, covers some 10 % of its picture.
        assert sum(near) > 0.05 * len(near)


def test_same_seed_same_data_set(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        drawn.write_dataset(tmp_path / folder, 20, seed=7)
    files = sorted(
        path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()
    )
    assert len(files) == 24
    assert all(
        (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in files
    )


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        ("a large red ring on a white background", True),
        ("a red square", False),
        ("a green ring", False),
        ("a red and green ring", False),
        ("", False),
    ],
)
def test_judging_a_caption(caption: str, right: bool) -> None:
    references = ["A large red ring on a white background .", "The picture shows a red ring ."]
    assert drawn.names_colour_and_shape(caption, references) is right
