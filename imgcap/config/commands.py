"""Options of single commands that no run directory keeps."""

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


@dataclass(frozen=True)
class DataServiceConfig(Section):
    """A service that decodes training images for other machines."""

    port: int = setting(
        5050, "Port of the service; trainers name it in --data_service.", minimum=1, maximum=65535
    )
    worker_port: int = setting(
        5051,
        "Port from which trainers then fetch the batches; 0 takes a free one.",
        minimum=0,
        maximum=65535,
    )
    host: str = setting("", "Name by which trainers reach this machine; empty takes the host name.")


@dataclass(frozen=True)
class ShowConfig(Section):
    """Output of one call of imgcap-train beside its bar and metrics.jsonl; no part of the run."""

    tensorboard: bool = setting(
        False,
        "Write curves, and sample captions with their images, to workdir/tensorboard.",
        heading="What this call shows",
    )
    profile_steps: str = setting(
        "", "First and last step, such as 10,15, that TensorFlow profiles to workdir/profile."
    )
    dry_run: bool = setting(
        False, "Print the plan, with times and memory of a few steps, and write nothing."
    )

    def validate_combinations(self) -> None:
        """Checks that `profile_steps` is a span."""
        self.profiled_span()

    def profiled_span(self) -> tuple[int, int] | None:
        """Reads `profile_steps`.

        Returns:
            Numbers of the first and the last step to profile; None for none.

        Raises:
            ConfigError: `profile_steps` is no such pair.
        """
        if not self.profile_steps:
            return None
        first, _, last = self.profile_steps.partition(",")
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise ConfigError(
                f"--profile_steps={self.profile_steps} is no first and last step: give it like "
                "10,15"
            )
        return int(first), int(last)


@dataclass(frozen=True)
class EvaluateConfig(Section):
    """Evaluation of a run on a split."""

    workdir: str = setting(
        "",
        "Run directory that imgcap-train wrote, or pretrained:flickr8k, the captioner in the box.",
        required=True,
        path=True,
    )
    data_dir: str = setting("", "Folder that imgcap-prepare wrote.", required=True, path=True)
    split: str = setting(
        "test",
        "Split to caption and score; 'dev+test' takes both as one.",
        choices=("train", "dev", "test", "dev+test"),
    )
    calibrate: bool = setting(
        False,
        "First fit, on the dev split, how probably a caption is as good as a person's; exports and "
        "evaluations then have a confidence.",
    )
    sweep: bool = setting(
        False,
        "Score a grid of decode options on the dev split; later commands then take the best for "
        "this run.",
    )


@dataclass(frozen=True)
class CompareConfig(Section):
    """Comparison of runs by their scores."""

    split: str = setting(
        "test",
        "Split that imgcap-evaluate has scored for each run that is named by its directory.",
        choices=("train", "dev", "test", "dev+test"),
    )
    seed: int = setting(0, "Seed of the bootstrap.", minimum=0)
    table: str = setting(
        "",
        "Markdown file whose table of scores gets a row a recipe (seeds together, as mean and "
        "standard deviation).",
        path=True,
    )


@dataclass(frozen=True)
class AverageConfig(Section):
    """Averaging the weights of several checkpoints."""

    workdir: str = setting(
        "", "Run directory to write; it must not exist.", required=True, path=True
    )
    checkpoints: str = setting(
        "best",
        "Of each run its best checkpoint, or all that it has kept (see keep_checkpoints).",
        choices=("best", "kept"),
    )


@dataclass(frozen=True)
class PackConfig(Section):
    """Packing of a run to hand it on."""

    output_dir: str = setting(
        "", "Run directory to write; it must not exist.", required=True, path=True
    )
    weights: str = setting(
        "float16",
        "How matrices and kernels are stored; vectors, such as biases, stay in float32.",
        choices=("float16", "float32"),
    )
    notice: str = setting("", "File with the notices of what the weights were made of.", path=True)
    license: str = setting("", "License of the weights, as the card says it, such as Apache-2.0.")
    check_data_dir: str = setting(
        "",
        "Folder that imgcap-prepare wrote: count the captions that packing changes, on a split of "
        "it.",
        path=True,
    )
    split: str = setting(
        "dev+test",
        "Split to caption for that.",
        choices=("train", "dev", "test", "dev+test"),
    )
