"""Finding where a raw data set lies, and reading it whole or image by image."""

from imgcap.data.raw.reading.finding import find_source
from imgcap.data.raw.reading.joining import describe, describe_counts, read, read_rows

__all__ = ["describe", "describe_counts", "find_source", "read", "read_rows"]
