"""Flag files given by name: the recipes that come with the package."""

from collections.abc import Sequence
from pathlib import Path

from imgcap.errors import ConfigError

RECIPES = Path(__file__).parents[1] / "recipes"
"""Folder of the recipes. In a checkout it is a link to `configs/`, in a wheel it holds copies."""


def recipe_names() -> list[str]:
    """Lists the names that `--flagfile` accepts beside paths, in alphabetical order."""
    return sorted(path.stem for path in RECIPES.glob("*.cfg"))


def find_flagfile(given: str) -> str:
    """Finds the file that a value of `--flagfile` means.

    Args:
        given: a path, or the name of a recipe; a file of that path wins over a recipe.

    Returns:
        The path of the file.

    Raises:
        ConfigError: there is neither a file nor a recipe of that name.
    """
    path = Path(given).expanduser()
    if path.is_file():
        return str(path)
    if given in recipe_names():
        return str(RECIPES / f"{given}.cfg")
    raise ConfigError(
        f"--flagfile={given} is neither a file nor a recipe: give a path or one of "
        f"{', '.join(recipe_names())}"
    )


def find_flagfiles(argv: Sequence[str]) -> list[str]:
    """Replaces the recipes' names in a command line by paths.

    Args:
        argv: the command line, with `--flagfile=NAME` or `--flagfile NAME` anywhere before `--`.

    Returns:
        The command line with paths in place of names.

    Raises:
        ConfigError: a value of `--flagfile` is neither a file nor a recipe.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    found = list(argv)
    for place, word in enumerate(argv[:end]):
        flag, equals, value = word.partition("=")
        if flag in ("--flagfile", "-flagfile") and equals:
            found[place] = f"--flagfile={find_flagfile(value)}"
        elif flag in ("--flagfile", "-flagfile") and place + 1 < end:
            found[place + 1] = find_flagfile(argv[place + 1])
    return found
