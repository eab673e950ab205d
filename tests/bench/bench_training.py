"""`python -m tests.bench.bench_training`: what training and its data cost beside what they can't do
without, as ratios measured in one run.
"""

import sys

from imgcap.cli import command
from tests.bench import measurement_table
from tests.bench.config import BenchConfig

TABLE = "training"


def run(config: BenchConfig, arguments: list[str]) -> None:
    """Measures, prints and keeps the table."""
    del arguments

    def measure() -> list[measurement_table.Row]:
        from tests.bench import suite

        return suite.measure(config)

    measurement_table.measure_and_keep(TABLE, config.output, measure)


COMMAND = command.Command(
    name="python -m tests.bench.bench_training",
    summary="Times preparing, the input pipeline and training, each taking turns in one run with a "
    "loop that does the unavoidable part alone or does it as notebooks do. Ratios hold from "
    "machine to machine, speeds don't.",
    sections=(BenchConfig,),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
