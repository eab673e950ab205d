"""Paths on the command line: home directories, names that are no text, and what is refused."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgcap.cli import command
from imgcap.config import Section, flag_fields, setting
from imgcap.errors import RunError
from imgcap.run.pretrained import resolve_run
from tests.support.command_lines import load_commands
from tests.support.paths import ALL_AT_ONCE, HOSTILE_NAMES

TEXTS = {
    "base_url_path",
    "canary_label",
    "caption_column",
    "concurrency",
    "data_service",
    "encoder_output",
    "host",
    "image_column",
    "label",
    "license",
    "model",
    "model_name",
    "profile_steps",
    "rate",
    "runner",
    "server",
    "split",
    "split_column",
    "stable_label",
    "weights",
}
"""Flags whose value is neither a path nor one of a few words."""

PATHS = {("imgcap-caption-batch", "model")}
"""Commands and flags that are paths, although the flag of other commands is in TEXTS."""


@dataclass(frozen=True)
class StoreConfig(Section):
    """Where things are kept."""

    cellar: str = setting("", "Folder of the potatoes.", path=True)
    motto: str = setting("", "What is above the door.")
    market: str = setting("", "Folder or address of the market.", path=True, remote=True)
    stalls: str = setting("", "Folders of the stalls.", path=True, remote=True, several=True)


def store(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[object], str]:
    """Runs a command and returns its status, what it was called with, and its errors."""
    given: list[object] = []

    def run(config: StoreConfig, names: list[str]) -> None:
        given.extend([config, names])

    kept = command.Command("store", "Stores.", (StoreConfig,), run, "NAME...")
    status = command.main(kept, ["store", *arguments])
    return status, given, capsys.readouterr().err


def test_every_flag_that_may_be_a_path_is_one() -> None:
    for one in load_commands().values():
        for field in [field for section in one.sections for field in flag_fields(section)]:
            if type(field.default) is str and not field.metadata["choices"]:
                is_path = field.metadata["path"]
                is_text = field.name in TEXTS and (one.name, field.name) not in PATHS
                assert is_path != is_text, f"{one.name} --{field.name}"


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, ALL_AT_ONCE])
def test_a_path_of_any_name_comes_through(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = str(tmp_path / name)
    for arguments in ([f"--cellar={path}", "--", path], ["--cellar", path, "--", path]):
        status, (config, names), _ = store(capsys, *arguments)
        assert (status, config.cellar, names) == (0, path, [path])


def test_home_is_found_in_flags_and_flag_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # The shell does it for arguments, and a file that it found may be called so.
    _, (config, names), _ = store(capsys, "--cellar=~/potatoes", "--motto=~/x", "~")
    assert (config.cellar, config.motto, names) == (f"{tmp_path}/potatoes", "~/x", ["~"])
    Path("flags.cfg").write_text("# where\n--cellar=~\n")
    _, (config, _), _ = store(capsys, "--flagfile=flags.cfg")
    assert config.cellar == str(tmp_path)
    _, (config, _), _ = store(capsys, "--cellar=./~")
    assert config.cellar == "./~"


def test_a_name_that_was_printed_as_escapes_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    printed = f"{tmp_path}/caf\\xe9"
    _, (config, names), _ = store(capsys, f"--cellar={printed}", printed)
    assert [config.cellar, *names] == [f"{tmp_path}/caf\udce9"] * 2
    Path(printed).mkdir()  # Now it is the very name of another.
    _, (config, _), _ = store(capsys, f"--cellar={printed}")
    assert config.cellar == printed


@pytest.mark.parametrize(
    "address", ["gs://bucket/a//b", "s3://bucket", "hdfs://host:9000/~/a", r"ram://a/caf\xe9"]
)
def test_addresses_come_through_or_are_refused(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (config, _), _ = store(capsys, f"--market={address}", f"--motto={address}")
    assert config.market == config.motto == address
    status, given, err = store(capsys, f"--cellar={address}")
    assert (status, given) == (2, [])
    line = f"--cellar={address} is an address: give a file or folder of this machine"
    assert err == f"store: error: {line}\n"


def test_each_of_several_paths_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    _, (config, _), _ = store(capsys, rf"--stalls=gs://b/~,~/a b,{tmp_path}/caf\xe9,../c")
    assert config.stalls == f"gs://b/~,{tmp_path}/a b,{tmp_path}/caf\udce9,../c"


def test_a_run_is_no_address() -> None:
    with pytest.raises(RunError, match=r"^gs://bucket/run is an address: copy the run to a"):
        resolve_run("gs://bucket/run")


def test_a_zero_byte_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "flags.cfg").write_bytes(b"--cellar=a\0b\n")
    status, _, err = store(capsys, f"--flagfile={tmp_path}/flags.cfg")
    assert status == 2
    assert err == "store: error: --cellar='a\\x00b' holds a zero byte, which no path may have\n"


def test_a_flag_file_that_is_no_text_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "flags.cfg").write_bytes(b"--cellar=caf\xe9\n")
    status, _, err = store(capsys, f"--flagfile={tmp_path}/flags.cfg")
    assert status == 2
    assert err.startswith("store: error: a --flagfile is no UTF-8 text (")


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (errno.EACCES, "Permission denied: mend its permissions, or give another path"),
        (errno.EROFS, "Read-only file system: give a path that can be written"),
        (errno.EEXIST, "File exists: a file is where a folder is needed: give another path"),
        (errno.ENAMETOOLONG, "File name too long: give a shorter name"),
        (
            errno.ESTALE,
            "Stale file handle: it was replaced on the file server meanwhile: run again",
        ),
        (errno.ENXIO, "No such device or address: mend it, or give another path"),
    ],
)
def test_what_the_system_says_of_a_path_is_one_line(
    code: int, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: StoreConfig, names: list[str]) -> None:
        raise OSError(code, os.strerror(code), os.fsdecode(b"/pota\ntoes/\xe9"))

    status = command.main(command.Command("store", "Stores.", (StoreConfig,), fail), ["store"])
    assert status == 1
    assert capsys.readouterr().err == f"store: error: /pota\\x0atoes/\\xe9: {end}\n"


def test_a_failure_that_is_about_no_path_is_not_hidden() -> None:
    def fail(config: StoreConfig, names: list[str]) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    with pytest.raises(OSError, match="Bad file descriptor"):
        command.main(command.Command("store", "Stores.", (StoreConfig,), fail), ["store"])
