"""Threads that work ahead of a loop: results in the order of their items, few of them held."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ahead: int,
    on_stop: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Item, "Future[Result]"]]:
    """Calls a function on each item, several at a time.

    Args:
        function: called in some thread.
        items: taken one by one, only when their turn is near; may be endless.
        threads: calls under way at a time.
        ahead: items held at a time, at least `threads`.
        on_stop: called if the caller stops before the end, so that calls which wait can give up.

    Yields:
        Each item with its call, which is done or failed, in the order of the items.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="imgcap-caption") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) >= ahead:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        except BaseException:
            on_stop()
            raise
        finally:  # A caller that stops early should not wait for the rest.
            for _, future in waiting:
                future.cancel()


def _finished(item: Item, future: "Future[Result]") -> tuple[Item, "Future[Result]"]:
    """Waits for a call; what it raises stays in it."""
    future.exception()
    return item, future
