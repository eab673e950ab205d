"""Limits: how many pixels a picture may have, and from which confidence on a caption is sure."""

MAX_PIXELS = 50_000_000
"""Pixels that a picture may declare by default; decoding so many takes 150 MB, with alpha 1 GB."""

MAX_MAX_PIXELS = 1 << 27
"""Greatest limit that may be set; with more pixels TensorFlow's decoders overflow integers."""

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
