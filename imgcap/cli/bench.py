"""`python -m imgcap.cli.bench`: what training and its data cost beside what they can't do without, as ratios measured
in one run."""

import sys
from pathlib import Path

from imgcap import measurement_table
from imgcap.cli import command
from imgcap.config import BenchConfig

TABLE = "training"


def run(config: BenchConfig, arguments: list[str]) -> None:
    """Measures, prints and keeps the table."""
    del arguments
    output = Path(config.output) if config.output else None
    if output:
        measurement_table.load_tables(output)
    from imgcap.benchmarks import suite

    rows = suite.measure(config)
    print(measurement_table.format_table(rows))
    if output:
        measurement_table.write_table(output, TABLE, rows)


COMMAND = command.Command(
    name="python -m imgcap.cli.bench",
    summary="Times preparing, the input pipeline and training, each taking turns in one run with a loop that does the "
    "unavoidable part alone or does it as notebooks do. Ratios hold from machine to machine, speeds don't.",
    sections=(BenchConfig,),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
