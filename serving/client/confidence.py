"""A caption's confidence in words, the same for the page and for whoever builds on the client."""

from imgcap.config.limits import FAIRLY_SURE, SURE


def is_sure(confidence: float | None) -> bool:
    """Whether a caption may be used unseen; one without a confidence counts as sure.

    Args:
        confidence: in [0, 1]; None if the model gives none.
    """
    return confidence is None or confidence >= SURE


def confidence_in_words(confidence: float) -> str:
    """Says how far to trust a caption.

    Args:
        confidence: in [0, 1].
    """
    if confidence >= SURE:
        return "sure"
    return "fairly sure" if confidence >= FAIRLY_SURE else "unsure: check this one"
