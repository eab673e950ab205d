"""Unfinished work: what killed processes left is told from what is still being written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imgcap import files
from imgcap.files.unfinished import (
    finish_folder,
    remove_abandoned,
    unfinished_file,
    unfinished_folder,
)

WRITER = """
import sys, time
from pathlib import Path
from imgcap.files.unfinished import unfinished_file
with unfinished_file(Path(sys.argv[1])) as path:
    path.write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


def start_writer(final: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(final)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    return writer


def test_only_what_nobody_writes_any_more_is_removed(tmp_path: Path) -> None:
    final = tmp_path / "config.json"
    final.write_text("old")
    writer = start_writer(final)
    try:
        (left,) = set(os.listdir(tmp_path)) - {"config.json"}
        remove_abandoned(tmp_path)
        files.write_text(tmp_path / "config.json", "new")
        assert set(os.listdir(tmp_path)) == {"config.json", left}
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    files.write_text(tmp_path / "vocab.txt", "other")
    assert left in os.listdir(tmp_path), "the leftover of another file"
    files.write_text(final, "newer")
    assert set(os.listdir(tmp_path)) == {"config.json", "vocab.txt"}
    assert final.read_text() == "newer"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    final = tmp_path / "file"
    final.write_text("old")
    with pytest.raises(ValueError), unfinished_file(final) as path:
        path.write_text("half")
        raise ValueError
    assert os.listdir(tmp_path) == ["file"] and final.read_text() == "old"


def test_two_threads_may_write_one_file(tmp_path: Path) -> None:
    final = tmp_path / "file"
    with unfinished_file(final) as first:
        first.write_text("first")
        with unfinished_file(final) as second:
            second.write_text("second")
        assert final.read_text() == "second"
    assert os.listdir(tmp_path) == ["file"] and final.read_text() == "first"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError), unfinished_folder(tmp_path / "deep" / "5") as folder:
        (folder / "half").touch()
        raise ValueError
    assert os.listdir(tmp_path / "deep") == []
    with unfinished_folder(tmp_path / "deep" / "5") as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "whole").write_text("whole")
        remove_abandoned(tmp_path / "deep")
        assert not (tmp_path / "deep" / "5").exists()
        finish_folder(folder, tmp_path / "deep" / "5")
    assert os.listdir(tmp_path / "deep") == ["5"]
    assert (tmp_path / "deep" / "5" / "inside" / "whole").read_text() == "whole"


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "old").touch()
    with pytest.raises(OSError), unfinished_folder(tmp_path / "5") as folder:
        finish_folder(folder, tmp_path / "5")
    assert os.listdir(tmp_path) == ["5"] and os.listdir(tmp_path / "5") == ["old"]


def test_everything_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        order.append("renamed")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with unfinished_folder(tmp_path / "5") as folder:
        (folder / "weights").touch()
        finish_folder(folder, tmp_path / "5")
    assert order == ["weights", folder.name, "renamed", tmp_path.name]
