"""The picture of latency against load, on measurements made by hand."""

from pathlib import Path

import numpy as np
import pytest

from imgcap.errors import ConfigError
from serving.cli import latency_plot
from serving.cli.load import Load, Measurement


def measured(load: Load, *milliseconds: float) -> Measurement:
    return Measurement(load, seconds=2.0, latencies=[value / 1e3 for value in milliseconds])


MEASUREMENTS = [
    measured(Load(2.0, concurrency=1), 10.0, 10.0),
    measured(Load(2.0, concurrency=4), 20.0, 20.0, 20.0, 20.0),
    measured(Load(2.0, rate=50.0), 30.0),
]


def test_a_line_for_each_percentile_and_loop() -> None:
    (axes,) = latency_plot.draw_latency(MEASUREMENTS).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert set(drawn) == {
        f"p{percent}, {loop} loop" for percent in (50, 90, 99) for loop in ("closed", "open")
    }
    # Callers of a closed loop offer what they are answered: 2 and 4 captions in 2 seconds.
    assert np.allclose(drawn["p50, closed loop"], [[1.0, 10.0], [2.0, 20.0]])
    assert np.allclose(drawn["p99, open loop"], [[50.0, 30.0]])


def test_a_loop_that_was_not_measured_has_no_line() -> None:
    (axes,) = latency_plot.draw_latency(MEASUREMENTS[:2]).axes
    assert len(axes.lines) == 3


def test_a_machine_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    latency_plot.refuse_without_matplotlib("a.png")
    monkeypatch.setattr(latency_plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--plot=a.png needs matplotlib.*imgcap-tf\[train\]"):
        latency_plot.refuse_without_matplotlib("a.png")
