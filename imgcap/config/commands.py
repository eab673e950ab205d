"""Options of single commands that no run directory keeps."""

import math
from dataclasses import dataclass

from imgcap.config.setting import Section, setting
from imgcap.errors import ConfigError


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
    data_dir: str = setting(
        "",
        "Folder or address that imgcap-prepare wrote to.",
        required=True,
        path=True,
        remote=True,
    )
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
class EnsembleConfig(Section):
    """Runs whose decoders choose each word together."""

    workdir: str = setting(
        "", "Run directory to write; it must not exist.", required=True, path=True
    )
    ensemble: str = setting(
        "log",
        "How the runs' predictions of the next word are joined: the mean of their "
        "log-probabilities, or the log of the mean of their probabilities.",
        choices=("log", "probability"),
    )
    weights: str = setting(
        "", "Weight of each run in the mean, such as 2,1,1; without it all weigh the same."
    )

    def validate_combinations(self) -> None:
        """Checks that `weights` are numbers above 0."""
        self._parsed_weights()

    def member_weights(self, count: int) -> tuple[float, ...]:
        """Reads `weights`.

        Args:
            count: how many runs there are.

        Returns:
            The weight of each run; they sum to 1.

        Raises:
            ConfigError: there are not as many weights as runs.
        """
        weights = self._parsed_weights() or [1.0] * count
        if len(weights) != count:
            raise ConfigError(
                f"--weights={self.weights} has {len(weights)} numbers for {count} runs: give one "
                "for each"
            )
        return tuple(weight / sum(weights) for weight in weights)

    def _parsed_weights(self) -> list[float]:
        """The numbers as they were given; none if the setting is empty."""
        try:
            weights = [float(text) for text in self.weights.split(",")] if self.weights else []
        except ValueError:
            weights = [math.nan]
        if not all(0 < weight < math.inf for weight in weights):
            raise ConfigError(
                f"--weights={self.weights} are not all numbers above 0: give them like 2,1,1"
            )
        return weights


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
        remote=True,
    )
    split: str = setting(
        "dev+test",
        "Split to caption for that.",
        choices=("train", "dev", "test", "dev+test"),
    )
