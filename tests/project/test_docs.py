"""The documents are true: every command and file they name exists, every flag is one of that
command's.
"""

import re
from pathlib import Path

import pytest

from imgcap.cli import command
from imgcap.config import flag_fields
from tests.support.command_lines import console_scripts, flags_of, load_commands, used_flags
from tests.support.paths import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "serving" / "README.md",
]
CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))

# Kubernetes objects that are called like commands.
OBJECTS = {"imgcap-serving", "imgcap-models"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_each_console_script_is_a_command_of_its_name() -> None:
    assert {name: one.name for name, one in load_commands().items()} == {
        name: name for name in console_scripts()
    }


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=relative)
def test_commands_and_flags_exist(document: Path) -> None:
    known = {name: flags_of(one) for name, one in load_commands().items()}
    for name, flag in used_flags(document.read_text(encoding="utf-8")):
        if name in OBJECTS:
            continue
        assert name in known, f"{document.name} names {name}"
        assert flag in known[name] or f"no{flag}" in known[name], (
            f"{document.name}: {name} has no --{flag}"
        )


@pytest.mark.parametrize("config", CONFIGS, ids=relative)
def test_configs_state_only_what_differs(config: Path) -> None:
    train = load_commands()["imgcap-train"]
    defaults = {
        field.name: field.default for section in train.sections for field in flag_fields(section)
    }
    for line in config.read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            name, value = (name[2:], "False") if name not in defaults else (name, value or "True")
            assert name in defaults, f"{config.name}: {line}"
            # The encoder is named even if it is the default: it is what a recipe is about.
            assert name == "encoder" or str(defaults[name]) != value, (
                f"{config.name}: {line} is the default"
            )
    assert config.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("config", CONFIGS, ids=relative)
def test_scores_of_configs_stand_among_the_measurements(config: Path) -> None:
    measurements = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    header = " ".join(config.read_text(encoding="utf-8").split("\n--")[0].split("\n# "))
    named = re.findall(r'docs/measurements\.md, "([^"]+)"', header)
    assert len(named) == 1
    assert f"\n## {named[0]}\n" in measurements


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_and_pictures_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links {target}"


def explanations(text: str) -> dict[str, str]:
    """What a help text says of each flag, by the flag as it is typed, without a value."""
    parts = re.split(r"^  (--\S+)", text, flags=re.MULTILINE)[1:]
    return {
        flag.partition("=")[0]: " ".join(part.split("\n\n")[0].split())
        for flag, part in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("name", sorted(console_scripts()))
def test_help_explains_every_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = load_commands()[name]
    assert command.main(asked, [name, "--help"]) == 0
    shown = explanations(capsys.readouterr().out)
    for section in [*asked.sections, *([asked.overrides] if asked.overrides else [])]:
        for field in flag_fields(section):
            flag = f"--[no]{field.name}" if isinstance(field.default, bool) else f"--{field.name}"
            assert shown.pop(flag).startswith(" ".join(field.metadata["help"].split())), flag
            assert len(field.metadata["help"]) > 10, field.name
    assert set(shown) == {"--flagfile", "--help", "--version"}


def test_makefile_targets_in_the_readme() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= targets
