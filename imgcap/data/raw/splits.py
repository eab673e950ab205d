"""Splits of a data set: named in rows, in official lists, or drawn by chance."""

from collections.abc import Collection, Iterable, Mapping

from imgcap.data.raw.order import position
from imgcap.errors import DataError
from imgcap.files.text import as_written, read_lines

HELD_OUT_FRACTION = 0.1
SALT = "split"
"""Of the order by which a split is drawn, so that it is independent of the order of records."""

_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's name for COCO's validation images that he trains on.
    "dev": "dev",
    "development": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}


def find_split(name: str) -> str:
    """The split that a name means: 'train', 'dev' or 'test'; empty if it means none."""
    return _NAMES.get(name.strip().lower(), "")


def parse_split(name: str, place: str) -> str:
    """Reads the split in a row of a captions file.

    Args:
        name: as written; empty if the row has none.
        place: file and line, for the error.

    Returns:
        'train', 'dev' or 'test'; empty if `name` is.

    Raises:
        DataError: the name means no split.
    """
    split = find_split(name)
    if name.strip() and not split:
        raise DataError(f"{place}: {name.strip()[:60]!r} is no split: write {', '.join(_NAMES)}")
    return split


def read_lists(split_lists: Mapping[str, str]) -> dict[str, str]:
    """Reads official lists, of one image a line.

    Args:
        split_lists: split to the location of its list.

    Returns:
        Image as written to split.

    Raises:
        DataError: a list cannot be read, or an image is in two of them.
    """
    splits: dict[str, str] = {}
    for split, location in split_lists.items():
        for number, line in read_lines(location):
            name = as_written(line)
            if splits.setdefault(name, split) != split:
                raise DataError(
                    f"{location}:{number}: {name} is in the {splits[name]} list too: drop one of "
                    "the two"
                )
    return splits


def join_splits(image: str, splits: Iterable[str]) -> str:
    """The one split that the rows of an image name; empty if they name none.

    Raises:
        DataError: they name two.
    """
    named = sorted({split for split in splits if split})
    if len(named) > 1:
        raise DataError(f"{image} is in the splits {' and '.join(named)}: leave it in one of them")
    return named[0] if named else ""


def held_out(images: int) -> int:
    """How many images a drawn split has in dev, and as many in test."""
    return max(1, round(HELD_OUT_FRACTION * images))


def draw(image_ids: Collection[str], seed: int) -> dict[str, str]:
    """Draws a split by chance: the tenth of lowest positions is dev, the next tenth test.

    Args:
        image_ids: of all usable images, each once.
        seed: of the draw.

    Returns:
        Image to split.
    """
    ranked = sorted(image_ids, key=lambda image_id: (position(seed, image_id, SALT), image_id))
    count = held_out(len(ranked))
    splits = dict.fromkeys(ranked, "train")
    splits.update(dict.fromkeys(ranked[:count], "dev"))
    splits.update(dict.fromkeys(ranked[count : 2 * count], "test"))
    return splits
