"""Whether a written model captions as the live one, and holds nothing that a server lacks."""

from export.check.parity import check_parity, count_operations, sample_images

__all__ = ["check_parity", "count_operations", "sample_images"]
