"""Sample photographs, free to copy: for the page, the demo and the tests.

The file NOTICE beside them names title, author, source and licence of each.
"""

from pathlib import Path

# People and the outdoors first: what captioners trained on Flickr8k know. The other three are
# unlike their training set, so they show what a caption looks like that is not to be trusted.
_NAMES = ("park", "river", "astronaut", "cat", "coffee", "rocket")


def find_samples() -> dict[str, Path]:
    """Finds the sample photographs.

    Returns:
        The JPEG file of each by its name, such as "cat".
    """
    return {name: Path(__file__).with_name(f"{name}.jpg") for name in _NAMES}
