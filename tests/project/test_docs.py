"""The documents are true: every command and file they name exists, every flag is one of that
command's, and every page has its place in the site.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imgcap.cli import command
from imgcap.config import flag_fields
from imgcap.signature import TENSORS, make_signatures
from tests.support.command_lines import console_scripts, flags_of, load_commands, used_flags
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in DOCS.rglob("*")
    if path.suffix in (".md", ".ipynb") and not path.relative_to(DOCS).parts[0].startswith("_")
)
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES, ROOT / "serving" / "README.md"]
CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))
RECIPES = (DOCS / "train" / "recipes.md").read_text(encoding="utf-8")

# Kubernetes objects that are called like commands.
OBJECTS = {"imgcap-serving", "imgcap-models", "imgcap-dashboard"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    """The text of a document; of a notebook its texts as they are and its code in fences."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(
        source if kind == "markdown" else f"```ipython\n{source}\n```" for kind, source in cells
    )


def test_each_console_script_is_a_command_of_its_name() -> None:
    assert {name: one.name for name, one in load_commands().items()} == {
        name: name for name in console_scripts()
    }


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=relative)
def test_commands_and_flags_exist(document: Path) -> None:
    known = {name: flags_of(one) for name, one in load_commands().items()}
    for name, flag in used_flags(read(document)):
        if name in OBJECTS:
            continue
        assert name in known, f"{document.name} names {name}"
        assert flag in known[name] or f"no{flag}" in known[name], (
            f"{document.name}: {name} has no --{flag}"
        )


@pytest.mark.parametrize("config", CONFIGS, ids=relative)
def test_configs_state_only_what_differs(config: Path) -> None:
    train = load_commands()["imgcap-train"]
    defaults = {
        field.name: field.default for section in train.sections for field in flag_fields(section)
    }
    for line in config.read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            name, value = (name[2:], "False") if name not in defaults else (name, value or "True")
            assert name in defaults, f"{config.name}: {line}"
            # The encoder is named even if it is the default: it is what a recipe is about.
            assert name == "encoder" or str(defaults[name]) != value, (
                f"{config.name}: {line} is the default"
            )
    assert config.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("config", CONFIGS, ids=relative)
def test_scores_of_configs_stand_among_the_measurements(config: Path) -> None:
    measurements = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    header = " ".join(config.read_text(encoding="utf-8").split("\n--")[0].split("\n# "))
    named = re.findall(r'docs/measurements\.md, "([^"]+)"', header)
    assert len(named) == 1
    assert f"\n## {named[0]}\n" in measurements


def anchors(path: Path) -> set[str]:
    """The names by which code hosts and the site lead to a document's headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", read(path), flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_and_pictures_exist(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", read(document)):
        if not target.startswith("http"):
            found = document.parent / target if target else document
            assert found.exists(), f"{document.name} links {target}"
            assert not anchor or anchor in anchors(found), (
                f"{document.name} links {target}#{anchor}, where no heading is called so"
            )


def test_every_page_has_a_place_in_a_table_of_contents() -> None:
    placed = [DOCS / "index"]
    for page in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", read(page), re.M | re.DOTALL):
            lines = [line for line in block.splitlines() if line and not line.startswith(":")]
            placed += [page.parent / re.sub(r".*<(.*)>", r"\1", line) for line in lines]
    assert sorted(placed) == sorted(page.with_suffix("") for page in PAGES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_python_compiles_and_finds_what_it_imports(document: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", read(document), re.M | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first head is this."""
    (table,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_contract_has_every_tensor_and_signature() -> None:
    text = read(DOCS / "serve" / "contract.md")
    assert {
        name.strip("`"): (dtype, axes) for name, dtype, axes, _ in rows(text, "tensor")
    } == TENSORS
    told = {line[0].strip("`"): line[1:] for line in rows(text, "signature")}
    signatures = make_signatures(attends=True, confident=True, in_part=True)
    assert told.keys() == signatures.keys()
    for name, (inputs, outputs) in told.items():
        assert tuple(re.findall(r"`(\w+)`", inputs)) == signatures[name].inputs
        named = set(re.findall(r"`(\w+)`", outputs))
        for other in named & signatures.keys():
            named = named - {other} | set(signatures[other].outputs)
        if "without" in outputs:
            named -= {"missing"}
        assert named == set(signatures[name].outputs), name


def test_the_page_of_recipes_has_all() -> None:
    told = [re.findall(r"\((.*)\)", line[0]) for line in rows(RECIPES, "recipe")]
    assert sorted((DOCS / "train" / path).resolve() for (path,) in told) == CONFIGS


def test_what_leads_nowhere_fails_the_site(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the site's tools: pip install --editable '.[docs]'")
    links = {
        "[another](other.md#a-heading)": "",
        "[nothing](nothing.md)": "cross-reference target not found: 'nothing.md'",
        "[nowhere](other.md#nowhere)": "local id not found in doc 'other': 'nowhere'",
        "[a file](nothing.txt)": "cross-reference target not found: 'nothing.txt'",
        "![a picture](nothing.png)": "image file not readable: nothing.png",
        "{py:func}`imgcap.nothing`": "py:func reference target not found: imgcap.nothing",
    }
    contents = "# Index\n\n```{toctree}\nother\n```\n\n"
    (tmp_path / "index.md").write_text(contents + "\n\n".join(links))
    (tmp_path / "other.md").write_text("# Other\n\n## A heading\n")
    (tmp_path / "lost.md").write_text("# In no table of contents\n")
    options = ["-q", "-n", "-W", "--keep-going", f"--conf-dir={DOCS}", "--builder=dummy"]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, tmp_path, tmp_path / "built"],
        capture_output=True,
        text=True,
    )
    expected = ["document isn't included in any toctree", *filter(None, links.values())]
    warnings = built.stderr.split("WARNING: ")[1:]
    assert built.returncode == 1
    assert len(warnings) == len(expected), built.stderr
    for text in expected:
        assert any(text in warning for warning in warnings), built.stderr


def explanations(text: str) -> dict[str, str]:
    """What a help text says of each flag, by the flag as it is typed, without a value."""
    parts = re.split(r"^  (--\S+)", text, flags=re.MULTILINE)[1:]
    return {
        flag.partition("=")[0]: " ".join(part.split("\n\n")[0].split())
        for flag, part in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("name", sorted(console_scripts()))
def test_help_explains_every_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = load_commands()[name]
    assert command.main(asked, [name, "--help"]) == 0
    shown = explanations(capsys.readouterr().out)
    for section in [*asked.sections, *([asked.overrides] if asked.overrides else [])]:
        for field in flag_fields(section):
            flag = f"--[no]{field.name}" if isinstance(field.default, bool) else f"--{field.name}"
            assert shown.pop(flag).startswith(" ".join(field.metadata["help"].split())), flag
            assert len(field.metadata["help"]) > 10, field.name
    assert set(shown) == {"--flagfile", "--help", "--version"}


TARGETS = set(
    re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)


def test_makefile_targets_in_the_readme() -> None:
    named = set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_makefile_targets_exist(document: Path) -> None:
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", read(document), re.MULTILINE)) <= TARGETS


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
