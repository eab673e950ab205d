"""Distribution of images over shards by their positions, which needs no list of all images."""

from collections.abc import Mapping

from imgcap.data.raw.order import BITS

BIN_BITS = 16
"""Leading bits of a position by which images are counted; a split has at most 65,536 shards."""

# Held-out splits are a tenth of the training split: a quarter of its shards keeps their files
# readable in parallel.
HELD_OUT_SHARDS = 4


def bin_of(position: int) -> int:
    """The bin in which an image is counted, in [0, 2**BIN_BITS)."""
    return position >> (BITS - BIN_BITS)


def shard_of(position: int, count: int) -> int:
    """The shard of an image among `count` equal ranges of positions."""
    return position * count >> BITS


def shard_name(split: str, index: int, count: int) -> str:
    """The file name of one shard, such as `train-00000-of-00016.tfrecord`."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def wanted_shards(split: str, num_shards: int) -> int:
    """How many shards a split gets if it has many images."""
    return num_shards if split == "train" else -(-num_shards // HELD_OUT_SHARDS)


def count_shards(bins: Mapping[int, int], wanted: int) -> int:
    """Chooses the number of shards of a split so that each holds at least one image.

    Positions are random: 20 images would leave 4 of 16 shards empty. With many images it is
    `wanted`.

    Args:
        bins: bin to the number of its images.
        wanted: most shards.

    Returns:
        The greatest of `wanted` and some numbers below it that leaves no shard empty; 1 if there
        are no images.
    """
    count = max(1, min(wanted, sum(bins.values()), 2**BIN_BITS))
    while _has_empty_shard(bins, count):
        # In steps of a sixteenth: a great number that does not fit is soon left behind.
        count -= max(1, count // 16)
    return count


def _has_empty_shard(bins: Mapping[int, int], count: int) -> bool:
    """Whether a shard has no bin of its own with an image; bins across a border do not count."""
    found = {
        index * count >> BIN_BITS
        for index in bins
        if index * count >> BIN_BITS == ((index + 1) * count - 1) >> BIN_BITS
    }
    return count > 1 and len(found) < count
