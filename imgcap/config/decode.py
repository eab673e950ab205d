"""Settings of the search for captions."""

from dataclasses import dataclass

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError


@dataclass(frozen=True)
class DecodeConfig(Section):
    """The search for captions: greedy, beam or sampling.

    Raises:
        ConfigError: a value out of its range, or a combination without meaning.
    """

    beam_width: int = setting(
        3,
        "Captions kept open while searching, and returned; 1 is greedy.",
        minimum=1,
        heading="Search for captions",
    )
    length_normalisation: str = setting(
        "wu",
        "Divisor of a score: ((5 + length) / 6) ** length_penalty (Wu et al. 2016), the length, or "
        "1.",
        choices=("wu", "mean", "none"),
    )
    length_penalty: float = setting(
        0.7, "Exponent alpha of 'wu'; more favours longer captions.", minimum=0.0
    )
    min_length: int = setting(0, "Fewest words of a caption.", minimum=0)
    max_length: int = setting(20, "Most words of a caption.", minimum=1)
    block_ngrams: int = setting(
        0, "Words of an n-gram that no caption holds twice; 0 allows all.", minimum=0
    )
    num_samples: int = setting(1, "Captions drawn for an image by sampling.", minimum=1, flag=False)
    temperature: float = setting(
        1.0, "Divisor of the logits in sampling.", minimum=0.001, flag=False
    )
    top_p: float = setting(
        1.0,
        "Probability held by the words that sampling draws from.",
        minimum=0.001,
        maximum=1.0,
        flag=False,
    )
    seed: int = setting(0, "Seed of sampling.", minimum=0, maximum=2**31 - 1, flag=False)
    suppress: tuple[int, ...] = setting((0, 1, 3), "Tokens that are never produced.", flag=False)
    start_token: int = setting(1, "Token fed to the first step.", minimum=0, flag=False)
    end_token: int = setting(2, "Token that ends a caption.", minimum=0, flag=False)
    pad_token: int = setting(0, "Token after the end.", minimum=0, flag=False)

    def __post_init__(self) -> None:
        self.validate()
        if self.min_length > self.max_length:
            raise ConfigError(
                f"--min_length={self.min_length} is above --max_length={self.max_length}: no "
                "caption fits"
            )
        if self.end_token in (*self.suppress, self.pad_token):
            raise ConfigError(
                f"--end_token={self.end_token} is also padding or suppressed: no caption ends"
            )
        if min(self.suppress, default=0) < 0:
            raise ConfigError(f"--suppress={self.suppress} holds a negative token")

    @property
    def num_tokens(self) -> int:
        """T, the most tokens of a caption: its words and the end."""
        return self.max_length + 1
