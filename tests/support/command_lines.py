"""The console commands as `setup.cfg` lists them, and command lines found in texts."""

import configparser
import importlib
import re
from functools import cache

from imgcap.cli.command import Command
from imgcap.config import flag_fields
from tests.support.paths import ROOT


@cache
def load_commands() -> dict[str, Command]:
    """Imports the `COMMAND` of each console script; those that need no TensorFlow load none.

    Returns:
        The commands by the names under which they are typed. Scripts that are no `Command`, such
        as the one that starts the page, are left out.
    """
    found = {}
    for name, target in console_scripts().items():
        command = getattr(importlib.import_module(target.partition(":")[0]), "COMMAND", None)
        if command is not None:
            found[name] = command
    return found


def console_scripts() -> dict[str, str]:
    """Lists the console scripts: `module:function` by name."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    pairs = (line.split("=") for line in lines)
    return {name.strip(): target.strip() for name, target in pairs}


def flags_of(command: Command) -> set[str]:
    """Lists the names of all flags that a command knows, without dashes."""
    sections = [*command.sections, *([command.overrides] if command.overrides else [])]
    return {field.name for section in sections for field in flag_fields(section)} | {
        "flagfile",
        "help",
        "version",
    }


def used_flags(text: str) -> list[tuple[str, str]]:
    """Finds the command lines in a text; a backslash continues a line.

    Args:
        text: Markdown, YAML, comments, or anything with lines such as `imgcap-train --epochs=2`.
            What comes after ` -- ` is for others.

    Returns:
        (command, flag) of each flag, flags without dashes and without a leading "no".
    """
    joined = re.sub(r"\\\n#?\s*", " ", text)
    return [
        (
            line.group(1),
            flag.removeprefix("no") if flag.startswith("no") and len(flag) > 2 else flag,
        )
        for line in re.finditer(r"(imgcap-[a-z-]+[a-z])([^`\n]*)", joined)
        for flag in re.findall(r"--([a-z_0-9]+)", line.group(2).partition(" -- ")[0])
    ]
