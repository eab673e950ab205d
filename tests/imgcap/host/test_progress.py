"""Work that others do is looked at while it goes on, and a last time when it has ended."""

import threading

import pytest

from imgcap.host import progress


def test_looks_go_on_after_an_error_and_end_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_INTERVAL", 0.001)
    done, seen, looked_twice = 1, list[int](), threading.Event()

    def look() -> None:
        seen.append(done)
        if len(seen) == 1:
            raise FileNotFoundError("renamed while it was listed")
        looked_twice.set()

    with progress.watched(look):
        assert looked_twice.wait(10)
        done = 2
    assert seen[:2] == [1, 1] and seen[-1] == 2


def test_an_error_of_the_work_comes_through_after_a_last_look() -> None:
    seen: list[str] = []
    with pytest.raises(ValueError, match="broken"), progress.watched(lambda: seen.append("look")):
        raise ValueError("broken")
    assert seen == ["look"]
