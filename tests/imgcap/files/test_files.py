"""Files under any name, on any file system: writing, renaming and locking."""

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from imgcap import files
from imgcap.errors import RunError
from imgcap.files import locking, moving
from imgcap.files.literal import is_literal, literal_folder
from imgcap.run import directory
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES


@pytest.fixture
def across_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every renaming fail, as between two file systems."""

    def fail(source: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr(Path, "rename", fail)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_any_name_can_be_written(name: str, tmp_path: Path) -> None:
    files.write_json(tmp_path / name, {"path": name})
    assert files.read_json(tmp_path / name, RunError, "") == {"path": name}
    assert os.listdir(tmp_path) == [name]


def test_json_of_a_path_that_is_no_text_is_text(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"été": ALL_AT_ONCE})
    text = (tmp_path / "x.json").read_bytes().decode("utf-8")
    assert '"été"' in text
    assert json.loads(text) == {"été": ALL_AT_ONCE}


def test_a_link_stays_one_when_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_text() == "new"


def test_files_and_folders_move_where_renaming_fails(
    tmp_path: Path, across_file_systems: None
) -> None:
    (tmp_path / "file").write_text("old")
    files.write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    (tmp_path / "unfinished" / "deep").mkdir(parents=True)
    (tmp_path / "unfinished" / "deep" / "one").write_text("1")
    moving.move(tmp_path / "unfinished", tmp_path / "final")
    assert (tmp_path / "final" / "deep" / "one").read_text() == "1"
    assert sorted(os.listdir(tmp_path)) == ["file", "final"]


def test_a_folder_never_moves_onto_one_that_is_in_use(
    tmp_path: Path, across_file_systems: None
) -> None:
    for folder in ("unfinished", "final"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / folder).write_text(folder)
    with pytest.raises(OSError):
        moving.move(tmp_path / "unfinished", tmp_path / "final")
    assert os.listdir(tmp_path / "final") == ["final"]
    assert os.listdir(tmp_path / "unfinished") == ["unfinished"]


def test_what_cannot_be_removed_is_out_of_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on NFS, where a file that is still read stays.
    (tmp_path / "12").mkdir()
    monkeypatch.setattr(moving.shutil, "rmtree", lambda path, ignore_errors: None)
    moving.discard(tmp_path / "12")
    moving.discard(tmp_path / "absent")
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".12.") and left.endswith(moving.UNFINISHED)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_every_folder_has_a_path_for_tensorflow(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with literal_folder(tmp_path / name) as folder:
        assert is_literal(folder)
        (folder / "file").write_text(name.encode("utf-8", "replace").decode())
    assert (tmp_path / name / "file").is_file()
    assert is_literal(tmp_path / name) == folder.exists()


def test_a_lock_keeps_a_second_holder_out(tmp_path: Path) -> None:
    with directory.locked(tmp_path), pytest.raises(RunError, match="in use by another process"):
        directory.locked(tmp_path).__enter__()
    with directory.locked(tmp_path):
        pass


@pytest.mark.parametrize("code", ["ENOSYS", "ENOTSUP", "EINVAL", "ENOLCK"])
def test_a_file_system_without_locks_is_worked_on_and_said_once(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(file: object, operation: int) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(fcntl, "flock", answer)
    for _ in range(2):
        with directory.locked(tmp_path):
            pass
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("knows no locks") == 1


def test_other_failures_of_a_lock_are_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(file: object, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", answer)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        locking.locked(tmp_path / "lock").__enter__()
