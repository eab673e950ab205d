"""The reader of Karpathy's files, on files written here."""

import json
from pathlib import Path
from typing import Any

import pytest

from imgcap.data.raw import karpathy
from imgcap.data.raw.example import Row, Source
from imgcap.errors import DataError


def sentence(raw: str) -> dict[str, Any]:
    return {"tokens": raw.lower().split(), "raw": raw, "imgid": 0, "sentid": 0}


def entry(filename: str, split: str, *captions: str, **more: Any) -> dict[str, Any]:
    # In the order of keys of Flickr8k's file.
    return {
        "sentids": [0],
        "imgid": 0,
        "sentences": [sentence(caption) for caption in captions],
        "split": split,
        "filename": filename,
        **more,
    }


def write(path: Path, *images: Any) -> str:
    path.write_text(json.dumps({"images": images, "dataset": "x"}))
    return str(path)


def read_all(folder: Path) -> list[Row]:
    source = karpathy.find(str(folder))
    assert source is not None
    return list(karpathy.rows(source.captions_files[0], source))


def test_flickr8k(tmp_path: Path) -> None:
    (tmp_path / "Flicker8k_Dataset").mkdir()
    (tmp_path / "Flicker8k_Dataset" / "2.jpg").write_bytes(b"x")
    write(
        tmp_path / "dataset_flickr8k.json",
        entry("1.jpg", "train", "A dog .", "Dogs run ."),
        entry("2.jpg", "val", " A cat . "),
        entry("3.jpg", "test", ""),
    )
    assert karpathy.find(str(tmp_path)) == Source(
        "karpathy",
        (str(tmp_path / "dataset_flickr8k.json"),),
        (str(tmp_path / "Flicker8k_Dataset"),),
    )
    assert read_all(tmp_path) == [
        Row("1.jpg", ("A dog .", "Dogs run ."), "train"),
        Row("2.jpg", ("A cat .",), "dev"),
        Row("3.jpg", (), "test"),
    ]


def test_coco_has_folders_and_restval(tmp_path: Path) -> None:
    (tmp_path / "train2014").mkdir()
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014" / "COCO_val2014_1.jpg").write_bytes(b"x")
    location = write(
        tmp_path / "dataset_coco.json",
        entry("COCO_val2014_1.jpg", "restval", "A dog.", filepath="val2014", cocoid=1),
        entry("COCO_train2014_2.jpg", "train", "A cat.", filepath="train2014", cocoid=2),
    )
    assert karpathy.find(str(tmp_path)) == Source("karpathy", (location,), (str(tmp_path),))
    assert read_all(tmp_path) == [
        Row("val2014/COCO_val2014_1.jpg", ("A dog.",), "train"),
        Row("train2014/COCO_train2014_2.jpg", ("A cat.",), "train"),
    ]


def test_cocos_photos_may_all_be_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "photos").mkdir(parents=True)
    (tmp_path / "a" / "photos" / "1.jpg").write_bytes(b"x")
    location = write(tmp_path / "c.json", entry("1.jpg", "val", "A dog.", filepath="val2014"))
    root = str(tmp_path / "a" / "photos")
    assert karpathy.find(str(tmp_path)) == Source("karpathy", (location,), (root,))
    assert read_all(tmp_path) == [Row("1.jpg", ("A dog.",), "dev")]


def test_of_all_three_files_the_one_whose_images_are_there_is_taken(tmp_path: Path) -> None:
    for name in ("flickr8k", "flickr30k", "coco"):
        write(tmp_path / f"dataset_{name}.json", entry(f"{name}.jpg", "train", "x"))
    with pytest.raises(
        DataError, match=r"several files could be .*_coco.json, .*: choose by --cap"
    ):
        karpathy.find(str(tmp_path))
    (tmp_path / "flickr30k-images").mkdir()
    (tmp_path / "flickr30k-images" / "flickr30k.jpg").write_bytes(b"x")
    source = karpathy.find(str(tmp_path))
    assert source is not None
    assert source.captions_files == (str(tmp_path / "dataset_flickr30k.json"),)
    assert source.image_roots == (str(tmp_path / "flickr30k-images"),)


def test_a_file_longer_than_its_head(tmp_path: Path) -> None:
    images = [entry(f"{number}.jpg", "train", "A dog runs. " * 50) for number in range(300)]
    write(tmp_path / "dataset.json", *images)
    assert (tmp_path / "dataset.json").stat().st_size > 2 * 65536
    assert [row.image for row in read_all(tmp_path)] == [f"{n}.jpg" for n in range(300)]


def test_other_folders_are_not_karpathys(tmp_path: Path) -> None:
    assert karpathy.find(str(tmp_path)) is None
    (tmp_path / "captions.json").write_text('{"images": [{"file_name": "1.jpg", "id": 1}]}')
    assert karpathy.find(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (3, "d.json: entry 2 of images is no object"),
        (entry("", "train", "x"), 'd.json: image 2: filename is "", not a text'),
        (entry("1.jpg", "holdout", "x"), "d.json: image 2: 'holdout' is no split"),
        ({"filename": "1.jpg", "split": "train"}, "d.json: image 2 has no list of sentences"),
        (
            {"filename": "1.jpg", "split": "train", "sentences": [{"tokens": ["a"]}]},
            "d.json: image 2: a sentence has no raw text",
        ),
        ({"filename": "1.jpg", "sentences": []}, "d.json: image 2: split is null, not a text"),
        (entry("1.jpg", "train", filepath=3), "d.json: image 2: filepath is 3, not a text"),
        (
            {"filename": "1.jpg", "split": "train", "sentences": [{"raw": {}}]},
            "d.json: image 2: raw is {}, not a caption",
        ),
    ],
)
def test_broken_entries(tmp_path: Path, image: Any, message: str) -> None:
    write(tmp_path / "d.json", entry("0.jpg", "train", "x"), image)
    with pytest.raises(DataError, match=message):
        read_all(tmp_path)
