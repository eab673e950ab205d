"""Settings of the captioner: its encoder and its decoder."""

from dataclasses import dataclass

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError

ATTENDING = ("attention", "adaptive")
"""The decoders that attend to the encoder's grid."""


@dataclass(frozen=True)
class ModelConfig(Section):
    """The captioner: an encoder of images and an LSTM decoder."""

    encoder: str = setting(
        "densenet201",
        "A keras.applications model in lower case, or a .keras file (RGB 0-255 to a grid).",
        required=True,
        common=True,
        heading="Model",
        path=True,
    )
    encoder_weights: str = setting(
        "imagenet",
        "'imagenet', 'none' (random) or a weights file that Keras saved; a .keras file brings its "
        "own.",
        path=True,
    )
    encoder_output: str = setting(
        "", "Output to take of a .keras file with several; empty takes the one that is a grid."
    )
    image_size: int = setting(
        224,
        "Height and width, in pixels, that the encoder sees; a .keras file for another size is "
        "rebuilt for it, with the same weights.",
        minimum=32,
    )
    decoder: str = setting(
        "pre_inject",
        "How the image enters the LSTM: before the words, beside each or at all places at once "
        "(Tanti et al. 2018), by soft attention (Xu et al. 2015) or adaptive attention (Lu et al. "
        "2017).",
        choices=("pre_inject", "par_inject", "inject_and_merge", *ATTENDING),
        common=True,
    )
    embedding_dim: int = setting(512, "Width of the word embedding.", minimum=1)
    units: int = setting(512, "Width of the LSTM.", minimum=1)
    attention_units: int = setting(512, "Width of the attention's keys and queries.", minimum=1)
    context_gate: bool = setting(
        True, "Gate beta on the context of soft attention (Xu et al. 2015, section 4.2.1)."
    )
    dropout: float = setting(
        0.5,
        "Dropout on features, word embeddings and the inputs of the logits.",
        minimum=0.0,
        maximum=0.95,
    )
    variational_dropout: bool = setting(
        False,
        "One dropout mask for all words of a caption (Gal & Ghahramani 2016) instead of one a "
        "word.",
    )
    recurrent_dropout: float = setting(
        0.0,
        "Dropout between the LSTM's steps, one mask a caption (Gal & Ghahramani 2016).",
        minimum=0.0,
        maximum=0.95,
    )
    tie_weights: bool = setting(
        False, "Use the word embedding for the logits too (Press & Wolf 2017)."
    )

    def validate_combinations(self) -> None:
        """Checks that an output is chosen of a file."""
        if self.encoder_output and not self.encoder.endswith(".keras"):
            raise ConfigError(
                f"--encoder_output={self.encoder_output} is about a .keras file: --encoder="
                f"{self.encoder} is none"
            )
