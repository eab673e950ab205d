"""One setting of a command (default, help text, legal values), and sections of settings."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from imgcap.errors import ConfigError


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    required: bool = False,
    path: bool = False,
    remote: bool = False,
    several: bool = False,
    flag: bool = True,
    common: bool = False,
    heading: str = "",
) -> Any:
    """Makes one field of a section: its default, its help text and its legal values.

    Args:
        default: value when no flag is given; its type is the flag's type (str, int, float or bool).
        help: one sentence for `--help`, with the unit.
        choices: the legal values of a string, if they are a fixed list.
        minimum: the least legal number.
        maximum: the greatest legal number.
        required: whether an empty string is refused.
        path: whether a string may name a file or a folder; the command line finds it then.
        remote: whether such a path may be an address too, such as `gs://bucket/photos`; it is taken
            as it stands. Other paths must be of this machine.
        several: whether there may be several such paths, separated by commas.
        flag: whether a flag is made from it; the others are set by programs alone.
        common: whether `--help` lists it first, among the settings that most calls give.
        heading: title under which `--help` lists it and the fields after it; empty goes on under
            the one before, or under the section's first line.

    Returns:
        A dataclass field.
    """
    limits = {"choices": choices, "minimum": minimum, "maximum": maximum, "required": required}
    shown = {"help": help, "flag": flag, "common": common, "heading": heading}
    places = {"path": path, "remote": remote, "several": several}
    return dataclasses.field(default=default, metadata={**shown, **limits, **places})


def flag_fields(section: type) -> list[dataclasses.Field]:
    """The fields of a section that are flags."""
    return [field for field in dataclasses.fields(section) if field.metadata["flag"]]


def _validate_value(name: str, value: Any, limits: Any) -> None:
    """Raises ConfigError if a value is outside the limits of its field."""
    if limits["required"] and not value:
        raise ConfigError(f"--{name} is missing: {limits['help']}")
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(f"--{name}={value} is not one of {', '.join(limits['choices'])}")
    if limits["minimum"] is not None and not value >= limits["minimum"]:
        raise ConfigError(f"--{name}={value} is below the least value, {limits['minimum']}")
    if limits["maximum"] is not None and not value <= limits["maximum"]:
        raise ConfigError(f"--{name}={value} is above the greatest value, {limits['maximum']}")


@dataclass(frozen=True)
class Section:
    """Settings that belong together; a subclass is a frozen dataclass of `setting` fields."""

    def validate(self) -> None:
        """Checks every value against its declared range, and then the combinations.

        Raises:
            ConfigError: names the flag, its value and the legal values.
        """
        for field in dataclasses.fields(self):
            _validate_value(field.name, getattr(self, field.name), field.metadata)
        self.validate_combinations()

    def validate_combinations(self) -> None:
        """Checks values against each other; a section that has such rules overrides it.

        Raises:
            ConfigError: names the flags, their values and the remedy.
        """
