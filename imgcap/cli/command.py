"""A console command: makes flags from config sections and one call from a command line.

No other module reads flags.
"""

import dataclasses
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags

from imgcap import __version__
from imgcap.cli.flags.flagfile import find_flagfiles
from imgcap.cli.flags.help_text import make_help
from imgcap.config import flag_fields
from imgcap.errors import ConfigError, ImgcapError
from imgcap.files import failures
from imgcap.files.locations import is_remote
from imgcap.files.names import ESCAPED, find_path
from imgcap.host import proxies, quiet

RUNNER_OPTIONS = "[-- RUNNER_OPTION...]"
"""The positional arguments of a command that a runner of Apache Beam can do."""

PIPE_STATUS = 141
"""What a shell shows of a program that SIGPIPE ended."""

# How a flag is made, by the type of its setting's default.
_DEFINE: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


class Command(NamedTuple):
    """One console command.

    Attributes:
        name: as typed, such as `imgcap-train`.
        summary: a line or two for `--help`.
        sections: the config dataclasses whose fields are its flags.
        run: called with one validated instance a section, then the overrides (if any), then the
            positional arguments; may return an exit status (None is 0).
        positional: what positional arguments are called in the usage line; empty if there are
            none.
        tensorflow: whether it needs TensorFlow, which is then imported after the flags are found
            good.
        overrides: a config dataclass whose fields are flags without a default, since a run
            directory has the values; `run` gets those that were given, as a dict.
        recipes: whether `--flagfile` also accepts the name of a shipped recipe.
    """

    name: str
    summary: str
    sections: tuple[type, ...]
    run: Callable[..., int | None]
    positional: str = ""
    tensorflow: bool = False
    overrides: type | None = None
    recipes: bool = False


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
    _let_any_name_be_printed()
    try:
        status = _run(command, list(sys.argv if argv is None else argv))
        sys.stdout.flush()
        return status
    except ImgcapError as error:
        print(f"{command.name}: error: {_one_line(error)}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read the output, such as `head`, needs no more of it.
        _drop_output()
        return PIPE_STATUS
    except OSError as error:
        if error.errno in failures.NO_ROOM:
            _drop_output()
        elif error.filename is None:
            raise
        print(f"{command.name}: error: {failures.describe(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{command.name}: interrupted", file=sys.stderr)
        return 130


def _let_any_name_be_printed() -> None:
    """Lets the output hold names that are no text, or that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def _drop_output() -> None:
    """Sends what is still buffered to nowhere, so that the flush at exit cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(command: Command, argv: list[str]) -> int:
    """Parses, answers `--help` and `--version`, else validates and runs; returns the status."""
    values, arguments = _parse(command, argv)
    if values["help"].value:
        usage = f"{command.name} {command.positional}".rstrip()
        print(
            make_help(usage, command.summary, command.sections, command.overrides, command.recipes)
        )
        return 0
    if values["version"].value:
        print(f"{command.name} {__version__}")
        return 0
    if arguments and not command.positional:
        raise ConfigError(f"unexpected argument {arguments[0]!r} (see {command.name} --help)")
    sections = _read_sections(command, values)
    if command.tensorflow:
        proxies.keep_local_calls_direct()
        quiet.import_tensorflow()
    return command.run(*sections, list(map(find_path, arguments))) or 0


def _parse(command: Command, argv: list[str]) -> tuple[flags.FlagValues, list[str]]:
    """Reads a command line.

    Args:
        command: whose flags are defined.
        argv: the command line with the program's name first.

    Returns:
        The flags, and the positional arguments.

    Raises:
        ConfigError: an unknown flag, or a value of the wrong type.
    """
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Show this text.", flag_values=values, short_name="h")
    flags.DEFINE_bool("version", False, "Show the version.", flag_values=values)
    flags.DEFINE_multi_string("flagfile", [], "File with one flag a line.", flag_values=values)
    for section in command.sections:
        for field in flag_fields(section):
            _define(field, field.default, values)
    for field in flag_fields(command.overrides) if command.overrides else ():
        _define(field, None, values)
    try:
        return values, values(find_flagfiles(argv) if command.recipes else argv)[1:]
    except flags.Error as error:
        text, cause = str(error), error.__context__
        if cause is not None and len(cause.args) > 1:
            # absl's reader of booleans gives text and value, which print as Python's tuple.
            text = text.replace(str(cause), str(cause.args[0]))
        raise ConfigError(f"{text} (see {command.name} --help)") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"a --flagfile is no UTF-8 text ({error.reason}): convert it") from None


def _define(field: dataclasses.Field[Any], default: Any, values: flags.FlagValues) -> None:
    """Makes a flag from a setting.

    Args:
        field: the setting; its type is that of its own default.
        default: value when the flag is not given; None for an override.
        values: where the flag is added.
    """
    help_text, choices = field.metadata["help"], field.metadata["choices"]
    if choices:
        flags.DEFINE_enum(field.name, default, list(choices), help_text, flag_values=values)
        return
    _DEFINE[type(field.default)](field.name, default, help_text, flag_values=values)


def _read_sections(command: Command, values: flags.FlagValues) -> list[Any]:
    """One validated instance a section, then the overrides that were given, as a dict.

    Raises:
        ConfigError: a value out of its range, or settings that do not go together.
    """
    sections = []
    for section in command.sections:
        given = {field.name: _read_value(field, values) for field in flag_fields(section)}
        sections.append(section(**given))
        sections[-1].validate()
    if command.overrides:
        names = [field.name for field in flag_fields(command.overrides)]
        sections.append(
            {name: values[name].value for name in names if values[name].value is not None}
        )
        command.overrides(**sections[-1])  # Refuses values out of range before any work.
    return sections


def _read_value(field: dataclasses.Field[Any], values: flags.FlagValues) -> Any:
    """The value of a flag; the path that it means, if it may be one.

    Raises:
        ConfigError: a path that no file system takes, or an address if there must be a path.
    """
    value: Any = values[field.name].value
    if not field.metadata["path"]:
        return value
    if "\0" in value:
        raise ConfigError(f"--{field.name}={value!r} holds a zero byte, which no path may have")
    if not field.metadata["several"]:
        return _find_location(field, value)
    return ",".join(_find_location(field, one) for one in value.split(","))


def _find_location(field: dataclasses.Field[Any], given: str) -> str:
    """The path that a text means, or the address that it is; ConfigError if it may be none."""
    if is_remote(given):
        if not field.metadata["remote"]:
            raise ConfigError(
                f"--{field.name}={given} is an address: give a file or folder of this machine"
            )
        return given
    # A shell leaves `~` alone after `=`, and in a flag file.
    return find_path(os.path.expanduser(given))


def _one_line(error: Exception) -> str:
    """An error's text without line breaks."""
    return " ".join(str(error).split())
