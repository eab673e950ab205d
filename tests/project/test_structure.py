"""The layout: how full folders are, what is imported where, and how long and described things are.

Who may import whom is held by import-linter's contracts in `pyproject.toml`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.structure import count_entries, find_modules, imported_names, measure, parse

MODULES = find_modules()

# The project's own modules and those of its tests.
SOURCES = {
    **MODULES,
    **{
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted((ROOT / "tests").rglob("*.py"))
    },
}


def test_measures_of_the_layout() -> None:
    found = measure()
    assert len(found.loose_modules) <= 6
    assert found.circles == []
    assert len(found.arrows) <= 90


@pytest.mark.parametrize("folder", sorted(count_entries()))
def test_folders_can_be_overseen(folder: str) -> None:
    assert count_entries()[folder] <= 12


def aliases(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each imported name with what it is renamed to."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.asname) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: line {node.lineno} imports relative to its own place"
            yield from ((f"{node.module}.{alias.name}", alias.asname) for alias in node.names)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_module_is_renamed_by_an_import(name: str) -> None:
    for imported, renamed in aliases(SOURCES[name]):
        assert renamed is None or imported not in SOURCES, f"{imported} as {renamed}"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_nothing_is_imported_from_a_test(name: str) -> None:
    for imported in imported_names(SOURCES[name]):
        assert not any(part.startswith("test_") for part in imported.split(".")[:-1]), imported


def test_few_lines_escape_the_formatter() -> None:
    marked = [
        name
        for name, path in SOURCES.items()
        if name != __name__
        for line in path.read_text(encoding="utf-8").splitlines()
        if "# fmt: " in line
    ]
    assert len(marked) < 6, marked


def test_the_page_is_started_by_a_doorbell() -> None:
    own = [used for used in imported_names(ROOT / "app.py") if used.split(".")[0] in MODULES]
    assert own and all(used.startswith("serving.page.") for used in own)
    assert len((ROOT / "app.py").read_text(encoding="utf-8").splitlines()) < 20


@pytest.mark.parametrize(
    ("package", "stranger"),
    [("imgcap", "export"), ("imgcap", "serving"), ("export", "serving"), ("serving", "export")],
)
def test_packages_keep_apart(package: str, stranger: str) -> None:
    for name, path in MODULES.items():
        if name.split(".")[0] == package:
            assert not [used for used in imported_names(path) if used.split(".")[0] == stranger], (
                name
            )


def test_flags_are_read_in_one_place() -> None:
    readers = [
        name
        for name, path in MODULES.items()
        if any(used.startswith("absl") for used in imported_names(path))
    ]
    assert readers == ["imgcap.cli.command"]


@pytest.mark.parametrize(
    "module",
    [
        "imgcap",
        "imgcap.signature",
        "imgcap.config",
        "imgcap.cli.command",
        "imgcap.cli.train",
        "imgcap.data.prepare.preparation",
        "imgcap.evaluation.scores",
        "serving.client",
        "serving.client.awaitable",
        "serving.cli.caption",
        "serving.cli.batch.run",
        "serving.cli.benchmark",
    ],
)
def test_no_tensorflow_where_none_is_needed(module: str) -> None:
    script = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(MODULES))
def test_functions_are_read_in_one_sitting(name: str) -> None:
    for node in ast.walk(parse(MODULES[name])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, (
                f"{node.name} is {node.end_lineno - node.lineno + 1} lines long"
            )


# Classes of these bases inherit no methods that would describe theirs.
PLAIN_BASES = {"NamedTuple", "Section", "Protocol"}


def public_things(
    tree: ast.Module,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions, classes and methods that are not private and override nothing."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
        if (
            isinstance(node, ast.ClassDef)
            and {ast.unparse(base) for base in node.bases} <= PLAIN_BASES
        ):
            yield from (
                part
                for part in node.body
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            )


@pytest.mark.parametrize("name", sorted(MODULES))
def test_public_things_are_described(name: str) -> None:
    if name.endswith("_pb2"):
        pytest.skip("made by protoc")
    for node in public_things(parse(MODULES[name])):
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
