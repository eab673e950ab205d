"""From a config section to absl flags, and from a command line to one call: the only place that
reads flags.
"""

import dataclasses
import errno
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags

from imgcap.config import flag_fields
from imgcap.errors import ConfigError, ImgcapError
from imgcap.host import quiet

# What a shell shows of a program that SIGPIPE ended.
PIPE_STATUS = 141

# What a full disk, a quota, `ulimit -f` and a failing disk give any write.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Command(NamedTuple):
    """One console command.

    Attributes:
        name: as typed, such as `imgcap-train`.
        summary: a line or two for `--help`.
        sections: the config dataclasses whose fields are its flags.
        run: called with one validated instance a section, then the overrides (if any), then the
            positional arguments; may return an exit status (None is 0).
        overrides: a config dataclass whose fields are flags without a default, since a run
            directory has the values; `run` gets those that were given, as a dict.
        positional: what positional arguments are called in the usage line; empty where there are
            none.
        tensorflow: whether it needs TensorFlow, which is then imported after the flags are found
            good.
    """

    name: str
    summary: str
    sections: tuple[type, ...]
    run: Callable[..., int | None]
    positional: str = ""
    tensorflow: bool = False
    overrides: type | None = None


def main(command: Command, argv: Sequence[str] | None = None) -> int:
    """Parses, validates, runs; every error a user can cause becomes one line.

    Args:
        command: what to run.
        argv: the command line with the program's name first; `sys.argv` by default.

    Returns:
        The exit status: 0, 1 for a failure, 2 for wrong usage, 130 when interrupted, 141 when
        nobody reads the output any more.
    """
    # Warnings and notes of TensorFlow's C++ side are for its developers; errors still come through.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        status = _run(command, list(sys.argv if argv is None else argv))
        sys.stdout.flush()
        return status
    except ImgcapError as error:
        print(f"{command.name}: error: {_one_line(error)}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has enough.
        _drop_output()
        return PIPE_STATUS
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"{command.name}: error: {where}can't write ({error.strerror}); free space, then run "
            "again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"{command.name}: interrupted", file=sys.stderr)
        return 130


def _drop_output() -> None:
    """Has what is still buffered for an output that takes no more go nowhere, so that the flush at
    exit can't fail.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(command: Command, argv: list[str]) -> int:
    values, arguments = _parse(command, argv)
    if values["help"].value:
        print(_help_text(command, values))
        return 0
    sections = _read_sections(command, values)
    if command.tensorflow:
        quiet.import_tensorflow()
    return command.run(*sections, arguments) or 0


def _parse(command: Command, argv: list[str]) -> tuple[flags.FlagValues, list[str]]:
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Show this text.", flag_values=values, short_name="h")
    flags.DEFINE_multi_string("flagfile", [], "File with one flag a line.", flag_values=values)
    for section in command.sections:
        for field in flag_fields(section):
            _define(field, field.default, values)
    for field in flag_fields(command.overrides) if command.overrides else ():
        _define(field, None, values)
    try:
        arguments = values(argv)[1:]
    except flags.Error as error:
        raise ConfigError(f"{error} (see {command.name} --help)") from None
    if arguments and not command.positional:
        raise ConfigError(f"unexpected argument {arguments[0]!r} (see {command.name} --help)")
    return values, arguments


def _define(field: dataclasses.Field, default: Any, values: flags.FlagValues) -> None:
    help_text, choices = field.metadata["help"], field.metadata["choices"]
    if choices:
        flags.DEFINE_enum(field.name, default, list(choices), help_text, flag_values=values)
        return
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }[type(field.default)]
    define(field.name, default, help_text, flag_values=values)


def _read_sections(command: Command, values: flags.FlagValues) -> list[Any]:
    sections = []
    for section in command.sections:
        given = {field.name: values[field.name].value for field in flag_fields(section)}
        sections.append(section(**given))
        sections[-1].validate()
    if command.overrides:
        names = [field.name for field in flag_fields(command.overrides)]
        sections.append(
            {name: values[name].value for name in names if values[name].value is not None}
        )
        command.overrides(**sections[-1])  # Refuses values out of range before any work.
    return sections


def _help_text(command: Command, values: flags.FlagValues) -> str:
    positional = f" {command.positional}" if command.positional else ""
    lines = [
        f"usage: {command.name}{positional} [--flag=value ...]",
        "",
        textwrap.fill(command.summary, 96),
        "",
    ]
    for section in command.sections:
        lines += [
            line
            for field in flag_fields(section)
            for line in _help_lines(field, f"default: {field.default}")
        ]
    for field in flag_fields(command.overrides) if command.overrides else ():
        lines += _help_lines(field, "default: as the run was trained with")
    return "\n".join(
        [*lines, "  --flagfile=FILE", "      File with one flag a line; # begins a comment."]
    )


def _help_lines(field: dataclasses.Field, default: str) -> list[str]:
    limits = field.metadata
    legal = f" One of: {', '.join(limits['choices'])}." if limits["choices"] else ""
    shown = "required" if limits["required"] and not field.default else default
    kind = {bool: "", int: "=N", float: "=X", str: "=TEXT"}[type(field.default)]
    text = textwrap.wrap(
        f"{limits['help']}{legal} ({shown})", 96, initial_indent=" " * 6, subsequent_indent=" " * 6
    )
    return [f"  --{'[no]' if kind == '' else ''}{field.name}{kind}", *text]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
