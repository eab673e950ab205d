"""Settings of the search for captions."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError

_READ_BY = {
    "beam_width": ("beam", "diverse"),
    "diversity": ("diverse",),
    "num_samples": ("sample",),
    "temperature": ("sample",),
    "top_p": ("sample",),
    "sampling_seed": ("sample",),
}
"""The searches that read a setting; a setting that is absent here is read by all."""


@dataclass(frozen=True)
class DecodeConfig(Section):
    """The search for captions: beam (greedy if the width is 1), diverse beams or sampling.

    Raises:
        ConfigError: a value out of its range, or a combination without meaning.
    """

    search: str = setting(
        "beam",
        "How captions are found: 'beam' looks for the most probable ones, 'diverse' for ones that "
        "differ (diverse beam search, Vijayakumar et al. 2018), 'sample' draws them by chance.",
        choices=("beam", "sample", "diverse"),
        heading="Search for captions",
    )
    beam_width: int = setting(
        3,
        "Captions kept open while searching, and returned; 1 is greedy. With --search=diverse, "
        "how many captions that differ.",
        minimum=1,
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
    diversity: float = setting(
        0.5,
        "With --search=diverse: what a word loses, in log-probability, for each earlier caption of "
        "the image that has it at the same place.",
        minimum=0.0,
        maximum=1000.0,
    )
    num_samples: int = setting(
        1, "With --search=sample: captions drawn for an image, and returned.", minimum=1
    )
    temperature: float = setting(
        1.0,
        "With --search=sample: divisor of the logits; below 1 favours probable words.",
        minimum=0.001,
    )
    top_p: float = setting(
        1.0,
        "With --search=sample: probability held by the words that are drawn from, the most "
        "probable ones (nucleus sampling).",
        minimum=0.001,
        maximum=1.0,
    )
    sampling_seed: int = setting(
        0, "With --search=sample: seed of the draws.", minimum=0, maximum=2**31 - 1
    )
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
    def num_captions(self) -> int:
        """K, the captions that are returned for an image."""
        return self.num_samples if self.search == "sample" else self.beam_width

    @property
    def num_tokens(self) -> int:
        """T, the most tokens of a caption: its words and the end."""
        return self.max_length + 1

    def override(self, values: Mapping[str, Any]) -> Self:
        """Replaces some settings by those that a user gave.

        Args:
            values: by the names of the fields.

        Returns:
            The settings with the new values.

        Raises:
            ConfigError: a value is out of its range, or the search does not read it.
        """
        options = dataclasses.replace(self, **values)
        options.refuse_unread(values)
        return options

    def refuse_unread(self, names: Iterable[str]) -> None:
        """Raises ConfigError if the search reads one of some settings not at all.

        Args:
            names: of the settings that a user gave.
        """
        for name in names:
            readers = _READ_BY.get(name, (self.search,))
            if self.search not in readers:
                raise ConfigError(
                    f"--{name}={getattr(self, name)} changes nothing with --search={self.search}: "
                    f"drop it, or give --search={' or '.join(readers)}"
                )

    def changes_from(self, base: "DecodeConfig") -> dict[str, Any]:
        """The settings whose values differ from those of another search, in the order of fields."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value != getattr(base, name)}


def decode_from_tree(tree: Mapping[str, Any]) -> DecodeConfig:
    """Makes the settings from the tree that a JSON file holds.

    A setting that is absent, since it came with a later version of imgcap, has its default.

    Args:
        tree: field to value, as `dataclasses.asdict` wrote them.

    Returns:
        The settings.

    Raises:
        ConfigError: a value is out of its range.
        TypeError: there is a setting that this version does not know.
        KeyError: the tree is no set of decode options.
    """
    values = {**tree}
    values["suppress"] = tuple(values["suppress"])
    if "seed" in values:  # The name of `sampling_seed` before it became a flag.
        values["sampling_seed"] = values.pop("seed")
    return DecodeConfig(**values)
