"""A trained run → numbered versions of a SavedModel that TensorFlow Serving can serve.

    saved_model   the whole export, step by step
    module        the captioner as a graph with the signatures of `imgcap.signature`
    card          what a version says of itself
    versions      publishing by rename, removal of old versions
    warmup        requests that a server runs before it serves a version
    cpu/          the encoder rewritten for CPUs
    check/        the written model compared with the live one

Importing this package needs no TensorFlow; `export.saved_model.export_run` does.
"""

from export.config import ExportConfig

__all__ = ["ExportConfig"]
