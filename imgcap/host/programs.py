"""The package's own console scripts, as one of them calls another: found, printed and run."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from imgcap.errors import ImgcapError


def find_program(name: str) -> str:
    """Finds a console script, beside the interpreter first: an environment may not be activated.

    Args:
        name: such as `imgcap-train`.

    Returns:
        Its path.

    Raises:
        ImgcapError: it is installed nowhere.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise ImgcapError(f"{name} is not installed: pip install 'imgcap-tf[train]'")
    return found


def call_command(name: str, *arguments: str) -> None:
    """Prints a command line as one would type it, and runs it.

    Args:
        name: the console script.
        *arguments: its flags and positional arguments.

    Raises:
        ImgcapError: it ended with another status than 0.
    """
    print(f"\n$ {name} {shlex.join(arguments)}", flush=True)
    status = subprocess.run([find_program(name), *arguments], check=False).returncode
    if status:
        raise ImgcapError(f"{name} ended with status {status}: see its message above")
