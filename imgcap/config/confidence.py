"""How far to trust a caption: its confidence in words, the same in every place that says it."""

from typing import Literal

Level = Literal["sure", "fairly sure", "unsure"]

SURE = 0.5
"""Least confidence of a caption that is called sure.

Confidence is the probability that a caption reaches the median of people's captions, which a
person's own reaches in half of the cases: from here on the model is as reliable as a person.
"""

FAIRLY_SURE = 0.25
"""Least confidence of a caption that is called fairly sure: half as reliable as a person's.

A captioner trained on Flickr8k reaches the median on about 35 % of photographs like those, so what
is below is worse than its average even on what it knows.
"""


def confidence_level(confidence: float) -> Level:
    """Names how far to trust a caption.

    Args:
        confidence: in [0, 1].
    """
    if confidence >= SURE:
        return "sure"
    return "fairly sure" if confidence >= FAIRLY_SURE else "unsure"
