"""What --input may be: folders, globs, tables and lists, always cut alike."""

import json
import os
from pathlib import Path

import pytest

from imgcap.errors import ConfigError, DataError
from serving.cli.batch.config import InputConfig
from serving.cli.batch.inputs import Reference, find_input

NAMES = ["a.jpg", "b c.PNG", "deep/d.gif", "e.webp"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [*NAMES, "notes.md"]:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x")
    return tmp_path / "photos"


def shards(path: object, **settings: object) -> list[list[Reference]]:
    config = InputConfig(input=str(path), output="out.jsonl", **settings)
    config.validate()
    return list(find_input(config).shards)


def images(path: object, **settings: object) -> list[str]:
    return [reference.image for shard in shards(path, **settings) for reference in shard]


def test_a_folder_gives_its_images_at_any_depth_in_shards(folder: Path) -> None:
    found = shards(folder, images_per_shard=3)
    assert [len(shard) for shard in found] == [3, 1]
    assert [one.image for shard in found for one in shard] == [f"{folder}/{n}" for n in NAMES]
    assert found[0][0] == Reference(f"{folder}/a.jpg", f"{folder}/a.jpg")
    assert found == shards(folder, images_per_shard=3)


def test_a_glob_and_one_image(folder: Path) -> None:
    assert images(folder / "*.*g") == [f"{folder}/a.jpg"]
    assert images(folder / "**" / "*.[gw]*") == [f"{folder}/deep/d.gif", f"{folder}/e.webp"]
    assert images(folder / "a.jpg") == [f"{folder}/a.jpg"]
    assert images(folder / "*.tiff") == []


def test_a_name_that_is_no_text_leads_back_to_its_file(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(raw, "wb") as file:
        file.write(b"x")
    ((found,),) = shards(tmp_path)
    assert found.image == f"{tmp_path}/caf\\xe9.jpg" and os.fsencode(found.location) == raw


TABLES = {
    "captions.csv": "image,caption\na.jpg,One dog.\na.jpg,A dog.\nb c.PNG,Two\n",
    "semicolons.csv": "id;file_name;note\n1;a.jpg;x\n2;b c.PNG;y\n",
    "one.csv": "image\na.jpg\nb c.PNG\na.jpg\n",
    "windows.tsv": "\ufefffile\tsize\r\na.jpg\t1\r\nb c.PNG\t2\r\n",
    "bare.csv": "a.jpg,One dog.\nb c.PNG,Two\n",
    "metadata.jsonl": '{"file_name": "a.jpg", "text": "x"}\n{"file_name": "b c.PNG", "text": ""}\n',
    "only.jsonl": '{"path": "a.jpg"}\n{"path": "b c.PNG"}\n',
    "list.txt": "a.jpg\n\nb c.PNG\n",
}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_names_each_image_once(folder: Path, name: str) -> None:
    table = folder / name
    table.write_text(TABLES[name], encoding="utf-8")
    ((first, second),) = shards(table)
    assert first == Reference("a.jpg", f"{folder}/a.jpg")
    assert second == Reference("b c.PNG", f"{folder}/b c.PNG")


def test_parquet_where_it_can_be_read(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = folder / "photos.parquet"
    parquet.write_table(pyarrow.table({"image": ["a.jpg", "e.webp"], "n": [1, 2]}), table)
    assert images(table) == ["a.jpg", "e.webp"]


def test_a_table_in_a_folder_named_as_a_split_has_paths_beside_it(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    table = tmp_path / "train" / "captions.csv"
    table.write_text("image,caption\na.jpg,x\n")
    assert shards(table) == [[Reference("a.jpg", f"{tmp_path}/train/a.jpg")]]


def test_paths_of_a_list_are_absolute_or_below_a_root(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"a.jpg\n{folder}/e.webp\ngs://bucket/x y.jpg\n")
    ((first, second, third),) = shards(listed, image_root=str(folder))
    assert first == Reference("a.jpg", f"{folder}/a.jpg")
    assert second.location == f"{folder}/e.webp"
    assert third == Reference("gs://bucket/x y.jpg", "gs://bucket/x y.jpg")


def test_the_column_may_be_named(folder: Path) -> None:
    table = folder / "two.csv"
    table.write_text("photo,image\na.jpg,e.webp\n")
    with pytest.raises(DataError, match="several columns could be images among 'photo', 'image'"):
        images(table)
    assert images(table, image_column="photo") == ["a.jpg"]
    (folder / "none.jsonl").write_text(json.dumps({"a": 1, "b": "x.jpg"}) + "\n")
    with pytest.raises(DataError, match="name it by --image_column"):
        images(folder / "none.jsonl")
    assert images(folder / "none.jsonl", image_column="b") == ["x.jpg"]


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("nowhere", {}, "nowhere does not exist: name a folder"),
        ("photos/notes.md", {}, "is no image, no table"),
        ("photos/list.txt", {"split": "test"}, "--split=test is for prepared data"),
    ],
)
def test_what_is_no_input(folder: Path, name: str, settings: dict, message: str) -> None:
    (folder / "list.txt").write_text("a.jpg\n")
    with pytest.raises(ConfigError, match=message):
        shards(folder.parent / name, **settings)


def test_prepared_data_keep_their_shards(data_dir: Path) -> None:
    found = find_input(InputConfig(input=f"{data_dir}/manifest.json", output="x", split="train"))
    shard_files = list(found.shards)
    manifest = json.loads((data_dir / "manifest.json").read_text())
    assert [Path(one.location).name for (one,) in shard_files] == manifest["shards"]["train"]
    assert found.images == manifest["images"]["train"]
    both = find_input(InputConfig(input=f"{data_dir}/manifest.json", output="x"))
    assert both.images == sum(manifest["images"].values())
    with pytest.raises(DataError, match="has no images in split 'nothing'"):
        find_input(InputConfig(input=f"{data_dir}/manifest.json", output="x", split="nothing"))
