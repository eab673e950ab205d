"""Captioners that come with the package, which commands take by name: `pretrained:flickr8k`.

Each is a packed run directory, `imgcap/pretrained/<name>/`, which is only read: an installed
package may not be writable, and its files are not the user's.
"""

import shutil
from importlib import resources
from pathlib import Path

from imgcap.errors import ConfigError, RunError
from imgcap.files.locations import is_remote
from imgcap.run.config_file import CONFIG_NAME
from imgcap.run.directory import DECODE
from imgcap.run.identity import RUN

PREFIX = "pretrained:"
DEFAULT = f"{PREFIX}flickr8k"
"""The captioner that commands take if no run is named."""


def pretrained_folder() -> Path:
    """The folder of the captioners inside the installed package; may be absent."""
    return Path(str(resources.files("imgcap"))) / "pretrained"


def pretrained_names() -> list[str]:
    """The captioners that there are, such as `pretrained:flickr8k`."""
    return sorted(PREFIX + path.parent.name for path in pretrained_folder().glob(f"*/{RUN}"))


def is_pretrained(name: str) -> bool:
    """Whether a text names a captioner of the package and not a folder."""
    return name.startswith(PREFIX)


def resolve_run(name: str) -> Path:
    """Finds the run directory that a text names.

    Args:
        name: a path, or `pretrained:` and the name of a captioner of the package.

    Returns:
        The run directory; a path comes back as it is, whether there is such a folder or not.

    Raises:
        RunError: the package has no captioner of that name, or the text is an address.
    """
    if is_remote(name):
        raise RunError(f"{name} is an address: copy the run to a folder of this machine")
    if not is_pretrained(name):
        return Path(name)
    names = pretrained_names()
    if name not in names:
        there = f"there are {', '.join(names)}" if names else "this installation comes with none"
        raise RunError(f"no captioner is called {name}: {there}")
    return pretrained_folder() / name.removeprefix(PREFIX)


def results_folder(name: str) -> Path:
    """The folder in which an evaluation of a run leaves its files: the run directory itself.

    Those of a captioner of the package are in a folder of the current directory, such as
    `pretrained-flickr8k`. It is made, with the settings of the captioner, by which evaluations are
    named.

    Args:
        name: a path, or the name of a captioner of the package.

    Raises:
        RunError: the package has no captioner of that name.
    """
    run = resolve_run(name)
    if not is_pretrained(name):
        return run
    folder = Path(f"pretrained-{run.name}")
    folder.mkdir(exist_ok=True)
    for settings in (CONFIG_NAME, DECODE):
        if (run / settings).exists():
            shutil.copyfile(run / settings, folder / settings)
    return folder


def refuse_pretrained(name: str, flag: str) -> None:
    """Raises ConfigError if a flag that needs a writable run directory names one of the package.

    Args:
        name: the run that was given.
        flag: what would write into it, such as `--workdir`.
    """
    if is_pretrained(name):
        raise ConfigError(
            f"{flag} would change {name}, which is a part of the package: copy its folder and give "
            f"the copy (cp -r {pretrained_folder() / name.removeprefix(PREFIX)} COPY)"
        )
