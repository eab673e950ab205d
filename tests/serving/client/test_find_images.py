"""Finding images: through symbolic links and circles of them, and under any name."""

import os
from pathlib import Path

import pytest

from serving.client.images import find_images
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES


def found_under(folder: Path, *arguments: str) -> list[str]:
    return [os.path.relpath(path, folder) for path in find_images(arguments or [str(folder)])]


def test_links_are_followed_as_folders_are(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "b.jpg").touch()
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "c.png").touch()
    (tmp_path / "album" / "linked").symlink_to("../elsewhere")
    (tmp_path / "album" / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "entrance").symlink_to("album")
    names = ["a.jpg", "b.jpg", "linked/deep/c.png"]
    assert found_under(tmp_path / "album") == names
    assert found_under(tmp_path / "entrance") == names


def test_circles_of_links_end(tmp_path: Path) -> None:
    for folder, other in (("one", "two"), ("two", "one")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.jpg").touch()
        (tmp_path / folder / "other").symlink_to(f"../{other}")
    (tmp_path / "one" / "self").symlink_to(".")
    (tmp_path / "up").symlink_to(".")
    (tmp_path / "nowhere").symlink_to("nowhere")
    assert found_under(tmp_path) == [
        "one/one.jpg",
        "one/other/two.jpg",
        "two/two.jpg",
        "two/other/one.jpg",
    ]


def test_a_broken_link_is_named_so_that_opening_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nothing")
    (tmp_path / "[gone].jpg").symlink_to("nothing")
    assert found_under(tmp_path) == ["[gone].jpg", "gone.jpg"]
    assert found_under(tmp_path, str(tmp_path / "[gone].jpg")) == ["[gone].jpg"]


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").touch()
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert found_under(tmp_path) == ["a.jpg", "closed"]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, ALL_AT_ONCE])
def test_a_folder_of_any_name_is_a_folder_and_the_start_of_a_glob(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    for photo in ("1.jpg", "[1].jpg"):
        (tmp_path / name / photo).touch()
    both = [str(tmp_path / name / "1.jpg"), str(tmp_path / name / "[1].jpg")]
    assert list(find_images([str(tmp_path / name)])) == both
    assert list(find_images([str(tmp_path / name / "*.jpg")])) == both
    assert list(find_images([str(tmp_path / name / "[1].jpg")])) == both[1:]
    assert list(find_images([str(tmp_path / name / "[0-9].jpg")])) == both[:1]


def test_a_glob_of_folders_stays_a_glob(tmp_path: Path) -> None:
    for folder in ("run1", "run2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").touch()
    assert found_under(tmp_path, str(tmp_path / "run[12]" / "*.jpg")) == [
        "run1/x.jpg",
        "run2/x.jpg",
    ]
    assert found_under(tmp_path, f"{tmp_path}/**/x.jpg") == ["run1/x.jpg", "run2/x.jpg"]
