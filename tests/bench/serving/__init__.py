"""What the embedded server adds to an export, and what it does with many callers and too many."""

from tests.bench.serving.suite import measure_serving, newest_version

__all__ = ["measure_serving", "newest_version"]
