"""A worker process of Beam's direct runner: says nothing of its own, and ends with its parent."""

import multiprocessing
import os
import sys
import threading
import traceback
from multiprocessing import connection


def work(variables: dict[str, str]) -> None:
    """Works until the process that started this one has no more work, or is gone.

    Args:
        variables: of the environment, by which Beam's worker finds its runner.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    # When the parent is killed, each thread here would print that nobody listens any more.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  It stays open to the end.
    os.environ.update(variables)
    try:
        # Errors reach the runner with the work that failed: nothing is logged.
        from imgcap.host.quiet_beam import sdk_worker_main

        sdk_worker_main.main([])
    except Exception:
        if parent.is_alive():
            traceback.print_exc(file=sys.__stderr__)
        os._exit(1)


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended, however that was."""
    connection.wait([parent])
    os._exit(1)
