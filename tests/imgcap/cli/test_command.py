"""The command line: help by headings, the version, recipes by name, and errors of one line."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from imgcap import __version__
from imgcap.cli import command, train
from imgcap.cli.flags.flagfile import RECIPES, find_flagfile, find_flagfiles, recipe_names
from imgcap.cli.flags.help_text import make_help
from imgcap.config import Section, flag_fields, setting
from tests.support.paths import ROOT

RECIPE_NAMES = [
    "demo",
    "flickr8k",
    "flickr8k_attention",
    "flickr8k_distill",
    "flickr8k_finetune",
    "flickr8k_scst",
    "small",
]


@dataclass(frozen=True)
class OvenConfig(Section):
    """The oven. What bakes."""

    degrees: int = setting(180, "Temperature in degrees Celsius.", common=True)
    cake: str = setting("", "What is baked.", required=True, common=True)
    fan: bool = setting(True, "Move the air.")
    door: str = setting("shut", "State of the door.", choices=("shut", "open"), heading="Safety")
    longest_time_until_somebody_looks: float = setting(0.5, "Hours until somebody looks at it.")


@dataclass(frozen=True)
class IcingConfig(Section):
    """Icing"""

    sugar: int = setting(2, "Spoons of sugar.")


BAKE = command.Command("bake", "Bakes.", (OvenConfig,), print, "PAN...", overrides=IcingConfig)


def test_help_puts_first_what_matters_and_groups_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert command.main(BAKE, ["bake", "--help"]) == 0
    assert (
        capsys.readouterr().out
        == """usage: bake PAN... [--flag=value ...]

Bakes.

Most used:
  --cake=TEXT                 What is baked. (required)
  --degrees=N                 Temperature in degrees Celsius. (default: 180)

The oven:
  --[no]fan                   Move the air. (default: on)

Safety:
  --door=TEXT                 State of the door. One of: shut, open. (default:
                              shut)
  --longest_time_until_somebody_looks=X
                              Hours until somebody looks at it. (default: 0.5)

Icing:
  --sugar=N                   Spoons of sugar. (default: as the run was trained
                              with)

In every command:
  --flagfile=FILE             File with one flag a line (# begins a comment).
  --help                      Show this text.
  --version                   Show the version.
"""
    )


@pytest.mark.parametrize(("columns", "widest"), [("20", 60), ("77", 77), ("300", 100)])
def test_help_is_as_wide_as_the_terminal(
    columns: str, widest: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert train.main(["imgcap-train", "--help"]) == 0
    assert widest - 8 < max(map(len, capsys.readouterr().out.splitlines())) <= widest


def test_help_of_training_begins_with_ten_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["imgcap-train", "--help"]) == 0
    text = capsys.readouterr().out
    first, *others = text.split("Most used:\n")[1].split("\n\n")
    named = [line.split("=")[0].strip() for line in first.splitlines() if line.startswith("  --")]
    assert named[:2] == ["--data_dir", "--workdir"]
    assert len(named) == 10
    # Every flag stands once, under one of at least six headings.
    assert len(others) >= 6
    fields = [field for section in train.COMMAND.sections for field in flag_fields(section)]
    shown = [line.split("=")[0] for line in text.splitlines() if line.startswith("  --")]
    for field in fields:
        flag = f"  --[no]{field.name}" if isinstance(field.default, bool) else f"  --{field.name}"
        assert [line.split()[0] for line in shown].count(flag.strip()) == 1, field.name
    assert len(shown) == len(fields) + 3


@pytest.mark.parametrize("flag", ["--version", "--version=true"])
def test_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["imgcap-train", flag]) == 0
    assert capsys.readouterr().out == f"imgcap-train {__version__}\n"


def test_positional_arguments_where_none_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["imgcap-train", "photo.jpg"]) == 2
    assert "unexpected argument 'photo.jpg' (see imgcap-train --help)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag, why",
    [
        ("--cache_features=maybe", "Non-boolean argument to boolean flag"),
        ("--epochs=many", "invalid literal for int() with base 10: 'many'"),
    ],
)
def test_value_of_a_wrong_type(flag: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["imgcap-train", flag]) == 2
    line = f"imgcap-train: error: flag {flag}: {why} (see imgcap-train --help)\n"
    assert capsys.readouterr().err == line


def test_recipes_are_the_configs() -> None:
    assert recipe_names() == RECIPE_NAMES
    for name in RECIPE_NAMES:
        assert Path(find_flagfile(name)).read_bytes() == (ROOT / f"configs/{name}.cfg").read_bytes()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["t", "--flagfile=flickr8k"], ["t", f"--flagfile={RECIPES}/flickr8k.cfg"]),
        (["t", "-flagfile=flickr8k"], ["t", f"--flagfile={RECIPES}/flickr8k.cfg"]),
        (["t", "--flagfile", "demo", "-x"], ["t", "--flagfile", f"{RECIPES}/demo.cfg", "-x"]),
        (["t", "--", "--flagfile=demo"], ["t", "--", "--flagfile=demo"]),
        (["t", "--flagfile"], ["t", "--flagfile"]),
        (["t", "--cache_dir=demo"], ["t", "--cache_dir=demo"]),
    ],
)
def test_recipes_by_name(given: list[str], found: list[str]) -> None:
    assert find_flagfiles(given) == found


def test_a_file_wins_over_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A folder is no file: imgcap-demo leaves one of this name.
    (tmp_path / "demo").mkdir()
    (tmp_path / "flickr8k").write_text("--epochs=1\n")
    assert find_flagfile("flickr8k") == "flickr8k"
    assert find_flagfile("demo") == str(RECIPES / "demo.cfg")


def test_an_unknown_recipe_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--flagfile=flickr9k", f"--data_dir={tmp_path}", f"--workdir={tmp_path}/run"]
    assert train.main(["imgcap-train", *flags]) == 2
    assert capsys.readouterr().err == (
        "imgcap-train: error: --flagfile=flickr9k is neither a file nor a recipe: give a path or "
        f"one of {', '.join(RECIPE_NAMES)}\n"
    )


def test_a_recipe_sets_flags_and_the_command_line_wins() -> None:
    found = []
    sections = train.COMMAND._replace(run=lambda *given: found.append(given), tensorflow=False)
    words = ["t", "--flagfile=flickr8k", "--batch_size=7", "--data_dir=d", "--workdir=w"]
    assert command.main(sections, words) == 0
    model, training = found[0][:2]
    assert model.decoder == "inject_and_merge"
    assert (training.cached_views, training.batch_size) == (2, 7)


def test_options_of_a_runner_stand_after_the_flags() -> None:
    text = make_help(f"bake {command.RUNNER_OPTIONS}", "Bakes.", (), None, False)
    assert text.startswith("usage: bake [--flag=value ...] [-- RUNNER_OPTION...]\n")
