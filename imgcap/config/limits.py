"""Limits of how many pixels a picture may have."""

MAX_PIXELS = 50_000_000
"""Pixels that a picture may declare by default; decoding so many takes 150 MB, with alpha 1 GB."""

MAX_MAX_PIXELS = 1 << 27
"""Greatest limit that may be set; with more pixels TensorFlow's decoders overflow integers."""
