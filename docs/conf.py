"""How Sphinx makes the site: `make docs`. No page needs the network, to be built or to be read."""

import dataclasses
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from sphinx.application import Sphinx

from imgcap import __version__
from imgcap.config import Section

ROOT = Path(__file__).resolve().parents[1]

# Documents that tools and people look for elsewhere, by the page that includes them.
PAGES = {
    "README.md": "docs/index.md",
    "BUILD_NOTES.md": "docs/project/decisions.md",
    "CONTRIBUTING.md": "docs/project/contributing.md",
    "CHANGELOG.md": "docs/project/changelog.md",
    "serving/README.md": "docs/serve/deployment.md",
}

project = "imgcap"
copyright = "the authors of imgcap, Apache License 2.0"
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# Blocks without a language are no Python.
highlight_language = "none"

# Headings down to this level are anchors, by the names that code hosts give them.
myst_heading_anchors = 4

# The notebook is stored without outputs, and a cell that fails stops the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Fields of a class in a list, not as entries of their own: autodoc makes those of properties.
napoleon_use_ivar = True
# A name in single backticks is code.
default_role = "code"

nitpicky = True
# Types of other packages: their own sites describe them, and lists of those need the network.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(tf|tensorflow|keras|np|numpy|PIL|grpc|absl|collections|os|pathlib|random)(\..*)?",
    ),
    # What is inside a captioner or a bar of progress, which no page describes.
    (r"py:class", r"imgcap\.(host\.progress|model\.(decoders|search\.cider_reward))\..*"),
]

html_theme = "furo"
html_title = f"imgcap {__version__}"
html_copy_source = False
html_show_sourcelink = False

# `](target)` and `](target#anchor)` of links that lead to a file of the repository.
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)((?:#[^)\s]*)?)\)")


def lead_to_pages(text: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Makes relative links, which a code host follows from file to file, lead from page to page.

    Args:
        text: Markdown.
        source: the file that it is read from, relative to the repository.
        page: the file of the page that shows it, relative to the repository.

    Returns:
        The text with links relative to `page`; those to a document in `PAGES` lead to its page.
    """

    def change(found: re.Match[str]) -> str:
        target = os.path.normpath(source.parent / found[1])
        target = PAGES.get(target, target)
        return f"]({os.path.relpath(target, page.parent)}{found[2]})"

    return LINK.sub(change, text)


def list_settings(
    app: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]
) -> None:
    """Adds the settings of a section to its docstring, with what `--help` says of them."""
    if what == "class" and issubclass(described, Section):
        lines += ["", "Attributes:"]
        for field in dataclasses.fields(described):
            help_text = field.metadata["help"].replace("*", r"\*")
            # As code: the two hyphens would become a dash.
            help_text = re.sub(r"--\w+(=\w+)?", r"`\g<0>`", help_text)
            lines.append(f"    {field.name}: {help_text} Default: `{field.default!r}`.")
        lines.append("")


def hide_signature(
    app: Sphinx, what: str, name: str, described: Any, options: Any, *signature: str | None
) -> tuple[str, None] | None:
    """Leaves out the signature of a section, which is a long line of what its list says."""
    return ("", None) if what == "class" and issubclass(described, Section) else None


def setup(app: Sphinx) -> None:
    """Has the links of all Markdown changed while it is read, and settings listed."""

    def path_of(file: Path | str) -> PurePosixPath:
        return PurePosixPath(os.path.relpath(file, ROOT))

    def change_page(app: Sphinx, name: str, content: list[str]) -> None:
        if (file := app.env.doc2path(name)) and str(file).endswith(".md"):
            content[0] = lead_to_pages(content[0], path_of(file), path_of(file))

    def change_included(app: Sphinx, file: Path, _: str, content: list[str]) -> None:
        page = app.env.doc2path(app.env.docname)
        content[0] = lead_to_pages(content[0], path_of(app.srcdir / file), path_of(page))

    # Before napoleon, which turns sections of docstrings into lists.
    app.connect("autodoc-process-docstring", list_settings, priority=100)
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("source-read", change_page)
    app.connect("include-read", change_included)
