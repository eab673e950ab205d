"""Settings of the search for captions."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imgcap.config.setting import Section, flag_fields, setting
from imgcap.errors import ConfigError

_READ_BY = {
    "beam_width": ("beam", "diverse", "mbr"),
    "diversity": ("diverse",),
    "num_samples": ("sample", "mbr"),
    "temperature": ("sample", "mbr"),
    "top_p": ("sample", "mbr"),
    "sampling_seed": ("sample", "mbr"),
}
"""The searches that read a setting; a setting that is absent here is read by all."""

_OF_MBR = {"beam_width": 5, "num_samples": 20, "temperature": 0.7}
"""What `override` takes for settings that were not given when it changes the search to 'mbr': the
values with which it was tried.
"""


@dataclass(frozen=True)
class DecodeConfig(Section):
    """The search for captions: beam (greedy if the width is 1), diverse beams, sampling, or minimum
    Bayes risk.

    Raises:
        ConfigError: a value out of its range, or a combination without meaning.
    """

    search: str = setting(
        "beam",
        "How captions are found: 'beam' looks for the most probable ones, 'diverse' for ones that "
        "differ (diverse beam search, Vijayakumar et al. 2018), 'sample' draws them by chance, and "
        "'mbr' sorts those of 'beam' by their mean CIDEr-D to drawn ones (minimum Bayes risk, "
        "Kumar & Byrne 2004), at several times the cost of 'beam'.",
        choices=("beam", "sample", "diverse", "mbr"),
        heading="Search for captions",
    )
    beam_width: int = setting(
        3,
        "Captions kept open while searching, and returned; 1 is greedy. With --search=diverse, "
        "how many captions that differ; with --search=mbr those to choose from, 5 if not given.",
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
        1,
        "With --search=sample: captions drawn for an image, and returned. With --search=mbr: those "
        "drawn to choose by, 20 if not given.",
        minimum=1,
    )
    temperature: float = setting(
        1.0,
        "With --search=sample or mbr: divisor of the logits; below 1 favours probable words. With "
        "mbr 0.7 if not given.",
        minimum=0.001,
    )
    top_p: float = setting(
        1.0,
        "With --search=sample or mbr: probability held by the words that are drawn from, the most "
        "probable ones (nucleus sampling).",
        minimum=0.001,
        maximum=1.0,
    )
    sampling_seed: int = setting(
        0, "With --search=sample or mbr: seed of the draws.", minimum=0, maximum=2**31 - 1
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
    def needs_reward(self) -> bool:
        """Whether the search chooses by CIDEr-D, for which it needs document frequencies."""
        return self.search == "mbr"

    @property
    def num_tokens(self) -> int:
        """T, the most tokens of a caption, its end included."""
        return self.max_length + 1

    def override(self, values: Mapping[str, Any]) -> Self:
        """Replaces some settings by those that a user gave.

        Settings that search 'mbr' reads and that were not given have values of their own, if the
        search was another one before.

        Args:
            values: by the names of the fields.

        Returns:
            The settings with the new values.

        Raises:
            ConfigError: a value is out of its range, or the search does not read it.
        """
        begins = values.get("search") == "mbr" != self.search
        options = dataclasses.replace(self, **({**_OF_MBR, **values} if begins else values))
        options.refuse_unread(values)
        options._refuse_no_choice()
        return options

    def _refuse_no_choice(self) -> None:
        """Raises ConfigError if 'mbr' has only one caption to choose from, or to choose by."""
        for name in ("beam_width", "num_samples"):
            if self.search == "mbr" and getattr(self, name) == 1:
                raise ConfigError(
                    f"--{name}=1 leaves --search=mbr no choice: give at least 2, or --search=beam"
                )

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

    def read_by_search(self) -> dict[str, Any]:
        """The settings that have a flag and that the search reads, in the order of fields."""
        names = [field.name for field in flag_fields(type(self))]
        return {
            name: getattr(self, name)
            for name in names
            if self.search in _READ_BY.get(name, (self.search,))
        }

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
