"""What the rewritten encoders and the search in the graph gain."""

from tests.bench.export.suite import measure_export

__all__ = ["measure_export"]
