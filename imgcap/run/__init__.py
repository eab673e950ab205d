"""The run directory: what training keeps, and the captioner that can be loaded from it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgcap.run.restore import load_captioner

__all__ = ["load_captioner"]


def __getattr__(name: str) -> Any:
    """Imports `load_captioner` when it is first used, so that other modules need no TensorFlow."""
    if name == "load_captioner":
        from imgcap.run.restore import load_captioner

        return load_captioner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
