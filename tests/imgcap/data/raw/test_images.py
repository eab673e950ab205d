"""Which file a name in a captions file means."""

import os
from pathlib import Path

import pytest

from imgcap.data.raw.images import ImageFile, ImageIndex, clean_name, find_root, list_files, match
from imgcap.errors import DataError


def write_photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def ids(roots: list[Path], *images: str) -> dict[str, str]:
    """Name as written to the image id that it means."""
    texts = [str(root) for root in roots]
    cleaned = {image: clean_name(image, texts) for image in images}
    found = ImageIndex(texts).find(cleaned.values())
    return {image: found[name].image_id for image, name in cleaned.items() if name in found}


@pytest.mark.parametrize(
    ("image", "image_id"),
    [
        ("1.jpg", "1.jpg"),
        ("./1.jpg", "1.jpg"),
        ("a//2.jpg", "a/2.jpg"),
        # The folder's own name, and folders above it.
        ("photos/1.jpg", "1.jpg"),
        ("photos/a/2.jpg", "a/2.jpg"),
        # A name alone, and folders that are no more.
        ("2.jpg", "a/2.jpg"),
        ("old/place/1.jpg", "1.jpg"),
        ("old/a/2.jpg", "a/2.jpg"),
        # Another folder's file is another photo.
        ("b/2.jpg", None),
        ("gone.jpg", None),
        ("1.JPG", None),
    ],
)
def test_a_name_means_the_file_that_it_ends_in(
    tmp_path: Path, image: str, image_id: str | None
) -> None:
    write_photos(tmp_path / "photos", "1.jpg", "a/2.jpg")
    assert ids([tmp_path / "photos"], image) == ({image: image_id} if image_id else {})


def test_an_exact_path_goes_before_a_name_alone(tmp_path: Path) -> None:
    write_photos(tmp_path, "1.jpg", "a/1.jpg", "b/a/1.jpg")
    names = {"1.jpg": "1.jpg", "a/1.jpg": "a/1.jpg", "b/a/1.jpg": "b/a/1.jpg"}
    assert ids([tmp_path], *names) == names


def test_a_file_that_a_better_name_has_is_no_other_s(tmp_path: Path) -> None:
    write_photos(tmp_path, "1.jpg")
    assert ids([tmp_path], "1.jpg", "b/1.jpg") == {"1.jpg": "1.jpg"}
    assert ids([tmp_path], "b/1.jpg") == {"b/1.jpg": "1.jpg"}


def test_a_name_that_several_files_have(tmp_path: Path) -> None:
    write_photos(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(DataError, match=r"^1.jpg may be .*/a/1.jpg or .*/b/1.jpg: write its path"):
        ids([tmp_path], "1.jpg")
    assert ids([tmp_path], "b/1.jpg") == {"b/1.jpg": "b/1.jpg"}


def test_several_folders(tmp_path: Path) -> None:
    write_photos(tmp_path, "train/1.jpg", "val/1.jpg", "val/2.jpg")
    roots = [tmp_path / "train", tmp_path / "val"]
    names = ("train/1.jpg", "val/1.jpg", "2.jpg")
    assert ids(roots, *names) == {
        "train/1.jpg": "train/1.jpg",
        "val/1.jpg": "val/1.jpg",
        "2.jpg": "val/2.jpg",
    }
    with pytest.raises(DataError, match=r"^1.jpg may be"):
        ids(roots, "1.jpg")
    absolute = str(tmp_path / "val" / "1.jpg")
    assert ids(roots, absolute) == {absolute: "val/1.jpg"}


def test_a_folder_in_another_gives_each_file_once(tmp_path: Path) -> None:
    write_photos(tmp_path, "1.jpg", "a/2.jpg")
    for roots in ([tmp_path, tmp_path / "a"], [tmp_path / "a", tmp_path]):
        found = sorted(file.image_id for file in list_files([str(root) for root in roots]))
        assert found == ["1.jpg", "a/2.jpg"]


def test_ids_do_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path, "raw/a/1.jpg", "raw/b/2.jpg")
    monkeypatch.chdir(tmp_path / "raw" / "a")
    files = list(list_files([".", "../b"]))
    assert [(file.image_id, file.location) for file in files] == [
        ("a/1.jpg", "./1.jpg"),
        ("b/2.jpg", "../b/2.jpg"),
    ]
    assert clean_name(str(tmp_path / "raw" / "b" / "2.jpg"), [".", "../b"]) == "../b/2.jpg"


@pytest.mark.parametrize(
    "image",
    [
        "../secret.jpg",
        "a/../../secret.jpg",
        "..",
        "/etc/passwd",
        "{folder}/secret.jpg",
        "{folder}/photos/../secret.jpg",
        "{folder}/photos2/1.jpg",
        "gs://bucket/1.jpg",
        "http://host/1.jpg",
    ],
)
def test_names_that_lead_out(tmp_path: Path, image: str) -> None:
    write_photos(tmp_path, "photos/1.jpg", "photos2/1.jpg", "secret.jpg")
    with pytest.raises(DataError, match=r" is outside of the image folders \(.*photos\): "):
        ids([tmp_path / "photos"], image.format(folder=tmp_path))


def test_links_that_lead_out(tmp_path: Path) -> None:
    write_photos(tmp_path, "photos/1.jpg", "other/2.jpg", "other/in/3.jpg")
    photos = tmp_path / "photos"
    (photos / "2.jpg").symlink_to("../other/2.jpg")
    (photos / "in").symlink_to("../other/in")
    (photos / "again.jpg").symlink_to("1.jpg")
    for name in ("2.jpg", "in/3.jpg"):
        with pytest.raises(DataError, match=rf"{name} is a link to .*other/.*{name}, outside of"):
            ids([photos], name)
    # Those inside are read, and so are those to a folder that is given.
    assert ids([photos], "1.jpg", "again.jpg") == {"1.jpg": "1.jpg", "again.jpg": "again.jpg"}
    assert ids([photos, tmp_path / "other"], "photos/2.jpg") == {"photos/2.jpg": "photos/2.jpg"}
    (tmp_path / "link").symlink_to("photos")
    assert ids([tmp_path / "link"], "1.jpg") == {"1.jpg": "1.jpg"}


def test_files_of_one_name_in_many_folders_are_told_apart_quickly() -> None:
    # One pass over 20,000 files and names each; comparing all pairs would take minutes.
    files = [ImageFile(f"{n}/a.jpg", f"{n}/a.jpg", f"raw/{n}/a.jpg") for n in range(20_000)]
    names = [f"raw/{number}/a.jpg" for number in range(20_000)]
    found = match(names, files)
    assert [found[name] for name in names] == files


def test_names_that_are_no_text(tmp_path: Path) -> None:
    latin_1 = os.fsdecode(b"caf\xe9.jpg")
    write_photos(tmp_path, f"a/{latin_1}", "b/caf\\xe9.jpg")
    for image in (f"a/{latin_1}", r"a/caf\xe9.jpg"):
        assert ids([tmp_path], image) == {image: r"a/caf\xe9.jpg"}
    assert ids([tmp_path], r"b/caf\xe9.jpg") == {r"b/caf\xe9.jpg": r"b/caf\x5cxe9.jpg"}


def test_finding_the_folder_of_the_photos(tmp_path: Path) -> None:
    assert find_root(str(tmp_path)) is None
    write_photos(tmp_path, "notes.txt")
    assert find_root(str(tmp_path)) is None
    write_photos(tmp_path, "2024/May/1.JPEG")
    assert find_root(str(tmp_path)) == str(tmp_path)
    (tmp_path / "images").mkdir()
    assert find_root(str(tmp_path)) == str(tmp_path / "images")
