"""Versions in a model's folder: exports at once get numbers of their own, and only old versions are
removed.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export import versions
from imgcap.errors import ExportError
from imgcap.files.moving import UNFINISHED


def make_version(path: Path, content: str = "") -> Path:
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_text(content)
    return path


def test_exports_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    unfinished = [
        make_version(tmp_path / f".unfinished.{number}", str(number)) for number in range(16)
    ]

    def publish(folder: Path) -> Path:
        return versions.publish(
            folder, tmp_path, lambda number: (folder / "card").write_text(str(number))
        )

    with ThreadPoolExecutor(16) as pool:
        published = list(pool.map(publish, unfinished))
    assert list(versions.find_versions(tmp_path)) == list(range(1, 17))
    for number, path in enumerate(published):
        assert (path / "saved_model.pb").read_text() == str(number)
        assert (path / "card").read_text() == path.name
    assert len(list(tmp_path.iterdir())) == 16


def test_a_number_that_another_export_takes_meanwhile(tmp_path: Path) -> None:
    unfinished, asked = make_version(tmp_path / ".unfinished.1"), []

    def overtake(number: int) -> None:
        asked.append(number)
        if number < 3:
            make_version(tmp_path / str(number))

    assert versions.publish(unfinished, tmp_path, overtake) == tmp_path / "3"
    assert asked == [1, 2, 3]


def test_a_folder_that_can_not_be_renamed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        versions.publish(tmp_path / "none", tmp_path, lambda number: None)


@pytest.mark.parametrize(
    ("published", "keep", "left"),
    [
        (9, 0, [1, 2, 5, 9, 10]),
        (9, 1, [9, 10]),
        (9, 2, [5, 9, 10]),
        (9, 9, [1, 2, 5, 9, 10]),
        (1, 1, [1, 2, 5, 9, 10]),
        (10, 1, [10]),
    ],
)
def test_old_versions_are_removed(
    published: int, keep: int, left: list[int], tmp_path: Path
) -> None:
    for number in (1, 2, 5, 9, 10):
        make_version(tmp_path / str(number))
    make_version(tmp_path / "notes")
    (tmp_path / "3").write_text("a file is no version")
    removed = versions.prune(tmp_path / str(published), keep)
    assert list(versions.find_versions(tmp_path)) == left
    assert sorted([*removed, *left]) == [1, 2, 5, 9, 10]
    assert {path.name for path in tmp_path.iterdir()} == {*map(str, left), "notes", "3"}


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    kept = make_version(tmp_path / "elsewhere")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "1").symlink_to(kept)
    make_version(tmp_path / "models" / "2")
    assert versions.prune(tmp_path / "models" / "2", keep=1) == [1]
    assert (kept / "saved_model.pb").exists() and list(
        versions.find_versions(tmp_path / "models")
    ) == [2]


def test_a_version_that_can_not_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        make_version(tmp_path / str(number))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(versions.shutil, "rmtree", refuse)
    with pytest.raises(
        ExportError, match=r"2 is published, but .*/1 can't be removed \(Permission denied\)"
    ):
        versions.prune(tmp_path / "2", keep=1)


def test_what_a_killed_export_left_is_cleared(tmp_path: Path) -> None:
    left = make_version(tmp_path / f".version.1234.0{UNFINISHED}", "half")
    with versions.unfinished_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder] != [left]
        assert list(folder.iterdir()) == [] and versions.find_versions(tmp_path / "absent") == {}
        with versions.unfinished_folder(tmp_path) as another:
            assert sorted(tmp_path.iterdir()) == sorted([folder, another])
    assert list(tmp_path.iterdir()) == []
