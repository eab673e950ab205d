"""Finding where raw data lie, by flags or by looks, and joining rows, images and splits."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from imgcap.config import PrepareConfig
from imgcap.data.raw import RawDataset
from imgcap.data.raw.reading import describe, find_source, read
from imgcap.errors import ConfigError, DataError, ImgcapError
from imgcap.files import locations

KAGGLE = "image,caption\n1.jpg,A dog .\n2.jpg,A cat .\n"
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": [
            {"id": 8, "image_id": 1, "caption": "A dog ."},
            {"id": 9, "image_id": 1, "caption": "A dog ."},
            {"id": 10, "image_id": 2, "caption": "A cat ."},
        ],
    }
)
KARPATHY = json.dumps(
    {
        "images": [
            {"filename": "1.jpg", "split": "train", "sentences": [{"raw": "A dog ."}]},
            {"filename": "2.jpg", "split": "val", "sentences": [{"raw": "A cat ."}]},
        ]
    }
)
LINES = '{"file_name": "1.jpg", "text": "A dog ."}\n{"file_name": "2.jpg", "text": "A cat ."}\n'
PHOTOS = {"1.jpg": b"x", "2.jpg": b"x"}
IMAGES = {f"Images/{name}": content for name, content in PHOTOS.items()}


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
    return folder


def read_raw(folder: Path | str = "", **flags: Any) -> tuple[str, RawDataset]:
    """What is said of a data set, and the data set."""
    config = PrepareConfig(raw_dir=str(folder), output_dir="data", **flags)
    config.validate()
    source = find_source(config)
    raw = read(source, config.seed)
    return describe(source, raw), raw


def refused(error: type[ImgcapError], folder: Path | str = "", **flags: Any) -> str:
    """The one line with which a data set or its flags are refused."""
    with pytest.raises(error) as raised:
        read_raw(folder, **flags)
    text = str(raised.value)
    assert "\n" not in text
    return text.replace(f"{folder}", "RAW") if folder else text


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"captions.txt": KAGGLE, **IMAGES}, "Flickr8k, 2 images, 2 captions"),
        # Two people may have written the same words of one image.
        ({"annotations/captions_val2017.json": COCO, **IMAGES}, "COCO captions, 2 images, 3 capt"),
        ({"dataset_coco.json": KARPATHY, **IMAGES}, "Karpathy's JSON, 2 images, 2 captions"),
        ({"words.csv": KAGGLE, **PHOTOS}, "CSV table, 2 images, 2 captions"),
        ({"metadata.jsonl": LINES, **PHOTOS}, "JSON lines, 2 images, 2 captions"),
        ({"captions.txt": "1.jpg,A dog .\n", **IMAGES}, "Flickr8k, 1 image, 1 caption"),
        # As spreadsheets write it.
        (
            {"captions.txt": "\ufeffImage,Caption\r\n1.jpg,A dog .\r\n", **IMAGES},
            "Flickr8k, 1 image, 1 caption",
        ),
        (
            {"captions.txt": "\ufeffImage;Caption;Who\r\n1.jpg;A dog .;me\r\n", **IMAGES},
            "CSV table, 1 image, 1 caption",
        ),
        ({"captions.txt": KAGGLE, "my photos/1.jpg": b"x"}, "Flickr8k, 1 image, 1 caption"),
        # A table beside a published data set is something else.
        (
            {"captions.txt": KAGGLE, "licences.csv": "image,text\n1.jpg,MIT\n", **IMAGES},
            "Flickr8k, 2 images, 2 captions",
        ),
    ],
)
def test_auto_says_what_it_found(tmp_path: Path, files: dict[str, Any], line: str) -> None:
    said, raw = read_raw(write(tmp_path, files))
    assert said.startswith(line)
    assert all(os.path.basename(example.image_id) in PHOTOS for example in raw.examples)


@pytest.mark.parametrize(
    ("files", "beginning", "example"),
    [
        (
            {},
            "RAW has no image folder and no captions: put the photos into Images/",
            "captions.csv",
        ),
        ({"notes.md": "x"}, "RAW has no image folder and no captions: ", "captions.csv"),
        (IMAGES, "RAW has no captions: put a file there such as captions.csv", "--captions=FILE"),
        (
            {"words.csv": KAGGLE},
            "RAW holds none of the 2 captioned images: unpack the photos there, such as 1.jpg",
            "--images=FOLDER",
        ),
        (
            {"captions_train2017.json": COCO},
            "RAW holds none of the 2 captioned images",
            "--images=FOLDER",
        ),
        ({"captions.txt": KAGGLE}, "RAW has no image folder: put the photos into", "captions.txt"),
        (
            {"words.csv": "a;b\n1.jpg;A dog .\n", **PHOTOS},
            "RAW/words.csv:1: no column is known as images among 'a', 'b'",
            "--image_column",
        ),
        (
            {"a.csv": "a;b\n1.jpg;A dog .\n", "b.csv": "c;d\n1;2\n", **PHOTOS},
            "RAW/a.csv has the columns a, b: if it has the captions, give it as --captions",
            "--caption_column",
        ),
        (
            {"labels.json": '{"categories": []}', **IMAGES},
            "RAW/labels.json is neither COCO's captions nor Karpathy's JSON",
            '"annotations": [{"image_id": 1,',
        ),
        (
            {"captions.txt": KAGGLE, "dataset_flickr8k.json": KARPATHY, **IMAGES},
            "RAW holds Flickr8k (RAW/captions.txt) and Karpathy's JSON "
            "(RAW/dataset_flickr8k.json): choose by",
            "--dataset=flickr8k or --dataset=karpathy",
        ),
        (
            {"a.csv": KAGGLE, "a.jsonl": LINES, **PHOTOS},
            "RAW holds CSV table (RAW/a.csv) and JSON lines (RAW/a.jsonl): choose by",
            "--dataset=csv or --dataset=jsonl",
        ),
    ],
)
def test_auto_says_what_is_missing(
    tmp_path: Path, files: dict[str, Any], beginning: str, example: str
) -> None:
    text = refused(DataError, write(tmp_path, files))
    assert text.startswith(beginning)
    assert example in text


def test_a_layout_that_is_asked_for_and_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": LINES, **PHOTOS})
    assert refused(DataError, tmp_path, dataset="coco").startswith(
        "RAW has no captions of --dataset=coco, which are annotations/captions_train2017.json: "
    )
    assert read_raw(tmp_path, dataset="jsonl")[0] == "JSON lines, 2 images, 2 captions"
    nowhere = refused(DataError, tmp_path / "nowhere")
    assert nowhere.startswith("RAW is no folder: give --raw_dir the folder that holds")


def test_flags_choose_among_layouts_and_files(tmp_path: Path) -> None:
    write(tmp_path, {"captions.txt": KAGGLE, "dataset_flickr8k.json": KARPATHY, **IMAGES})
    write(tmp_path, {"b.csv": KAGGLE, "c.csv": "image,caption\n1.jpg,A dog .\n1.jpg,Dogs .\n"})
    assert read_raw(tmp_path, dataset="karpathy")[0].startswith("Karpathy's JSON, 2 images")
    assert read_raw(tmp_path, captions="dataset_*.json")[0].startswith("Karpathy's JSON, 2 images")
    assert read_raw(tmp_path, captions="captions.txt")[0].startswith("Flickr8k, 2 images")
    # What two tables say twice is a slip.
    said, raw = read_raw(tmp_path, captions="b.csv,c.csv")
    assert said == "CSV table, 2 images, 3 captions (1 repeated row left out)"
    assert raw.examples[0].captions == ("A dog .", "Dogs .")


def test_captions_and_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"texts/a.csv": KAGGLE, "x/1.jpg": b"x", "y, z/2.jpg": b"x"})
    monkeypatch.chdir(tmp_path)
    flags = {"captions": "texts/a.csv", "images": f"x,{tmp_path}/y"}
    assert "/y is missing: there is no" in refused(DataError, **flags)
    os.rename("y, z", "y")
    said, raw = read_raw(**flags)
    assert said == "CSV table, 2 images, 2 captions"
    assert [example.image_id for example in raw.examples] == ["x/1.jpg", "y/2.jpg"]
    assert [example.location for example in raw.examples] == ["x/1.jpg", f"{tmp_path}/y/2.jpg"]
    # Relative to raw_dir first, then to the working folder; a comma may be part of a name.
    os.rename("y", "y, z")
    assert read_raw("texts", captions="a.csv", images="y, z")[0] == "CSV table, 1 image, 1 caption"


def test_lists_by_any_name(tmp_path: Path) -> None:
    write(tmp_path, {"captions.txt": KAGGLE + "3.jpg,A bird .\n", **IMAGES, "Images/3.jpg": b"x"})
    write(tmp_path, {"lists/tr": "1.jpg\ngone.jpg\n", "lists/va": "Images/2.jpg\n"})
    for split, name in (("train", "2.jpg"), ("dev", "1.jpg"), ("test", "3.jpg")):
        write(tmp_path, {f"Flickr_8k.{split}Images.txt": f"{name}\n"})
    official = {example.image_id: example.split for example in read_raw(tmp_path)[1].examples}
    assert official == {"2.jpg": "train", "1.jpg": "dev", "3.jpg": "test"}
    _, raw = read_raw(tmp_path, train_list="lists/tr", dev_list="lists/va")
    splits = {example.image_id: example.split for example in raw.examples}
    assert splits == {"1.jpg": "train", "2.jpg": "dev"}
    assert (raw.absent, raw.unlisted, raw.split_source) == (["gone.jpg"], ["3.jpg"], "official")


def test_columns_by_any_name(tmp_path: Path) -> None:
    rows = 'who;split;img id;one;two\nme;val;2.jpg;A cat .;"Cats; two ."\nme;train;1.jpg;Dog;\n'
    write(tmp_path, {"x.csv": rows, **PHOTOS})
    _, raw = read_raw(tmp_path, image_column="img id", caption_column="one,two")
    assert [(e.image_id, e.split, e.captions) for e in raw.examples] == [
        ("1.jpg", "train", ("Dog",)),
        ("2.jpg", "dev", ("A cat .", "Cats; two .")),
    ]


def test_one_image_by_several_names_has_all_its_captions(tmp_path: Path) -> None:
    rows = f"image,caption\nphotos/1.jpg,A\n1.jpg,B\n./1.jpg,C\n{tmp_path}/photos/1.jpg,D\n"
    write(tmp_path, {"x.csv": rows, "photos/1.jpg": b"x"})
    (example,) = read_raw(tmp_path)[1].examples
    assert sorted(example.captions) == ["A", "B", "C", "D"]
    assert example.image_id == "photos/1.jpg"


def test_fifty_captions_of_one_image_and_one_of_another(tmp_path: Path) -> None:
    rows = [f"1.jpg,caption {number}" for number in range(50)]
    write(tmp_path, {"x.csv": "\r\n".join(["image,caption", *rows, "2.jpg,one"]), **PHOTOS})
    _, raw = read_raw(tmp_path)
    assert [len(example.captions) for example in raw.examples] == [50, 1]
    assert raw.examples[0].captions == tuple(f"caption {number}" for number in range(50))


def test_captions_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, {"captions.txt": KAGGLE.encode() + b"2.jpg,caf\xe9\n", **IMAGES})
    text = refused(DataError, tmp_path)
    assert text == "RAW/captions.txt is not UTF-8 text (a caption of 2.jpg): convert it"
    half = "image,caption\n1.jpg,A".encode("utf-16") + b"\0\xd8 \0"
    text = refused(DataError, write(tmp_path, {"captions.txt": half}))
    assert text == "RAW/captions.txt is not UTF-8 text (a caption of 1.jpg): convert it"


def test_rows_that_name_no_image_of_the_folders(tmp_path: Path) -> None:
    write(tmp_path, {"x.csv": "image,caption\n1.jpg,A\n../secret.jpg,B\n", **PHOTOS})
    text = refused(DataError, tmp_path)
    assert text.startswith("../secret.jpg is outside of the image folders (RAW)")


def test_images_without_captions_and_rows_without_a_split(tmp_path: Path) -> None:
    entries = [
        {"filename": "1.jpg", "split": "train", "sentences": [{"raw": "A"}]},
        {"filename": "2.jpg", "split": "train", "sentences": []},
    ]
    write(tmp_path, {"dataset.json": json.dumps({"images": entries}), **PHOTOS})
    _, raw = read_raw(tmp_path)
    assert [example.image_id for example in raw.examples] == ["1.jpg"]
    assert raw.uncaptioned == ["2.jpg"]
    (tmp_path / "dataset.json").unlink()
    write(tmp_path, {"x.csv": "image,caption,split\n1.jpg,A,train\n2.jpg,B,\n"})
    _, raw = read_raw(tmp_path)
    assert [example.image_id for example in raw.examples] == ["1.jpg"]
    assert raw.unlisted == ["2.jpg"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"raw_dir": ""}, "--raw_dir is missing: give the folder"),
        ({"raw_dir": "", "captions": "a.csv"}, "--raw_dir is missing: .* both --captions and --im"),
        ({"test_list": "t"}, "--test_list=t is one part of a split: give --train_list and --dev"),
        (
            {"train_list": "a", "dev_list": "b", "split_column": "s"},
            "--split_column=s and --train_list both say the split: drop one of the two",
        ),
        (
            {"dataset": "coco", "image_column": "x"},
            r"--image_column=x is for tables \(csv, jsonl, parquet\): coco has names of its own",
        ),
        (
            {"dataset": "karpathy", "train_list": "a", "dev_list": "b"},
            "--train_list=a says the split, which karpathy's file says too: drop it",
        ),
        ({"dataset": "imagenet"}, "--dataset=imagenet is not one of auto, flickr8k, flickr30k, "),
    ],
)
def test_flags_that_do_not_go_together(flags: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{text}"):
        PrepareConfig(**{"raw_dir": "raw", "output_dir": "data", **flags}).validate()


def test_flags_that_the_reader_that_was_found_does_not_read(tmp_path: Path) -> None:
    write(tmp_path, {"dataset_coco.json": KARPATHY, **IMAGES})
    text = refused(ConfigError, tmp_path, caption_column="raw")
    assert text.startswith("--caption_column=raw is for tables (csv, jsonl, parquet): karpathy has")
    text = refused(ConfigError, tmp_path, train_list="a", dev_list="b")
    assert text == "--train_list=a says the split, which karpathy's file says too: drop it"


def test_locations_that_are_missing(tmp_path: Path) -> None:
    write(tmp_path, {"captions.txt": KAGGLE, **IMAGES})
    for flags in (
        {"captions": "no*.json"},
        {"images": "no"},
        {"train_list": "no", "dev_list": "captions.txt"},
    ):
        flag, value = next(iter(flags.items()))
        text = refused(DataError, tmp_path, **flags)
        assert text == f"--{flag}={value} is missing: there is no RAW/{value} and no {value}"
    text = refused(ConfigError, tmp_path, captions="captions.txt,,a.csv")
    assert text.startswith("--captions=captions.txt,,a.csv has an empty part")


def test_a_final_slash_changes_nothing(tmp_path: Path) -> None:
    write(
        tmp_path, {"x.csv": "image,caption\n1.jpg,A\na/2.jpg,B\n", "1.jpg": b"x", "a/2.jpg": b"x"}
    )
    for folder in (f"{tmp_path}", f"{tmp_path}/"):
        for flags in ({}, {"images": f"{tmp_path}/"}, {"images": f"{tmp_path}/,{tmp_path}/a/"}):
            raw = read_raw(folder, **flags)[1]
            assert [example.image_id for example in raw.examples] == ["1.jpg", "a/2.jpg"]
            assert Path(raw.examples[1].location) == tmp_path / "a" / "2.jpg"


def test_a_bucket() -> None:
    pytest.importorskip("tensorflow")
    root = f"ram://{uuid.uuid4()}/raw"
    lists = {"tr.txt": "1.jpg\n", "va.txt": "2.jpg\n"}
    for name, content in {**IMAGES, **lists, "captions.txt": KAGGLE}.items():
        location = locations.join(root, name)
        locations.make_folder(location.rpartition("/")[0])
        with locations.open_file(location, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    said, raw = read_raw(root, train_list="tr.txt", dev_list=f"{root}/va.txt")
    assert said == "Flickr8k, 2 images, 2 captions"
    assert [(e.image_id, e.location, e.split) for e in raw.examples] == [
        ("1.jpg", f"{root}/Images/1.jpg", "train"),
        ("2.jpg", f"{root}/Images/2.jpg", "dev"),
    ]
    said, _ = read_raw(captions=f"{root}/cap*.txt", images=f"{root}/Images")
    assert said == "Flickr8k, 2 images, 2 captions"
    assert refused(DataError, f"{root}/nowhere").startswith("RAW is no folder")
