"""Places of files: local paths, TensorFlow's `ram://`, and a file system that Beam alone knows."""

import errno
import functools
import importlib.util
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgcap.errors import DataError
from imgcap.files import locations
from imgcap.files.text import open_text

FILES = {
    "captions.txt": b"image,caption\r\n",
    "Images/1.jpg": b"one",
    "Images/b.v1/2.jpg": b"two",
    "Images/b.v1/3.JPG": b"three",
    "Images/[x].jpg": b"x",
}


@functools.cache
def make_beam_files() -> Any:
    """Makes the class of a file system in memory, which Beam finds as long as it lives."""
    pytest.importorskip("apache_beam")
    from apache_beam.io.filesystem import FileMetadata, FileSystem

    stored: dict[str, bytes] = {}

    class Written(io.BytesIO):
        def __init__(self, path: str) -> None:
            super().__init__()
            self._path = path

        def close(self) -> None:
            stored[self._path] = self.getvalue()
            super().close()

    class Stored(FileSystem):  # type: ignore[misc]  # Beam is not followed
        @classmethod
        def scheme(cls) -> str:
            return "beamtest"

        def join(self, basepath: str, *paths: str) -> str:
            return "/".join((basepath, *paths))

        def split(self, path: str) -> tuple[str, str]:
            return tuple(path.rsplit("/", 1))  # type: ignore[return-value]  # two parts

        def mkdirs(self, path: str) -> None:
            raise NotImplementedError

        def has_dirs(self) -> bool:
            return False

        def _list(self, dir_or_prefix: str) -> Iterator[Any]:
            for path, content in list(stored.items()):
                if path.startswith(dir_or_prefix):
                    yield FileMetadata(path, len(content), 0.0)

        def create(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
            return Written(path)

        def open(self, path: str, mime_type: str = "", compression_type: str = "") -> Any:
            if path not in stored:
                raise ValueError(f"no such blob: {path}")
            return io.BytesIO(stored[path])

        def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
            raise NotImplementedError

        def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
            for source, target in zip(source_file_names, destination_file_names, strict=True):
                assert target not in stored
                stored[target] = stored.pop(source)

        def exists(self, path: str) -> bool:
            return path in stored

        def size(self, path: str) -> int:
            return len(stored[path])

        def last_updated(self, path: str) -> float:
            return 0.0

        def checksum(self, path: str) -> str:
            return ""

        def metadata(self, path: str) -> Any:
            return FileMetadata(path, len(stored[path]))

        def delete(self, paths: list[str]) -> None:
            for path in paths:
                del stored[path]

    return Stored


@pytest.fixture(params=["local", "ram", "beam"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with FILES, of each kind of file system."""
    if request.param == "local":
        root = str(tmp_path / "raw")
    elif request.param == "ram":
        pytest.importorskip("tensorflow")
        root = f"ram://{uuid.uuid4()}/raw"
    else:
        root = f"{make_beam_files().scheme()}://{uuid.uuid4()}/raw"
    for name, content in FILES.items():
        location = locations.join(root, name)
        locations.make_folder(location.rpartition("/")[0])
        with locations.open_file(location, "wb") as file:
            file.write(content)
    return root


def test_what_was_written_is_read_listed_and_measured(folder: str) -> None:
    for name, content in FILES.items():
        location = locations.join(folder, name)
        assert locations.is_file(location)
        assert not locations.is_folder(location)
        assert locations.file_size(location) == len(content)
        with locations.open_file(location) as file:
            assert (file.read(2), file.read()) == (content[:2], content[2:])
    assert list(locations.walk(folder)) == sorted(f"{folder}/{name}" for name in FILES)
    with open_text(f"{folder}/captions.txt") as text:
        assert list(text) == ["image,caption\r\n"]


def test_folders_are_told_from_files_and_from_nothing(folder: str) -> None:
    assert locations.is_folder(folder)
    assert locations.is_folder(f"{folder}/Images")
    assert not locations.is_file(f"{folder}/Images")
    assert not locations.is_folder(f"{folder}/Photos")
    with pytest.raises(OSError) as raised:
        locations.file_size(f"{folder}/Images/gone.jpg")
    assert raised.value.errno == errno.ENOENT
    assert raised.value.filename == f"{folder}/Images/gone.jpg"
    with pytest.raises(OSError) as raised:
        locations.open_file(f"{folder}/Images/gone.jpg")
    assert raised.value.filename == f"{folder}/Images/gone.jpg"


def test_names_in_a_folder(folder: str) -> None:
    names = locations.list_folder(folder)
    # Beam matches files alone.
    assert names == (["captions.txt"] if folder.startswith("beam") else ["Images/", "captions.txt"])
    inner = [name for name in locations.list_folder(f"{folder}/Images") if name != "b.v1/"]
    assert inner == ["1.jpg", "[x].jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("captions.txt", ["captions.txt"]),
        ("gone.txt", []),
        ("*.txt", ["captions.txt"]),
        ("Images/*.jpg", ["Images/1.jpg", "Images/[x].jpg"]),
        ("Images/*", ["Images/1.jpg", "Images/[x].jpg"]),
        (
            "**/*.jpg",
            ["Images/1.jpg", "Images/[x].jpg", "Images/b.v1/2.jpg"],
        ),
        ("Images/?.v1/[0-2].jpg", ["Images/b.v1/2.jpg"]),
        ("Images/b.v1/[!0-2].*", ["Images/b.v1/3.JPG"]),
        ("gone/*.jpg", []),
    ],
)
def test_patterns(folder: str, pattern: str, names: list[str]) -> None:
    found = list(locations.find_files(f"{folder}/{pattern}"))
    assert found == [f"{folder}/{name}" for name in names]


def test_renaming_replaces_and_removing_forgives(folder: str) -> None:
    old, new = f"{folder}/Images/1.jpg", f"{folder}/captions.txt"
    locations.rename(old, new)
    assert not locations.is_file(old)
    with locations.open_file(new) as file:
        assert file.read() == b"one"
    for _ in range(2):
        locations.remove(new)
        assert not locations.is_file(new)


def test_a_library_s_own_errors_name_the_file(folder: str) -> None:
    with pytest.raises(OSError) as raised:
        locations.rename(f"{folder}/gone", f"{folder}/new")
    assert raised.value.filename == f"{folder}/gone"


def test_an_unknown_scheme(tmp_path: Path) -> None:
    for act in (locations.open_file, locations.is_file, locations.is_folder, locations.list_folder):
        with pytest.raises(DataError, match=r"^nosuch://a/b: no file system for nosuch:// is"):
            act("nosuch://a/b")


@pytest.mark.skipif(importlib.util.find_spec("boto3") is not None, reason="boto3 is installed")
def test_a_scheme_of_which_beam_lacks_a_package() -> None:
    pytest.importorskip("apache_beam")
    with pytest.raises(DataError, match=r"^s3://a/b: no file system for s3:// is installed: pip"):
        locations.open_file("s3://a/b")


def test_a_pattern_for_buckets() -> None:
    with pytest.raises(DataError, match=r"^gs://\*/a.jpg: the bucket must be named"):
        list(locations.find_files("gs://*/a.jpg"))


@pytest.mark.parametrize(
    ("location", "remote"),
    [
        ("gs://bucket/a", True),
        ("s3://bucket", True),
        ("hdfs://host:9000/a b", True),
        ("gs:/bucket/a", False),
        ("/a://b", False),
        ("photos/a:b", False),
        ("", False),
    ],
)
def test_addresses_are_told_from_paths(location: str, remote: bool) -> None:
    assert locations.is_remote(location) is remote


def test_joining_and_last_names() -> None:
    assert locations.join("gs://b/raw/", "a", "b.jpg") == "gs://b/raw/a/b.jpg"
    assert locations.join("raw", "a.jpg") == os.path.join("raw", "a.jpg")
    assert locations.base_name("gs://b/raw/a.jpg") == "a.jpg"
    assert locations.base_name("gs://b/raw/") == "raw"


def test_links_that_lead_back_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "1.jpg").write_bytes(b"x")
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    (tmp_path / "other").symlink_to("a")
    found = [os.path.relpath(path, tmp_path) for path in locations.walk(str(tmp_path))]
    assert found == ["a/1.jpg", "other/1.jpg"]
