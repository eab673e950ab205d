"""N-grams as the scores count them, and the constants that CIDEr-D's two implementations share."""

MAX_ORDER = 4
"""Words in the longest n-gram."""

SIGMA = 6.0
"""Width, in words, of CIDEr-D's Gaussian penalty on the difference in length to the reference."""
