"""Lines of `name.jpg#0<TAB>caption`, in which Flickr8k and Flickr30k were first published."""

import re
from collections.abc import Iterator

from imgcap.data.raw.example import Row
from imgcap.errors import DataError
from imgcap.files.locations import base_name
from imgcap.files.text import read_lines

_TOKEN_LINE = re.compile(r"(?P<name>[^\t]+)#\d+\t(?P<caption>.*)", re.DOTALL)


def first_line(location: str) -> str:
    """The first line of a file that is not empty, without the blanks around it, or nothing."""
    return next(read_lines(location), (0, ""))[1]


def is_tokens(location: str) -> bool:
    """Whether a file is of such lines, by its name or its first one."""
    named = ".token" in base_name(location)
    return named or _TOKEN_LINE.match(first_line(location)) is not None


def rows_of_tokens(location: str) -> Iterator[Row]:
    """Yields one row a line.

    Raises:
        DataError: a line of another form.
    """
    for number, line in read_lines(location):
        parts = _TOKEN_LINE.match(line)
        if not parts or not parts["caption"].strip():
            raise DataError(
                f"{location}:{number}: {line[:60]!r} is no line of "
                "name.jpg#0<TAB>caption: mend or drop it"
            )
        yield Row(parts["name"].strip(), (parts["caption"].strip(),))
