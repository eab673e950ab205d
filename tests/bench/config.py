"""Settings of the benchmarks of training."""

from dataclasses import dataclass

from imgcap.config import Section, setting


@dataclass(frozen=True)
class BenchConfig(Section):
    """What training costs beside what it can't do without."""

    data_dir: str = setting(
        "", "Folder that imgcap-prepare wrote, whose images to take; empty draws scenes."
    )
    images: int = setting(400, "Images to measure on.", minimum=20)
    captions: int = setting(
        20000,
        "Captions of a measured epoch on stored features; shards are read again until there are so "
        "many.",
        minimum=1,
    )
    encoder: str = setting(
        "densenet201",
        "A keras.applications model in lower case, or a .keras file; its weights are random.",
        required=True,
    )
    image_size: int = setting(
        224, "Height and width, in pixels, that the encoder sees.", minimum=32
    )
    units: int = setting(512, "Width of the word embedding and of the LSTM.", minimum=1)
    batch_size: int = setting(128, "Captions in a batch.", minimum=8)
    repetitions: int = setting(5, "Turns that everything has; the median counts.", minimum=1)
    output: str = setting(
        "", "JSON file for the rows, beside those of other benchmarks; empty writes none."
    )
