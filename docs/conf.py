"""How Sphinx makes the site: `make docs`. No page needs the network, to be built or to be read."""

import os
import re
from pathlib import Path, PurePosixPath

from sphinx.application import Sphinx

from imgcap import __version__

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

nitpicky = True
# Types of other packages: their own sites describe them, and lists of those need the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(tf|tensorflow|keras|np|numpy|PIL|grpc|absl|collections|pathlib)(\..*)?"),
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


def setup(app: Sphinx) -> None:
    """Has the links of all Markdown changed while it is read."""

    def path_of(file: Path | str) -> PurePosixPath:
        return PurePosixPath(os.path.relpath(file, ROOT))

    def change_page(app: Sphinx, name: str, content: list[str]) -> None:
        if (file := app.env.doc2path(name)) and str(file).endswith(".md"):
            content[0] = lead_to_pages(content[0], path_of(file), path_of(file))

    def change_included(app: Sphinx, file: Path, _: str, content: list[str]) -> None:
        page = app.env.doc2path(app.env.docname)
        content[0] = lead_to_pages(content[0], path_of(app.srcdir / file), path_of(page))

    app.connect("source-read", change_page)
    app.connect("include-read", change_included)
