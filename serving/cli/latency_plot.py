"""A picture of latency against load, for `imgcap-benchmark --plot`."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgcap.errors import ConfigError
from serving.cli.load import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES, DPI = (9.0, 5.2), 100
PERCENTILES = {50: "#2b6cb0", 90: "#dd8a1e", 99: "#c53030"}
"""The percentiles drawn, and the colour of each."""


def refuse_without_matplotlib(path: str) -> None:
    """Raises ConfigError if the library that draws is missing.

    Args:
        path: value of --plot.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            f"--plot={path} needs matplotlib, which is not installed: pip install "
            "'imgcap-tf[train]', or drop --plot"
        )


def write_latency_plot(path: str, measurements: Sequence[Measurement]) -> None:
    """Draws latency against load into a file.

    Args:
        path: the file; its ending says the format, such as .png.
        measurements: of closed and open loops.
    """
    draw_latency(measurements).savefig(path)


def draw_latency(measurements: Sequence[Measurement]) -> "Figure":
    """Draws a line for each percentile and loop.

    The load is the one that was offered in an open loop; callers of a closed one offer no more than
    they are answered.

    Args:
        measurements: of closed and open loops.

    Returns:
        A picture of milliseconds over requests a second.
    """
    from matplotlib.figure import Figure

    figure = Figure(INCHES, DPI, layout="constrained")
    axes = figure.add_subplot()
    for loop, closed, style in (("closed", True, "o-"), ("open", False, "s--")):
        chosen = [found for found in measurements if bool(found.load.concurrency) is closed]
        loads = [found.load.rate or found.rate for found in chosen]
        for percent, colour in PERCENTILES.items() if chosen else ():
            latencies = [found.percentile(percent) for found in chosen]
            axes.plot(loads, latencies, style, color=colour, label=f"p{percent}, {loop} loop")
    axes.set_title("Latency against load", loc="left")
    axes.set_xlabel("requests a second")
    axes.set_ylabel("milliseconds")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if measurements:
        axes.legend(frameon=False)
    return figure
