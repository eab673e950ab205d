"""The documents are true: every command and file they name exists, every flag is one of that
command's.
"""

import configparser
import importlib
import re
from pathlib import Path

import pytest

from imgcap.config import flag_fields
from tests.support.paths import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "BUILD_NOTES.md", *sorted((ROOT / "configs").glob("*.cfg"))]


def commands() -> dict[str, object]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    pairs = (line.split(" = ") for line in lines)
    return {name: importlib.import_module(target.split(":")[0]).COMMAND for name, target in pairs}


def flags_of(command) -> set[str]:
    sections = [*command.sections, *([command.overrides] if command.overrides else [])]
    return {field.name for section in sections for field in flag_fields(section)} | {
        "flagfile",
        "help",
    }


def used(text: str) -> list[tuple[str, str]]:
    """(command, flag) pairs of every command line in a text; a backslash continues a line."""
    joined = re.sub(r"\\\n#?\s*", " ", text)
    return [
        (
            line.group(1),
            flag.removeprefix("no") if flag.startswith("no") and len(flag) > 2 else flag,
        )
        for line in re.finditer(r"(imgcap-[a-z-]+[a-z])([^`\n]*)", joined)
        for flag in re.findall(r"--([a-z_0-9]+)", line.group(2))
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_flags_exist(document: Path) -> None:
    known = {name: flags_of(command) for name, command in commands().items()}
    for name, flag in used(document.read_text(encoding="utf-8")):
        assert name in known, f"{document.name} names {name}"
        assert flag in known[name] or f"no{flag}" in known[name], (
            f"{document.name}: {name} has no --{flag}"
        )


@pytest.mark.parametrize(
    "config", sorted((ROOT / "configs").glob("*.cfg")), ids=lambda path: path.name
)
def test_configs_state_only_what_differs(config: Path) -> None:
    train = commands()["imgcap-train"]
    defaults = {
        field.name: field.default for section in train.sections for field in flag_fields(section)
    }
    for line in config.read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            name, value = (name[2:], "False") if name not in defaults else (name, value or "True")
            assert name in defaults, f"{config.name}: {line}"
            # The encoder is named even where it is the default: it is what a recipe is about.
            assert name == "encoder" or str(defaults[name]) != value, (
                f"{config.name}: {line} is the default"
            )
    assert config.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("document", DOCUMENTS[:2], ids=lambda path: path.name)
def test_links_and_pictures_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{document.name} links {target}"


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_explains_every_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from imgcap.cli import command as commanding

    command = commands()[name]
    assert commanding.main(command, [name, "--help"]) == 0
    text = capsys.readouterr().out
    for section in [*command.sections, *([command.overrides] if command.overrides else [])]:
        for field in flag_fields(section):
            assert f"{field.name}" in text
            assert len(field.metadata["help"]) > 10, field.name


def test_makefile_targets_in_the_readme() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= targets
