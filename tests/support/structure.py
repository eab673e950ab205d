"""Measures of the layout: how many modules lie loose, how full folders are, how rooms depend.

    python -m tests.support.structure [--root=DIR]

The terms:
    * A module is a `.py` file of `imgcap/`, `export/` or `serving/`, or `app.py`.
    * A room is a direct child of `imgcap/` (a package, or a loose module), `export`, `serving` or
      `app`. A package's own face, `imgcap/__init__.py`, is none.
    * An arrow leads from one room to another of which at least one module is imported, wherever
      the import statement stands (functions that import late count as well). Several imports
      between two rooms are one arrow.
    * A circle is a largest set of two or more modules that all reach each other by imports.
    * Entries of a folder are its files and folders without `__init__.py`, `py.typed` and
      `__pycache__`.
"""

import argparse
import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

PACKAGES = ("imgcap", "export", "serving")
NOT_COUNTED = {"__init__.py", "py.typed", "__pycache__"}


class Measures(NamedTuple):
    """What the layout measures.

    Attributes:
        loose_modules: modules directly in `imgcap/`.
        fullest_folder: the folder with the most entries, relative to the root.
        most_entries: how many entries it has.
        circles: the import circles, each a sorted list of module names.
        arrows: pairs (importing room, imported room).
    """

    loose_modules: list[str]
    fullest_folder: str
    most_entries: int
    circles: list[list[str]]
    arrows: list[tuple[str, str]]


def find_modules(root: Path = ROOT) -> dict[str, Path]:
    """Lists the project's modules.

    Args:
        root: folder of a checkout.

    Returns:
        The file of each module by its dotted name; a package goes by its own name.
    """
    found = {"app": root / "app.py"} if (root / "app.py").is_file() else {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def parse(path: Path) -> ast.Module:
    """Reads a Python file, once however often it is asked for."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> set[str]:
    """Lists what a file imports, wherever in it.

    Args:
        path: a Python file whose imports are absolute.

    Returns:
        Dotted names: of modules for `import a.b`, and `a.b.name` for `from a.b import name`.
    """
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def import_graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Finds which modules of the project each of them imports.

    Args:
        modules: as `find_modules` returns them.

    Returns:
        For each module the others that it names; a package's face only if nothing deeper is meant.
    """
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = {_deepest_module(imported, modules) for imported in imported_names(path)}
        graph[name] = {target for target in targets if target and target != name}
    return graph


def _deepest_module(name: str, modules: dict[str, Path]) -> str | None:
    """The longest beginning of a dotted name that is a module: `a.b` for `a.b.function`."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def find_circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Finds the sets of modules that all reach each other, none being part of a larger one."""
    reached = {name: _reachable(name, graph) for name in graph}
    circles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(circles)]


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules to which a path of one or more imports leads."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def room_of(module: str) -> str | None:
    """The room that a module belongs to, or None for the face of `imgcap` itself."""
    parts = module.split(".")
    if parts[0] != "imgcap":
        return parts[0]
    return ".".join(parts[:2]) if len(parts) > 1 else None


def find_arrows(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Lists the pairs (importing room, imported room) of two different rooms."""
    pairs = {
        (room_of(name), room_of(target)) for name, targets in graph.items() for target in targets
    }
    return sorted((a, b) for a, b in pairs if a and b and a != b)


def count_entries(root: Path = ROOT) -> dict[str, int]:
    """Counts the entries of every folder of the packages and the tests.

    Args:
        root: folder of a checkout.

    Returns:
        The number of entries by the folder's path, relative to `root`.
    """
    return {
        str(folder.relative_to(root)): sum(
            entry.name not in NOT_COUNTED for entry in folder.iterdir()
        )
        for name in (*PACKAGES, "tests")
        for folder in _folders(root / name)
    }


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all folders in it that are not made by Python."""
    yield folder
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and entry.name not in NOT_COUNTED:
            yield from _folders(entry)


def measure(root: Path = ROOT) -> Measures:
    """Takes all measures of a checkout.

    Args:
        root: its folder.

    Returns:
        The measures.
    """
    graph = import_graph(find_modules(root))
    loose = sorted(path.name for path in (root / "imgcap").glob("*.py"))
    entries = count_entries(root)
    fullest = max(entries, key=lambda folder: entries[folder])
    return Measures(
        loose_modules=[name for name in loose if name not in NOT_COUNTED],
        fullest_folder=fullest,
        most_entries=entries[fullest],
        circles=find_circles(graph),
        arrows=find_arrows(graph),
    )


def main() -> None:
    """Prints the measures of a checkout."""
    parser = argparse.ArgumentParser(description="Measures of the layout.")
    parser.add_argument("--root", type=Path, default=ROOT, help="Folder of a checkout.")
    found = measure(parser.parse_args().root)
    print(f"loose modules in imgcap/: {len(found.loose_modules)}")
    print(f"most entries of a folder: {found.most_entries} ({found.fullest_folder}/)")
    print(f"import circles: {len(found.circles)}")
    for circle in found.circles:
        print(f"  {', '.join(circle)}")
    print(f"arrows between rooms: {len(found.arrows)}")


if __name__ == "__main__":
    main()
