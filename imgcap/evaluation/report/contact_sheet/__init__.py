"""The contact sheet: a page of images with captions and references, the best caption first."""

from imgcap.evaluation.report.contact_sheet.cards import (
    THUMBNAIL_SIZE,
    Entry,
    make_thumbnail,
)
from imgcap.evaluation.report.contact_sheet.sheet import select_ranks, write_contact_sheet

__all__ = ["THUMBNAIL_SIZE", "Entry", "make_thumbnail", "select_ranks", "write_contact_sheet"]
