"""The errors that a user can cause. Each message is one line: the file, the value, the remedy.

ImgcapError
├── ConfigError   flags; exit status 2
├── DataError     raw data, shards, vocabulary
├── RunError      run directories
├── ExportError   exports
└── ServingError  model servers and requests

Commands print the message and exit with `exit_status`, without a traceback.
"""


class ImgcapError(Exception):
    """Something that a user can mend; the message names what, where and how.

    Attributes:
        exit_status: of a command that ends by it.
    """

    exit_status = 1


class ConfigError(ImgcapError):
    """A flag, a value or a combination of flags that cannot be used; raised before any work."""

    exit_status = 2


class DataError(ImgcapError):
    """Raw data, shards, a manifest or a vocabulary that are missing, broken or do not belong."""


class RunError(ImgcapError):
    """A run directory that is missing, broken, busy or of another configuration."""


class ExportError(ImgcapError):
    """An export that failed its checks and was therefore not published."""


class ServingError(ImgcapError):
    """A model server that cannot be started or reached, or that refused a request."""
