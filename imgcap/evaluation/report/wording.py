"""Wordings that several reports share."""

from collections.abc import Mapping
from typing import Any


def describe_search(options: Mapping[str, Any]) -> str:
    """Says in a few words how captions were searched, such as 'beam width 3'.

    Args:
        options: the tree of a `DecodeConfig`.
    """
    if options["search"] == "sample":
        return f"best of {options['num_samples']} samples"
    if options["search"] == "diverse":
        return f"best of {options['beam_width']} diverse captions"
    if options["search"] == "mbr":
        return f"of {options['beam_width']} beams the most like {options['num_samples']} samples"
    return f"beam width {options['beam_width']}"
