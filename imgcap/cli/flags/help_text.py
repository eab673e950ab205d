"""The text that `--help` prints: the flags that matter first, then all others by their headings."""

import dataclasses
import shutil
import textwrap
from typing import Any, NamedTuple

from imgcap.cli.flags.flagfile import recipe_names
from imgcap.config import flag_fields

COMMON = "Most used"
"""Heading of the settings that are marked as `common`; those without a default come first."""

REQUIRED = " (required)"
"""End of the explanation of a flag that must be given."""

# Columns: where the explanations begin, and the limits of the whole text.
_INDENT, _NARROWEST, _WIDEST = 30, 60, 100

# What stands behind a flag's name, by the type of its value.
_VALUES = {int: "=N", float: "=X", str: "=TEXT"}


class Option(NamedTuple):
    """One flag as it is shown.

    Attributes:
        flag: the flag with a stand-in for its value, such as `--epochs=N`.
        text: what it means, with legal values and default.
    """

    flag: str
    text: str


def make_help(
    usage: str, summary: str, sections: tuple[type, ...], overrides: type | None, recipes: bool
) -> str:
    """Writes the help of a command, as wide as the terminal but at most 100 columns.

    Args:
        usage: the command's name and what its positional arguments are called.
        summary: what the command does.
        sections: the config dataclasses whose fields are its flags.
        overrides: the one whose fields are flags without a default; None for none.
        recipes: whether the shipped recipes are flag files for this command.

    Returns:
        Lines without a line break at the end.
    """
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    # What comes after `--` is no flag of this command's, so it stands after them.
    before, dashes, after = usage.partition(" [-- ")
    usage = f"{before} [--flag=value ...]{dashes}{after}"
    lines = [f"usage: {usage}", "", *textwrap.wrap(summary, width)]
    for heading, options in _group(sections, overrides, recipes).items():
        lines += ["", f"{heading}:"]
        for option in options:
            lines += _layout(option, width)
    return "\n".join(lines)


def _group(
    sections: tuple[type, ...], overrides: type | None, recipes: bool
) -> dict[str, list[Option]]:
    """All options of a command under their headings, in the order of the text."""
    groups: dict[str, list[Option]] = {COMMON: []}
    for section in (*sections, *([overrides] if overrides else [])):
        heading = _title(section)
        for field in flag_fields(section):
            heading = field.metadata["heading"] or heading
            place = COMMON if field.metadata["common"] else heading
            groups.setdefault(place, []).append(_option(field, section is overrides))
    groups[COMMON].sort(key=lambda option: not option.text.endswith(REQUIRED))
    groups["In every command"] = _shared_options(recipes)
    return {heading: options for heading, options in groups.items() if options}


def _title(section: type) -> str:
    """The first sentence of a section's docstring, without its full stop."""
    first_line = (section.__doc__ or section.__name__).strip().splitlines()[0]
    return first_line.split(". ")[0].rstrip(".")


def _option(field: dataclasses.Field[Any], is_override: bool) -> Option:
    """A setting as it is shown."""
    limits, kind = field.metadata, type(field.default)
    flag = f"--[no]{field.name}" if kind is bool else f"--{field.name}{_VALUES[kind]}"
    legal = f" One of: {', '.join(limits['choices'])}." if limits["choices"] else ""
    if is_override:
        default = " (default: as the run was trained with)"
    elif limits["required"] and not field.default:
        default = REQUIRED
    elif kind is bool:
        default = f" (default: {'on' if field.default else 'off'})"
    else:
        default = f" (default: {field.default})" if field.default != "" else ""
    return Option(flag, f"{limits['help']}{legal}{default}")


def _shared_options(recipes: bool) -> list[Option]:
    """The flags that every command has."""
    names = f", or a shipped recipe: {', '.join(recipe_names())}" if recipes else ""
    return [
        Option("--flagfile=FILE", f"File with one flag a line (# begins a comment){names}."),
        Option("--help", "Show this text."),
        Option("--version", "Show the version."),
    ]


def _layout(option: Option, width: int) -> list[str]:
    """A flag and beside it, or under it if it is long, its explanation."""
    margin = " " * _INDENT
    lines = textwrap.wrap(
        option.text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
    flag = f"  {option.flag}"
    if len(flag) > _INDENT - 2:
        return [flag, *lines]
    return [flag.ljust(_INDENT) + lines[0].lstrip(), *lines[1:]]
