"""Settings of the benchmarks."""

from dataclasses import dataclass

from imgcap.config import Section, setting
from imgcap.errors import ConfigError

TRAINING, EXPORT, SERVING, SCALE = "training", "export", "serving", "scale"
ALL = "all"


@dataclass(frozen=True)
class BenchConfig(Section):
    """What is measured, on which encoder, and where the ratios go."""

    part: str = setting(
        ALL,
        "Part to measure; 'all' leaves serving out if --model_base_path is empty.",
        choices=(ALL, TRAINING, EXPORT, SERVING, SCALE),
    )
    encoder: str = setting(
        "densenet201",
        "A keras.applications model in lower case, or a .keras file; its weights are random.",
        required=True,
    )
    image_size: int = setting(
        224, "Height and width, in pixels, that the encoder sees.", minimum=32
    )
    repetitions: int = setting(
        5, "Measured turns of everything that is compared; the median counts.", minimum=1
    )
    output: str = setting(
        "bench.json", "JSON file for the rows, a table a part; empty writes none."
    )


@dataclass(frozen=True)
class TrainingBenchConfig(Section):
    """The data on which preparing, the input pipeline and training are measured."""

    data_dir: str = setting(
        "", "Folder that imgcap-prepare wrote, whose images to take; empty draws scenes.", path=True
    )
    images: int = setting(400, "Images to measure on.", minimum=20)
    captions: int = setting(
        20000,
        "Captions of a measured epoch on stored features; shards are read again until there are so "
        "many.",
        minimum=1,
    )
    units: int = setting(512, "Width of the word embedding and of the LSTM.", minimum=1)
    batch_size: int = setting(128, "Captions in a batch.", minimum=8)


@dataclass(frozen=True)
class ServingBenchConfig(Section):
    """The served model, and how long it is loaded."""

    model_base_path: str = setting(
        "", "Folder that imgcap-export wrote; its newest version is served and measured.", path=True
    )
    seconds: float = setting(
        20.0, "Length of each load with many callers; three times that for overload.", minimum=0.5
    )


def parts_to_measure(bench: BenchConfig, serving: ServingBenchConfig) -> tuple[str, ...]:
    """The parts that the settings ask for, in the order in which they are measured.

    Raises:
        ConfigError: serving is asked for, and no model to serve is named.
    """
    if bench.part == SERVING and not serving.model_base_path:
        raise ConfigError("--part=serving needs a model to serve: name it with --model_base_path")
    if bench.part != ALL:
        return (bench.part,)
    parts = (TRAINING, EXPORT, SCALE)
    return (*parts, SERVING) if serving.model_base_path else parts
