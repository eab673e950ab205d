"""Values in captions files, strictly checked: whole JSON files, their lists, names and captions."""

import json
import re
from typing import Any

from imgcap.errors import DataError
from imgcap.files.locations import open_file
from imgcap.files.names import is_text

FIRST = 20
"""Entries of a list that are read to recognise a file."""


def first_objects(head: str, key: str) -> list[dict[str, Any]]:
    """Reads the first objects, at most `FIRST`, of a list in a JSON file.

    Args:
        head: beginning of the file.
        key: of the list.

    Returns:
        The objects that are whole in `head`; none if the list does not begin there.
    """
    start = re.search(rf'"{key}"\s*:\s*\[\s*', head)
    place = start.end() if start else len(head)
    found: list[dict[str, Any]] = []
    while len(found) < FIRST:
        try:
            entry, place = json.JSONDecoder().raw_decode(head, place)
        except (ValueError, RecursionError):
            break
        if not isinstance(entry, dict):
            break
        found.append(entry)
        between = re.compile(r"\s*,\s*").match(head, place)
        place = between.end() if between else len(head)
    return found


def read_object(location: str) -> dict[str, Any]:
    """Reads a JSON file that is one object.

    Raises:
        DataError: it is broken, or something else; names the line.
    """
    with open_file(location) as file:
        content = file.read()
    try:
        tree = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{location}:{error.lineno}: broken JSON ({error.msg}): mend it, or fetch it again"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{location}:{line}: not UTF-8 text: convert the file") from None
    except RecursionError:
        raise DataError(f"{location}: too many brackets inside each other: no such file") from None
    if not isinstance(tree, dict):
        raise DataError(f"{location} is a JSON {type(tree).__name__}, not an object with images")
    return tree


def require_objects(tree: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Returns the list of objects that an object has under a key.

    Raises:
        DataError: there is none, or an entry is something else; names its number, from 1.
    """
    entries = tree.get(key)
    if not isinstance(entries, list):
        raise DataError(f"{where} has no list of {key}: check that it is the right file")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError(f"{where}: entry {number} of {key} is no object: mend or drop it")
    return entries


def require_text(value: Any, what: str, where: str) -> str:
    """Returns a text without the blanks around it, such as the name of an image.

    Raises:
        DataError: it is no text, or an empty one.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {what} is {_show(value)}, not a text: mend or drop the entry")
    return value.strip()


def read_captions(value: Any, what: str, where: str) -> tuple[str, ...]:
    """Returns the captions that a file has in one place, without the blanks around them.

    Args:
        value: a text, a list of texts, or None for none; empty texts are left out.
        what: name of the place, for the error.
        where: file and line or entry, for the error.

    Raises:
        DataError: it is something else, or not UTF-8.
    """
    texts = value if isinstance(value, list) else [value] if value is not None else []
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"{where}: {what} is {_show(text)}, not a caption: mend or drop it")
        if not is_text(text):
            raise DataError(f"{where}: {what} is not UTF-8 text: convert the file")
    return tuple(text.strip() for text in texts if text.strip())


def _show(value: Any) -> str:
    """A value as JSON has it, cut to a few words."""
    return json.dumps(value, default=str)[:60]
