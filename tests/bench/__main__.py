"""`python -m tests.bench`: what training, exports and serving cost beside what they cannot do
without, as ratios measured in one run.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from imgcap.cli import command
from tests.bench.config import (
    EXPORT,
    SCALE,
    SERVING,
    TRAINING,
    BenchConfig,
    ServingBenchConfig,
    TrainingBenchConfig,
    parts_to_measure,
)
from tests.bench.table import Row, measure_and_keep


def run(
    bench: BenchConfig,
    training: TrainingBenchConfig,
    serving: ServingBenchConfig,
    arguments: list[str],
) -> None:
    """Measures each part, prints its table and keeps it before the next part begins."""
    del arguments
    names = parts_to_measure(bench, serving)
    # They import TensorFlow, gRPC and the benchmarked code: after the flags are found good.
    from tests.bench.export import measure_export
    from tests.bench.scale.suite import measure_scale
    from tests.bench.serving import measure_serving, newest_version
    from tests.bench.training.suite import measure_training

    parts: dict[str, Callable[[], list[Row]]] = {
        TRAINING: lambda: measure_training(bench, training),
        EXPORT: lambda: measure_export(bench),
        SCALE: lambda: measure_scale(bench, training),
        SERVING: lambda: measure_serving(bench, serving),
    }
    if SERVING in names:
        # Half an hour of measuring must not end at a folder that is not there.
        newest_version(Path(serving.model_base_path))
    for name in names:
        measure_and_keep(name, bench.output, parts[name])


COMMAND = command.Command(
    name="python -m tests.bench",
    summary="Times preparing, the input pipeline and training, exports and, given a model, the "
    "embedded server, and takes the figures of docs/train/scale.md. Everything takes turns in one "
    "run with a loop that does the unavoidable part alone or does it as notebooks do. Ratios hold "
    "from machine to machine, speeds do not.",
    sections=(BenchConfig, TrainingBenchConfig, ServingBenchConfig),
    run=run,
    tensorflow=True,
)

if __name__ == "__main__":
    sys.exit(command.main(COMMAND))
