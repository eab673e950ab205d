"""A caption's confidence in words, the same for the page and for whoever builds on the client."""

from imgcap.config.confidence import SURE, confidence_level


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
    level = confidence_level(confidence)
    return "unsure: check this one" if level == "unsure" else level
