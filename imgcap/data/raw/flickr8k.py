"""Reader of Flickr8k (Hodosh et al. 2013), and of one's own photos in one of its two layouts.

Kaggle's: `Images/` and `captions.txt`, a CSV with the header `image,caption`. The original:
`Flicker8k_Dataset/` and `Flickr8k.token.txt`, lines of `name.jpg#0<TAB>caption`. In either,
`Flickr_8k.{train,dev,test}Images.txt` are the official split, if present.
"""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

from imgcap.data.raw.example import SPLITS, Example, RawDataset
from imgcap.errors import DataError
from imgcap.files.names import is_text, write_name

IMAGE_FOLDERS = ("Images", "Flicker8k_Dataset", "Flickr8k_Dataset")
TEXT_FOLDERS = (".", "Flickr8k_text")
HELD_OUT_FRACTION = 0.1
KEEP_BYTES = "surrogateescape"
"""How lists are decoded: names of files may be bytes that are no UTF-8, captions may not."""


def read(raw_dir: Path, seed: int) -> RawDataset:
    """Reads images, captions and splits; opens no image.

    Args:
        raw_dir: the folder that holds the image folder and the captions file.
        seed: of the split, if there are no split files.

    Returns:
        The usable images, and the names of the others.

    Raises:
        DataError: a folder or file is missing or broken; one line with its name and the remedy.
    """
    if not raw_dir.is_dir():
        raise DataError(
            f"{raw_dir} is no folder: give --raw_dir the folder that holds Images/ and captions.txt"
        )
    images = _image_folder(raw_dir)
    captions = _read_captions(raw_dir)
    present = _find_files(images)
    if not present.keys() & captions.keys():
        raise DataError(
            f"{images} holds none of the {len(captions)} captioned images: unpack the photos there"
        )
    listed = _read_split_files(raw_dir)
    split_source = "official" if listed else "seeded"
    splits = listed or _draw_split(sorted(present.keys() & captions.keys()), seed)
    usable = sorted(name for name in splits if name in present and name in captions)
    return RawDataset(
        examples=[
            Example(name, str(present[name]), tuple(captions[name]), splits[name])
            for name in usable
        ],
        absent=sorted((splits.keys() | captions.keys()) - present.keys()),
        unlisted=sorted((captions.keys() & present.keys()) - splits.keys()),
        uncaptioned=sorted((splits.keys() & present.keys()) - captions.keys()),
        split_source=split_source,
    )


def _image_folder(raw_dir: Path) -> Path:
    """The first of IMAGE_FOLDERS that exists."""
    for name in IMAGE_FOLDERS:
        if (raw_dir / name).is_dir():
            return raw_dir / name
    raise DataError(
        f"{raw_dir} has no image folder: one of {', '.join(IMAGE_FOLDERS)} must hold the photos"
    )


def _find_files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names, as `write_name` writes them or as they are."""
    paths = [path for path in folder.iterdir() if path.is_file()]
    as_they_are = {path.name: path for path in paths if is_text(path.name)}
    return {**as_they_are, **{write_name(path.name): path for path in paths}}


def _as_written(name: str) -> str:
    """The name of an image in a list; bytes that are no UTF-8 may stand there as they are."""
    return name if is_text(name) else write_name(name)


def _find_text(raw_dir: Path, name: str) -> Path | None:
    """The path of a text file in one of TEXT_FOLDERS; None if it is in none."""
    for folder in TEXT_FOLDERS:
        if (raw_dir / folder / name).is_file():
            return raw_dir / folder / name
    return None


def _read_captions(raw_dir: Path) -> dict[str, list[str]]:
    """Image name to its captions, in the order of the file."""
    table, tokens = _find_text(raw_dir, "captions.txt"), _find_text(raw_dir, "Flickr8k.token.txt")
    if table:
        rows = _rows_of_table(table)
    elif tokens:
        rows = _rows_of_tokens(tokens)
    else:
        raise DataError(f"{raw_dir} has no captions: put captions.txt or Flickr8k.token.txt there")
    captions: dict[str, list[str]] = {}
    for name, caption in rows:
        if not is_text(caption):
            source = table or tokens
            raise DataError(f"{source} is not UTF-8 text (a caption of {name}): convert it")
        captions.setdefault(name, []).append(caption)
    return captions


def _rows_of_table(path: Path) -> Iterator[tuple[str, str]]:
    """Name and caption of each row of Kaggle's CSV."""
    with path.open(encoding="utf-8", errors=KEEP_BYTES, newline="") as file:
        # strict: an unclosed quote is an error, else the rest of the file would become one caption.
        reader = csv.reader(file, strict=True)
        try:
            for row in reader:
                if reader.line_num == 1 and row == ["image", "caption"]:
                    continue
                if len(row) != 2 or not row[0].strip() or not row[1].strip():
                    raise DataError(
                        f"{path}:{reader.line_num}: {','.join(row)[:60]!r} is no row of "
                        "image,caption: quote captions that hold commas"
                    )
                yield _as_written(row[0].strip()), row[1].strip()
        except csv.Error as error:
            raise DataError(
                f"{path}:{reader.line_num}: broken CSV row ({error}): mend its quotes"
            ) from None


def _rows_of_tokens(path: Path) -> Iterator[tuple[str, str]]:
    """Name and caption of each line of the original's text file."""
    for number, line in _text_lines(path):
        key, tab, caption = line.partition("\t")
        name, sharp, index = key.rpartition("#")
        if not (tab and sharp and index.isdigit() and name and caption.strip()):
            raise DataError(
                f"{path}:{number}: {line[:60]!r} is no line of name.jpg#0<TAB>caption: mend or "
                "drop it"
            )
        yield _as_written(name), caption.strip()


def _read_split_files(raw_dir: Path) -> dict[str, str]:
    """Image name to split by the official lists; empty if there are none."""
    paths = {split: _find_text(raw_dir, f"Flickr_8k.{split}Images.txt") for split in SPLITS}
    lacking = [f"Flickr_8k.{split}Images.txt" for split, path in paths.items() if path is None]
    if len(lacking) == len(SPLITS):
        return {}
    if lacking:
        raise DataError(
            f"{raw_dir} lacks {', '.join(lacking)}: add the file, or remove the other lists for a "
            "drawn split"
        )
    splits: dict[str, str] = {}
    for split, path in paths.items():
        assert path is not None
        for number, line in _text_lines(path):
            name = _as_written(line)
            if splits.setdefault(name, split) != split:
                raise DataError(
                    f"{path}:{number}: {name} is in the {splits[name]} list too: drop one of the "
                    "two"
                )
    return splits


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and stripped text of each line that is not empty."""
    text = path.read_text(encoding="utf-8", errors=KEEP_BYTES)
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _draw_split(names: list[str], seed: int) -> dict[str, str]:
    """Image name to a split drawn by chance: a tenth each for dev and test."""
    shuffled = random.Random(seed).sample(names, len(names))
    held_out = max(1, round(HELD_OUT_FRACTION * len(names)))
    splits = dict.fromkeys(shuffled, "train")
    splits.update(dict.fromkeys(shuffled[:held_out], "dev"))
    splits.update(dict.fromkeys(shuffled[held_out : 2 * held_out], "test"))
    return splits
