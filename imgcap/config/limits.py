"""Bounds on what a picture may declare."""

MAX_PIXELS = 50_000_000
"""What a picture may declare by default. To decode that many takes 150 MB for a moment, with alpha
1 GB.
"""

MAX_MAX_PIXELS = 1 << 27
"""Above this TensorFlow's decoders count bytes in integers that overflow."""
