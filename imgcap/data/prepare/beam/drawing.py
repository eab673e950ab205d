"""A drawn split by exact rank, without a list of all images.

Counting images by the leading bits of their positions tells in which bin a rank falls; then only
the images of that bin need to be sorted.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from imgcap.data.prepare.sharding import bin_of
from imgcap.data.raw.order import position
from imgcap.data.raw.splits import SALT, held_out

Place = tuple[int, str]
"""Position of an image in the order of the draw, then its name, which decides between equals."""

END: Place = (2**64, "")
"""A place after all images."""


class Border(NamedTuple):
    """Where the image of one rank must be looked for.

    Attributes:
        bin: of positions.
        rank: among the images of the bin, from 0.
    """

    bin: int
    rank: int


def place_of(seed: int, image_id: str) -> Place:
    """The place of an image in the order of the draw."""
    return position(seed, image_id, SALT), image_id


def find_borders(bins: Mapping[int, int]) -> list[Border]:
    """Finds the images that are the first of split test and of split train.

    Args:
        bins: bin of places to the number of its images.

    Returns:
        Two borders; a rank above all images is in bin -1.
    """
    count = held_out(sum(bins.values()))
    return [_find_border(bins, count), _find_border(bins, 2 * count)]


def _find_border(bins: Mapping[int, int], rank: int) -> Border:
    ordered = sorted(bins)
    for index, passed in zip(
        ordered, itertools.accumulate(bins[index] for index in ordered), strict=True
    ):
        if rank < passed:
            return Border(index, rank - passed + bins[index])
    return Border(-1, 0)


def find_first_places(borders: Sequence[Border], places: Iterable[Place]) -> list[Place]:
    """Finds the first place of split test and the first of split train.

    Args:
        borders: from `find_borders`.
        places: of all images in the borders' bins.

    Returns:
        Two places; `END` if a border is above all images.
    """
    members: dict[int, list[Place]] = {border.bin: [] for border in borders}
    for place in sorted(places):
        members[bin_of(place[0])].append(place)
    return [END if border.bin < 0 else members[border.bin][border.rank] for border in borders]


def split_of(place: Place, first_places: Sequence[Place]) -> str:
    """The split that an image is drawn into."""
    test, train = first_places
    return "dev" if place < test else "test" if place < train else "train"
