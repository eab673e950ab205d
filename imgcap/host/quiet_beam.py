"""Beam's worker, imported without the note that Beam logs then; this ends all logging.

Only the process from which workers are forked imports this module.
"""

import logging

logging.disable(logging.CRITICAL)

from apache_beam.runners.worker import sdk_worker_main  # noqa: E402

__all__ = ["sdk_worker_main"]
