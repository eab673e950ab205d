"""Reader of COCO's captions (Chen et al. 2015) and of all JSON files in their form.

One file has a list of images and a list of annotations, each with one caption of one image. Files
for training and validation are read together; validation is split dev. The files of COCO itself
leave split test empty, since its captions were never published. A single file, or several of one
split, says nothing of splits: a split is drawn then.
"""

import re
from collections.abc import Iterator
from typing import Any

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.images import find_root
from imgcap.data.raw.layout import (
    choose_files,
    find_captions,
    folder_of,
    has_folder,
    put_below,
    read_head,
    root_holding,
    split_named,
    split_of_file,
)
from imgcap.data.raw.values import (
    first_objects,
    read_captions,
    read_object,
    require_objects,
    require_text,
)
from imgcap.errors import DataError
from imgcap.files.locations import base_name, is_folder, join

TITLE = "COCO captions"
EXAMPLE = (
    'annotations/captions_train2017.json: {"images": [{"id": 1, "file_name": "1.jpg"}], '
    '"annotations": [{"image_id": 1, "caption": "A dog runs."}]}'
)

_OTHER_KINDS = {
    "keypoints": "keypoints",
    "segments_info": "panoptic segments",
    "segmentation": "instances",
    "bbox": "instances",
}
"""What annotations hold that are of COCO's other files, and what those are called."""


def find(folder: str) -> Source | None:
    """Looks for COCO's captions in a folder or its `annotations/`.

    Args:
        folder: location of the data set's folder.

    Returns:
        The source; of COCO's other files only if there are no captions. None if there is none.

    Raises:
        DataError: there are captions of several sets.
    """
    files = find_captions(folder, (".json",), _is_coco)
    if not files:
        return None
    captions = [file for file in files if not _is_other_kind(file)] or files[:1]
    named = [file for file in captions if base_name(file).startswith("captions_")]
    chosen = choose_files(_of_present_years(folder, named or captions))
    names = {file: _first_names(file) for file in chosen}
    in_folders = [put_below(_own_folder(file), name) for file in chosen for name in names[file]]
    root = (
        root_holding(folder, in_folders)
        or root_holding(folder, [name for file in chosen for name in names[file]])
        or find_root(folder)
        or folder
    )
    return Source("coco", chosen, (root,))


def _of_present_years(folder: str, files: list[str]) -> list[str]:
    """The files of the years (`captions_val2017.json`) whose image folders are there, or all."""
    present = [
        file
        for file in files
        if any(is_folder(join(folder, inner, _tag(file))) for inner in (".", "images"))
    ]
    return present if all(map(_tag, files)) and present else files


def _tag(location: str) -> str:
    """The last word of a file's name if it names a split: `train2017`; empty otherwise."""
    word = re.split(r"[_.-]", base_name(location).rpartition(".")[0])[-1]
    return word if split_named(word) else ""


def _is_coco(location: str) -> bool:
    """Whether a JSON file begins as COCO's do."""
    head = read_head(location)
    images, annotations = first_objects(head, "images"), first_objects(head, "annotations")
    return "file_name" in (images or [{}])[0] or "image_id" in (annotations or [{}])[0]


def _first_names(location: str) -> list[str]:
    """The names of the first images of a file."""
    names = [entry.get("file_name") for entry in first_objects(read_head(location), "images")]
    return [name for name in names if isinstance(name, str)]


def _is_other_kind(location: str) -> bool:
    """Whether a file of COCO has no captions by its name."""
    kinds = ("instances_", "person_keypoints_", "panoptic_", "stuff_", "image_info_")
    return base_name(location).startswith(kinds)


def rows(location: str, source: Source) -> Iterator[Row]:
    """Yields the images of one file, in its order, each with its captions.

    Args:
        location: one of the source's captions files.
        source: the data set.

    Raises:
        DataError: the file is broken, of another kind, or an annotation's image is missing.
    """
    tree = read_object(location)
    names = _read_names(require_objects(tree, "images", location), location)
    captions = _read_captions(tree, names, location)
    split, folder = split_of_file(location, source.captions_files), _own_folder(location)
    if folder and not has_folder(source.image_roots, folder.rstrip("/")):
        folder = ""
    for key, name in names.items():
        yield Row(put_below(folder, name), tuple(captions.get(key, ())), split)


def _own_folder(location: str) -> str:
    """The folder that a file's images are in by its name or its folder: `train2017/`; or empty."""
    folder = base_name(folder_of(location))
    name = _tag(location) or (folder if split_named(folder) else "")
    return f"{name}/" if name else ""


def _read_names(images: list[dict[str, Any]], location: str) -> dict[int | str, str]:
    """Image id to its file name."""
    names: dict[int | str, str] = {}
    for number, image in enumerate(images, start=1):
        where = f"{location}: image {number}"
        key = _require_key(image, "id", where)
        name = require_text(image.get("file_name"), "file_name", where)
        if names.setdefault(key, name) != name:
            raise DataError(f"{where}: id {key} is that of {names[key]} too: give each its own")
    return names


def _read_captions(
    tree: dict[str, Any], names: dict[int | str, str], location: str
) -> dict[int | str, list[str]]:
    """Image id to its captions, in the order of the annotations."""
    captions: dict[int | str, list[str]] = {}
    for number, annotation in enumerate(require_objects(tree, "annotations", location), start=1):
        where = f"{location}: annotation {number}"
        if "caption" not in annotation:
            raise _not_captions(annotation, where, location)
        key = _require_key(annotation, "image_id", where)
        if key not in names:
            raise DataError(f"{where}: image_id {key} is no image of this file: mend or drop it")
        captions.setdefault(key, []).extend(read_captions(annotation["caption"], "caption", where))
    return captions


def _require_key(entry: dict[str, Any], name: str, where: str) -> int | str:
    """The id of an image: a whole number or a text."""
    value = entry.get(name)
    if not isinstance(value, int | str):
        raise DataError(f"{where} has no {name}: mend or drop it")
    return value


def _not_captions(annotation: dict[str, Any], where: str, location: str) -> DataError:
    """What to say of an annotation without a caption."""
    kind = next((kind for key, kind in _OTHER_KINDS.items() if key in annotation), "")
    if not kind:
        return DataError(f"{where} has no caption: mend or drop it")
    tag = _tag(location) or "train2017"
    return DataError(f"{location} holds {kind}, not captions: take captions_{tag}.json")
