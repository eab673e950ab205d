"""Where a raw data set lies: as flags say, or as the folder looks."""

from imgcap.config import PrepareConfig
from imgcap.data.raw.example import Source
from imgcap.data.raw.reading.readers import READERS
from imgcap.errors import DataError
from imgcap.files.locations import is_folder


def find_source(config: PrepareConfig) -> Source:
    """Finds the data set that a command line names.

    Args:
        config: validated settings.

    Returns:
        Where its parts lie.

    Raises:
        DataError: they are missing, or in no known layout; names what is missing.
    """
    if not is_folder(config.raw_dir):
        raise DataError(
            f"{config.raw_dir} is no folder: give --raw_dir the folder that holds Images/ and "
            "captions.txt"
        )
    source = READERS["flickr8k"].find(config.raw_dir)
    if source is None:
        raise DataError(f"{config.raw_dir} has no image folder")
    return source
