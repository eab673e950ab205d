"""The whole road of each layout: a stranger's folder, `imgcap-prepare` with nothing but the folder,
and shards that hold each image once, with its captions, in its split.
"""

import csv
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import tensorflow as tf

from imgcap.cli import prepare
from imgcap.config import PrepareConfig, TrainConfig
from imgcap.data.manifest import load_manifest
from imgcap.data.raw import drawn
from imgcap.data.raw.reading import find_source, read
from imgcap.errors import DataError
from imgcap.training.inputs.examples import plan_data

IMAGES = 12
NAMES = [f"{number:02d}.jpg" for number in range(IMAGES)]
SPLIT_OF = dict(zip(NAMES, ["train"] * 8 + ["dev"] * 2 + ["test"] * 2, strict=True))
PHOTO = {"train": "train2017", "dev": "val2017"}


class Scene(NamedTuple):
    """An image of the stranger's.

    Attributes:
        content: of its file.
        captions: five of them.
    """

    content: bytes
    captions: tuple[str, ...]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """Twelve drawn images by their names."""
    folder, rng = tmp_path_factory.mktemp("scenes"), random.Random(7)
    found = {}
    for name in NAMES:
        scene = drawn.draw_scene(rng)
        scene.picture.save(folder / name)
        found[name] = Scene((folder / name).read_bytes(), scene.captions)
    return found


Scenes = dict[str, Scene]
Layout = Callable[[Path, Scenes], dict[str, tuple[str, str]]]
"""Writes a folder; returns, by the name of each image, its id and its split (empty: drawn)."""


def put_images(folder: Path, scenes: Scenes, names: list[str] = NAMES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(scenes[name].content)


def lines(path: Path, rows: list[str], end: str = "\n", start: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((start + "".join(row + end for row in rows)).encode())


def in_split(split: str) -> list[str]:
    return [name for name in NAMES if SPLIT_OF[name] == split]


def tokens(scenes: Scenes) -> list[str]:
    return [
        f"{name}#{number}\t{caption}"
        for name, scene in scenes.items()
        for number, caption in enumerate(scene.captions)
    ]


def flickr8k(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    put_images(folder / "Flicker8k_Dataset", scenes)
    lines(folder / "Flickr8k_text" / "Flickr8k.token.txt", tokens(scenes))
    for split in ("train", "dev", "test"):
        lines(folder / "Flickr8k_text" / f"Flickr_8k.{split}Images.txt", in_split(split))
    return {name: (name, SPLIT_OF[name]) for name in NAMES}


def flickr30k(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    """Kaggle's, whose table is separated by ' | ' and is beside the images' folder."""
    put_images(folder / "flickr30k_images", scenes)
    rows = ["image_name| comment_number| comment"]
    for name, scene in scenes.items():
        rows += [f"{name}| {i}|  {caption}" for i, caption in enumerate(scene.captions)]
    lines(folder / "results.csv", rows)
    return {name: (name, "") for name in NAMES}


def flickr30k_tokens(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    put_images(folder / "flickr30k-images", scenes)
    lines(folder / "results_20130124.token", tokens(scenes))
    return {name: (name, "") for name in NAMES}


def coco(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    """As it is downloaded: two folders, two files, and others beside them; no split test."""
    ids = {}
    for split, inner in PHOTO.items():
        names = [name for name in NAMES if (SPLIT_OF[name] == "train") == (split == "train")]
        put_images(folder / inner, scenes, names)
        tree = {
            "images": [{"id": NAMES.index(name), "file_name": name} for name in names],
            "annotations": [
                {"image_id": NAMES.index(name), "caption": scenes[name].captions[number]}
                for number in range(5)
                for name in names
            ],
        }
        lines(folder / "annotations" / f"captions_{inner}.json", [json.dumps(tree)])
        lines(folder / "annotations" / f"instances_{inner}.json", [json.dumps(tree)])
        ids.update({name: (f"{inner}/{name}", split) for name in names})
    return ids


def coco_of_one_file(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    put_images(folder / "images", scenes)
    tree = {
        "images": [{"id": name, "file_name": name} for name in NAMES],
        "annotations": [
            {"image_id": name, "caption": caption}
            for name in NAMES
            for caption in scenes[name].captions
        ],
    }
    lines(folder / "captions.json", [json.dumps(tree, indent=1)])
    return {name: (name, "") for name in NAMES}


def karpathy(folder: Path, scenes: Scenes, coco: bool = False) -> dict[str, tuple[str, str]]:
    ids = {}
    images = []
    for name in NAMES:
        written = {"train": "restval", "dev": "val", "test": "test"}[SPLIT_OF[name]]
        inner = ("val2014" if SPLIT_OF[name] != "train" else "train2014") if coco else "Images"
        put_images(folder / inner, scenes, [name])
        sentences = [
            {"raw": text, "tokens": text.lower().split()} for text in scenes[name].captions
        ]
        images.append(
            {**({"filepath": inner} if coco else {}), "sentences": sentences, "split": written}
            | {"filename": name}
        )
        ids[name] = (f"{inner}/{name}" if coco else name, SPLIT_OF[name])
    lines(folder / "dataset_x.json", [json.dumps({"images": images, "dataset": "x"})])
    return ids


def karpathy_coco(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    return karpathy(folder, scenes, coco=True)


def spreadsheet(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    """As a spreadsheet program of a European writes it, images in folders by subject."""
    ids = {}
    rows = ["Nr;File Name;Caption 1;Caption 2;Caption 3;Caption 4;Caption 5;Split;;"]
    for number, name in enumerate(NAMES):
        inner = ("animals", "cities")[number % 2]
        put_images(folder / "my photos" / inner, scenes, [name])
        cells = ";".join(f'"{caption}"' for caption in scenes[name].captions)
        rows.append(f"{number};{inner}\\{name};{cells};{SPLIT_OF[name]};;")
        ids[name] = (f"{inner}/{name}", SPLIT_OF[name])
    lines(folder / "captions.csv", [*rows, ";;;;;;;;;"], end="\r\n", start="\ufeff")
    return ids


def table_of_rows(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    """Tabs, no header, one row a caption, each twice, and whole paths."""
    put_images(folder / "photos", scenes)
    rows = [
        f"{folder / 'photos' / name}\t{caption}"
        for name in NAMES
        for caption in scenes[name].captions
    ]
    lines(folder / "list.tsv", rows * 2)
    return {name: (f"photos/{name}", "") for name in NAMES}


def table_for_each_split(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    put_images(folder / "images", scenes)
    for split, written in (("train", "train"), ("dev", "val"), ("test", "test")):
        with (folder / f"{written}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image_path", "caption"])
            for name in in_split(split):
                writer.writerows((f"images/{name}", text) for text in scenes[name].captions)
    return {name: (f"images/{name}", SPLIT_OF[name]) for name in NAMES}


def image_folder(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    """Hugging Face's, with a folder for each split."""
    ids = {}
    for split, written in (("train", "train"), ("dev", "validation"), ("test", "test")):
        put_images(folder / written, scenes, in_split(split))
        entries = [{"file_name": name, "text": scenes[name].captions} for name in in_split(split)]
        lines(folder / written / "metadata.jsonl", [json.dumps(entry) for entry in entries])
        ids.update({name: (f"{written}/{name}", split) for name in in_split(split)})
    return ids


def parquet(folder: Path, scenes: Scenes) -> dict[str, tuple[str, str]]:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as format

    put_images(folder / "images", scenes)
    columns = {
        "image": NAMES,
        "captions": [list(scenes[name].captions) for name in NAMES],
        "split": [SPLIT_OF[name] for name in NAMES],
    }
    format.write_table(pyarrow.table(columns), folder / "captions.parquet", row_group_size=5)
    return {name: (name, SPLIT_OF[name]) for name in NAMES}


LAYOUTS: dict[Layout, str] = {
    flickr8k: "Flickr8k",
    flickr30k: "Flickr30k",
    flickr30k_tokens: "Flickr30k",
    coco: "COCO captions",
    coco_of_one_file: "COCO captions",
    karpathy: "Karpathy's JSON",
    karpathy_coco: "Karpathy's JSON",
    spreadsheet: "CSV table",
    table_of_rows: "CSV table",
    table_for_each_split: "CSV table",
    image_folder: "JSON lines",
    parquet: "Parquet table",
}


def read_shards(data_dir: Path) -> dict[str, tuple[str, bytes, tuple[str, ...]]]:
    """By image id: split, content and captions, read from the shards without the project's code."""
    found = {}
    for path in sorted(data_dir.glob("*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            fields = tf.train.Example.FromString(record).features.feature
            image_id = fields["image_id"].bytes_list.value[0].decode()
            captions = tuple(text.decode() for text in fields["captions"].bytes_list.value)
            content = fields["image_bytes"].bytes_list.value[0]
            assert image_id not in found
            found[image_id] = (path.name.split("-")[0], content, captions)
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_from_a_strangers_folder_to_shards(
    layout: Layout, scenes: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    expected = layout(raw, scenes)
    flags = [f"--raw_dir={raw}", f"--output_dir={data}", "--num_shards=2", "--num_processes=1"]
    assert prepare.main(["imgcap-prepare", *flags]) == 0, capsys.readouterr().err
    assert f"{LAYOUTS[layout]}, 12 images, 60 captions" in capsys.readouterr().out
    found = read_shards(data)
    assert {image_id: record[1:] for image_id, record in found.items()} == {
        image_id: (scenes[name].content, scenes[name].captions)
        for name, (image_id, _) in expected.items()
    }
    splits = {image_id: record[0] for image_id, record in found.items()}
    manifest = load_manifest(data)
    if all(split for _, split in expected.values()):
        assert splits == dict(expected.values())
        assert manifest.split_source == "official"
    else:
        assert sorted(splits.values()) == ["dev", "test", *["train"] * 10]
        assert manifest.split_source == "seeded"
    train = TrainConfig(data_dir=str(data), workdir=str(tmp_path / "run"), batch_size=16)
    assert plan_data(train, 32, manifest).steps_per_epoch > 0


def test_an_empty_dev_split_is_told(
    scenes: Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_images(tmp_path, scenes, NAMES[:2])
    lines(tmp_path / "c.csv", ["image,text,split", "00.jpg,a dog,train", "01.jpg,a cat,test"])
    flags = [f"--raw_dir={tmp_path}", f"--output_dir={tmp_path / 'data'}", "--num_processes=1"]
    assert prepare.main(["imgcap-prepare", *flags]) == 0
    told = capsys.readouterr().out
    assert "split dev is empty, and imgcap-train chooses the best checkpoint by it: prep" in told


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("../1.jpg", r"\.\./1.jpg is outside of the image folders"),
        ("/etc/1.jpg", "/etc/1.jpg is outside of the image folders"),
        ("https://a.org/1.jpg", "https://a.org/1.jpg is outside of the image folders"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "coco", "karpathy"])
def test_no_path_leads_out_of_the_image_folders(
    kind: str, image: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "0.jpg").write_bytes(b"x")
    texts = {
        "csv": f"image,text\n0.jpg,a\n{image},b\n",
        "jsonl": json.dumps({"image": "0.jpg", "text": "a"})
        + "\n"
        + json.dumps({"image": image, "text": "b"}),
        "coco": json.dumps(
            {
                "images": [{"id": 0, "file_name": "0.jpg"}, {"id": 1, "file_name": image}],
                "annotations": [{"image_id": 0, "caption": "a"}, {"image_id": 1, "caption": "b"}],
            }
        ),
        "karpathy": json.dumps(
            {
                "images": [
                    {"filename": name, "split": "train", "sentences": [{"raw": "a"}]}
                    for name in ("0.jpg", image)
                ]
            }
        ),
    }
    lines(tmp_path / f"c.{kind if kind in ('csv', 'jsonl') else 'json'}", [texts[kind]])
    source = find_source(PrepareConfig(raw_dir=str(tmp_path), output_dir="unused"))
    assert source.dataset == kind
    with pytest.raises(DataError, match=message):
        read(source, seed=0)


def test_karpathys_flickr8k_is_the_official_one(shared: Path, tmp_path: Path) -> None:
    """Sixty photos with official lists, and the same in Karpathy's JSON, give the same shards."""
    official = shared / "flickr8k"
    lists = {
        split: (official / f"Flickr_8k.{split}Images.txt").read_text().split()[:20]
        for split in ("train", "dev", "test")
    }
    splits = {name: split for split, names in lists.items() for name in names}
    captions: dict[str, list[str]] = {name: [] for name in splits}
    kept = []
    for line in (official / "Flickr8k.token.txt").read_text().splitlines():
        key, caption = line.split("\t")
        if key[:-2] in splits:
            kept.append(line)
            captions[key[:-2]].append(caption)
    for folder in ("official", "karpathy"):
        (tmp_path / folder / "Flicker8k_Dataset").mkdir(parents=True)
        for name in splits:
            shutil.copy(official / "Images" / name, tmp_path / folder / "Flicker8k_Dataset")
    lines(tmp_path / "official" / "Flickr8k.token.txt", kept)
    for split, names in lists.items():
        lines(tmp_path / "official" / f"Flickr_8k.{split}Images.txt", names)
    images = [
        {
            "filename": name,
            "split": "val" if split == "dev" else split,
            "sentences": [{"raw": text, "tokens": text.split()} for text in captions[name]],
        }
        for name, split in splits.items()
    ]
    lines(tmp_path / "karpathy" / "dataset_flickr8k.json", [json.dumps({"images": images})])
    written = {}
    for folder in ("official", "karpathy"):
        output = tmp_path / f"{folder} data"
        flags = [f"--raw_dir={tmp_path / folder}", f"--output_dir={output}", "--num_shards=4"]
        assert prepare.main(["imgcap-prepare", *flags, "--num_processes=2"]) == 0
        written[folder] = {
            path.name: path.read_bytes()
            for path in output.iterdir()
            if path.suffix in (".tfrecord", ".txt")
        }
    assert len(written["official"]) == 4 + 1 + 1 + 1
    assert written["official"] == written["karpathy"]
