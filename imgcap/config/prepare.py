"""Options of imgcap-prepare, which no run directory keeps."""

from dataclasses import dataclass

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError


@dataclass(frozen=True)
class PrepareConfig(Section):
    """Preparation of a raw data set as TFRecord shards."""

    dataset: str = setting("flickr8k", "Layout of the raw data.", choices=("flickr8k",))
    raw_dir: str = setting("", "Folder with the raw images and captions.", required=True, path=True)
    output_dir: str = setting(
        "", "Folder for the shards; made if absent.", required=True, path=True
    )
    num_shards: int = setting(
        16, "Files for the training split; the other splits get a quarter.", minimum=1
    )
    min_count: int = setting(
        0,
        "Times a word must occur in the training captions to be kept; 0 chooses 1 to 5 by the "
        "captions, 5 if they are many.",
        minimum=0,
    )
    vocabulary: str = setting(
        "",
        "Run whose words number the captions: imgcap-train --finetune_from takes the data then.",
        path=True,
    )
    extend_vocabulary: bool = setting(
        False, "Add the new words that occur min_count times to those of the run in vocabulary."
    )
    max_unknown: float = setting(
        0.2,
        "Share of the training captions' words unknown to the vocabulary of a run above which "
        "preparation stops.",
        minimum=0.0,
        maximum=1.0,
    )
    max_length: int = setting(
        20, "Words of a caption that are used in training; the rest is cut.", minimum=1
    )
    max_bad_fraction: float = setting(
        0.01, "Share of unreadable images above which preparation stops.", minimum=0.0, maximum=1.0
    )
    pictures: str = setting(
        "photographs",
        "Kind of the pictures, which the model's card tells.",
        choices=("photographs", "drawings"),
    )
    num_processes: int = setting(0, "Processes that read and write; 0 takes one a core.", minimum=0)
    shard_index: int = setting(
        0, "Which part this machine prepares, from 0 (see shard_count).", minimum=0
    )
    shard_count: int = setting(
        1,
        "Machines that prepare this data set together into one output_dir; afterwards one of them "
        "merges.",
        minimum=1,
    )
    merge: bool = setting(
        False, "Join the parts of all machines; the other flags must be those the parts had."
    )
    seed: int = setting(
        0, "Seed of the split (if there are no split files) and of the order of records."
    )

    def validate_combinations(self) -> None:
        """Checks where the words come from, and which part of a shared preparation is made."""
        self._check_vocabulary()
        if self.shard_index >= self.shard_count:
            raise ConfigError(
                f"--shard_index={self.shard_index} must be below --shard_count={self.shard_count}: "
                "parts count from 0"
            )
        if self.merge and self.shard_index:
            raise ConfigError(
                f"--shard_index={self.shard_index} is one part, --merge joins all: drop one of the "
                "two"
            )

    def _check_vocabulary(self) -> None:
        """Checks that words are added to a run's, and counted only if they are added."""
        if self.extend_vocabulary and not self.vocabulary:
            raise ConfigError(
                "--extend_vocabulary adds words to those of a run: give that run as --vocabulary"
            )
        if self.vocabulary and self.min_count and not self.extend_vocabulary:
            raise ConfigError(
                f"--min_count={self.min_count} takes words from the captions, --vocabulary="
                f"{self.vocabulary} has all words already: give --extend_vocabulary too, or drop "
                "one of the two"
            )
