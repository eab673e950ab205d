"""A worker process of Beam's direct runner: says nothing of its own, and ends with its parent.

Beam's own program for it prints notes before it has read how much it should log.
"""

import logging
import os
import sys
import threading
import time

SECONDS_BETWEEN_LOOKS = 1.0


def main() -> None:
    """Works until the process that started this one has no more work, or is gone."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # Errors reach the runner with the work that failed, whatever is logged.
    logging.disable(logging.CRITICAL)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, however that was."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    main()
