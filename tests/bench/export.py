"""`python -m tests.bench.export`: what exports gain by their rewritten encoders and by searching in
the graph, as ratios measured in one run.
"""

import sys
from dataclasses import dataclass

from imgcap.cli import command
from imgcap.config import Section, setting
from tests.bench import measurement_table
from tests.bench.measurement_table import Row

TABLE = "export"


@dataclass(frozen=True)
class BenchmarkConfig(Section):
    """What is measured."""

    encoder: str = setting(
        "densenet201",
        "A keras.applications model in lower case, or a .keras file; its weights are random.",
        required=True,
    )
    image_size: int = setting(
        224, "Height and width, in pixels, that the encoder sees.", minimum=32
    )
    repetitions: int = setting(
        7,
        "Turns, of three calls each, that everything has at a batch size; the median counts.",
        minimum=1,
    )
    output: str = setting(
        "", "JSON file for the rows, beside those of other benchmarks; empty writes none."
    )


def measure(config: BenchmarkConfig) -> list[Row]:
    """Measures everything; several processes hold the models at once.

    Args:
        config: the encoder, and how often everything is called.

    Returns:
        Rows of (name, ratio, target, note).
    """
    from tests.bench import export_rows

    return export_rows.measure(config.encoder, config.image_size, config.repetitions)


def run(config: BenchmarkConfig, arguments: list[str]) -> None:
    """Measures, prints and keeps the table."""
    del arguments
    measurement_table.measure_and_keep(TABLE, config.output, lambda: measure(config))


COMMAND = command.Command(
    name="python -m tests.bench.export",
    summary="Times what is exported: the encoder as Keras runs it and rewritten for CPUs, with "
    "default and with recommended threads, the search behind it, and a notebook's loop, taking "
    "turns in one run. Ratios hold from machine to machine, milliseconds don't.",
    sections=(BenchmarkConfig,),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
