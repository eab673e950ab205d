"""The errors a user can cause. Each message is one line: the file, the value, the remedy.

Commands print the message and exit with `exit_status`; no traceback is shown for these.
"""


class ImgcapError(Exception):
    """Something a user can mend; the message names what, where and how."""

    exit_status = 1


class ConfigError(ImgcapError):
    """A flag, a value or a combination of flags that can't be used; found before any work
    starts.
    """

    exit_status = 2


class DataError(ImgcapError):
    """Raw data, shards, a manifest or a vocabulary that is missing, broken or of another origin."""


class RunError(ImgcapError):
    """A run directory that is missing, broken, busy or of another configuration."""


class ExportError(ImgcapError):
    """An export that failed its checks and was therefore not published."""


class ServingError(ImgcapError):
    """A model server that can't be started or reached, or that refused a request."""
