"""What to say of a folder in which no raw data set is found: what is missing, and an example."""

import csv
import json
from collections.abc import Mapping

from imgcap.data.raw.images import find_root
from imgcap.data.raw.layout import TEXT_FOLDERS
from imgcap.data.raw.reading.readers import Reader
from imgcap.errors import DataError
from imgcap.files.locations import join, list_folder
from imgcap.files.text import read_lines

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".json": "coco",
    ".token": "flickr30k",
    ".txt": "csv",
}
"""Ending of a captions file to the reader whose layout is nearest, likeliest first."""

_MOST_COLUMNS = 8


def explain(folder: str, readers: Mapping[str, Reader], dataset: str) -> str:
    """Explains in one line why a folder is no data set of a layout.

    Args:
        folder: location of the data set's folder.
        readers: all readers.
        dataset: the one that was asked for, or 'auto' for any.

    Returns:
        The text of an error: what is missing, and an example of the nearest layout.
    """
    photos, text = find_root(folder), _likeliest_text(folder)
    nearest = dataset
    if dataset == "auto":
        nearest = _ENDINGS["." + text.rpartition(".")[2]] if text else "csv"
    example = readers[nearest].EXAMPLE
    if photos is None:
        lacking = "no image folder" if text else "no image folder and no captions"
        return (
            f"{folder} has {lacking}: put the photos into Images/ there, or give --images=FOLDER; "
            f"captions are for example {example}"
        )
    if text is None:
        return (
            f"{folder} has no captions: put a file there such as {example}, or give --captions=FILE"
        )
    if dataset != "auto":
        return f"{folder} has no captions of --dataset={dataset}, which are {example}"
    return f"{_describe_text(text)}; captions are for example {example}"


def _likeliest_text(folder: str) -> str | None:
    """The file that most likely holds captions, by its name; None if there is none."""
    names = list_folder(folder)
    inner = [name.rstrip("/") for name in names if name.rstrip("/").lower() in TEXT_FOLDERS]
    files = [join(folder, name) for name in names if not name.endswith("/")]
    for name in inner:
        files += [join(folder, name, file) for file in list_folder(join(folder, name))]
    for ending in _ENDINGS:
        for file in files:
            if file.endswith(ending):
                return file
    return None


def _describe_text(location: str) -> str:
    """Says what a file that no reader knows has instead of captions."""
    if location.endswith(".json"):
        return f"{location} is neither COCO's captions nor Karpathy's JSON"
    columns = _columns(location)
    if not columns:
        return f"{location} holds no captions that a reader knows"
    shown = ", ".join(columns[:_MOST_COLUMNS]) + (", …" if len(columns) > _MOST_COLUMNS else "")
    return (
        f"{location} has the columns {shown}: if it has the captions, give it as --captions, "
        "and which are image and caption as --image_column and --caption_column"
    )


def _columns(location: str) -> list[str]:
    """The columns of a table or the keys of a line of JSON; empty if they cannot be told."""
    if location.endswith(".parquet"):
        return []
    try:
        first = next(read_lines(location), (0, ""))[1]
        if location.endswith(".jsonl"):
            return list(map(str, json.loads(first)))
        dialect = csv.Sniffer().sniff(first, ",;\t|")
        return next(csv.reader([first], dialect))
    except (csv.Error, ValueError, TypeError, DataError):
        return []
