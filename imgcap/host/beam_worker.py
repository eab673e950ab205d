"""A worker process of Beam's direct runner: says nothing of its own, and ends with its parent.

Beam's own program for it prints notes before it has read how much it should log.
"""

import logging
import os
import sys
import threading
import time
import traceback

SECONDS_BETWEEN_LOOKS = 1.0


def main() -> None:
    """Works until the process that started this one has no more work, or is gone."""
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Errors reach the runner with the work that failed. When the parent is killed, each thread here
    # would print that nobody listens any more.
    logging.disable(logging.CRITICAL)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  It stays open to the end.
    try:
        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main(sys.argv)
    except Exception:
        if os.getppid() == parent:
            traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, however that was."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    main()
