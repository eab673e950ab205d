"""The reader of COCO's captions, on files written here."""

import json
from pathlib import Path
from typing import Any

import pytest

from imgcap.data.raw import coco
from imgcap.data.raw.example import Row, Source
from imgcap.errors import DataError

TRAIN = {
    "info": {"year": 2017},
    "images": [
        {"license": 1, "file_name": "000000000009.jpg", "id": 9},
        {"license": 1, "file_name": "000000000025.jpg", "id": 25},
        {"license": 1, "file_name": "000000000030.jpg", "id": 30},
    ],
    "annotations": [
        {"image_id": 25, "id": 1, "caption": "A giraffe eats.\n"},
        {"image_id": 9, "id": 2, "caption": "Meat and bread."},
        {"image_id": 25, "id": 3, "caption": "Two giraffes.  "},
        {"image_id": 9, "id": 4, "caption": "  "},
    ],
}
# The ids are those of other images in TRAIN: each file has its own.
VAL = {
    "annotations": [{"image_id": 9, "id": 1, "caption": "A cat."}],
    "images": [{"file_name": "000000000139.jpg", "id": 9}],
}


def write_json(path: Path, tree: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))
    return str(path)


def write_2017(folder: Path, images: str = "") -> Path:
    """Both files in `annotations/`, and the images' folders below `images`."""
    write_json(folder / "annotations" / "captions_train2017.json", TRAIN)
    write_json(folder / "annotations" / "captions_val2017.json", VAL)
    for inner, tree in (("train2017", TRAIN), ("val2017", VAL)):
        for image in tree["images"]:
            path = folder / images / inner / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return folder


def read_all(source: Source) -> list[Row]:
    return [row for file in source.captions_files for row in coco.rows(file, source)]


def find(folder: Path) -> Source:
    source = coco.find(str(folder))
    assert source is not None
    return source


@pytest.mark.parametrize("images", ["", "images"])
def test_train_and_val_are_read_together(tmp_path: Path, images: str) -> None:
    source = find(write_2017(tmp_path, images))
    annotations = tmp_path / "annotations"
    assert source == Source(
        "coco",
        (str(annotations / "captions_train2017.json"), str(annotations / "captions_val2017.json")),
        (str(tmp_path / images),),
    )
    assert read_all(source) == [
        Row("train2017/000000000009.jpg", ("Meat and bread.",), "train"),
        Row("train2017/000000000025.jpg", ("A giraffe eats.", "Two giraffes."), "train"),
        Row("train2017/000000000030.jpg", (), "train"),
        Row("val2017/000000000139.jpg", ("A cat.",), "dev"),
    ]


def test_photos_may_all_be_in_one_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations" / "captions_val2017.json", VAL)
    write_json(tmp_path / "annotations" / "captions_train2017.json", TRAIN)
    (tmp_path / "a" / "photos").mkdir(parents=True)
    (tmp_path / "a" / "photos" / "000000000139.jpg").write_bytes(b"x")
    source = find(tmp_path)
    assert source.image_roots == (str(tmp_path / "a" / "photos"),)
    assert read_all(source)[-1] == Row("000000000139.jpg", ("A cat.",), "dev")


def test_a_single_file_says_nothing_of_splits(tmp_path: Path) -> None:
    write_json(tmp_path / "captions_val2017.json", VAL)
    (tmp_path / "val2017").mkdir()
    assert read_all(find(tmp_path)) == [Row("val2017/000000000139.jpg", ("A cat.",), "")]


def test_files_of_other_kinds_and_years_are_passed_over(tmp_path: Path) -> None:
    write_2017(tmp_path)
    others = ("instances_train2017", "person_keypoints_val2017", "captions_train2014")
    for name in others:
        write_json(tmp_path / "annotations" / f"{name}.json", TRAIN)
    write_json(tmp_path / "package.json", {"name": "other"})
    names = [Path(file).name for file in find(tmp_path).captions_files]
    assert names == ["captions_train2017.json", "captions_val2017.json"]


def test_captions_beside_the_images(tmp_path: Path) -> None:
    for split, tree in (("train", TRAIN), ("valid", VAL)):
        write_json(tmp_path / split / "_annotations.coco.json", tree)
        for image in tree["images"]:
            (tmp_path / split / image["file_name"]).write_bytes(b"x")
    source = find(tmp_path)
    assert source.image_roots == (str(tmp_path),)
    assert [(row.image, row.split) for row in read_all(source)] == [
        ("train/000000000009.jpg", "train"),
        ("train/000000000025.jpg", "train"),
        ("train/000000000030.jpg", "train"),
        ("valid/000000000139.jpg", "dev"),
    ]


def test_a_name_that_has_its_folder_keeps_it(tmp_path: Path) -> None:
    tree = {
        "images": [
            {"id": "a", "file_name": "train2014/1.jpg"},
            {"id": "b", "file_name": "/p/2.jpg"},
            {"id": "c", "file_name": "a\\3.jpg"},
        ],
        "annotations": [{"image_id": "b", "caption": "x"}],
    }
    location = write_json(tmp_path / "captions_train2014.json", tree)
    rows = list(coco.rows(location, Source("coco", (location,), ("/p",))))
    assert rows == [Row("train2014/1.jpg", ()), Row("/p/2.jpg", ("x",)), Row("a/3.jpg", ())]


def test_other_folders_are_not_coco(tmp_path: Path) -> None:
    assert coco.find(str(tmp_path)) is None
    write_json(tmp_path / "captions.json", {"images": [{"filename": "1.jpg"}]})
    write_json(tmp_path / "list.json", [1, 2])
    (tmp_path / "captions_train2017.json").write_text("no JSON at all")
    assert coco.find(str(tmp_path)) is None


def test_several_sets_must_be_chosen(tmp_path: Path) -> None:
    write_json(tmp_path / "captions_cats.json", TRAIN)
    write_json(tmp_path / "captions_dogs.json", TRAIN)
    with pytest.raises(DataError, match=r"several files .*captions_cats.json, .*: choose by --cap"):
        coco.find(str(tmp_path))


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (
            {"bbox": [1]},
            "instances_val2017.json holds instances, not captions: take captions_val2017",
        ),
        ({"bbox": [1], "segmentation": []}, "holds instances, not captions"),
        ({"bbox": [1], "keypoints": []}, "holds keypoints, not captions"),
        ({"segments_info": []}, "holds panoptic segments, not captions"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, annotation: dict, message: str) -> None:
    tree = {**VAL, "annotations": [{"image_id": 9, **annotation}]}
    write_json(tmp_path / "instances_val2017.json", tree)
    with pytest.raises(DataError, match=message):
        read_all(find(tmp_path))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], r"c.json is a JSON list, not an object with images"),
        ({"annotations": []}, "c.json has no list of images"),
        ({"images": []}, "c.json has no list of annotations"),
        ({"images": [3], "annotations": []}, "c.json: entry 1 of images is no object"),
        ({"images": [{"id": 1}], "annotations": []}, "c.json: image 1: file_name is null, not a t"),
        ({"images": [{"file_name": "1.jpg"}], "annotations": []}, "c.json: image 1 has no id"),
        (
            {**VAL, "images": [*VAL["images"], {"id": 9, "file_name": "other.jpg"}]},
            "c.json: image 2: id 9 is that of 000000000139.jpg too",
        ),
        (
            {**VAL, "annotations": [{"image_id": 7, "caption": "x"}]},
            "c.json: annotation 1: image_id 7 is no image of this file",
        ),
        ({**VAL, "annotations": [{"caption": "x"}]}, "c.json: annotation 1 has no image_id"),
        ({**VAL, "annotations": [{"image_id": 9}]}, "c.json: annotation 1 has no caption"),
        (
            {**VAL, "annotations": [{"image_id": 9, "caption": 5}]},
            "c.json: annotation 1: caption is 5, not a caption",
        ),
        (
            {**VAL, "annotations": [{"image_id": 9, "caption": "\ud83d"}]},
            "c.json: annotation 1: caption is not UTF-8 text",
        ),
    ],
)
def test_broken_trees(tmp_path: Path, tree: Any, message: str) -> None:
    location = write_json(tmp_path / "c.json", tree)
    with pytest.raises(DataError, match=message):
        list(coco.rows(location, Source("coco", (location,), (str(tmp_path),))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [],\n', "c.json:2: broken JSON"),
        (b'{"images": [],\n"a": "caf\xe9"}', "c.json:2: not UTF-8 text"),
        (b"[" * 100_000, "c.json: too many brackets"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "c.json").write_bytes(content)
    location = str(tmp_path / "c.json")
    with pytest.raises(DataError, match=message):
        list(coco.rows(location, Source("coco", (location,), (str(tmp_path),))))
