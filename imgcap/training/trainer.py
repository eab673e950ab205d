"""What a run is made of, and how it starts or goes on."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap.config import Config
from imgcap.data import manifest
from imgcap.data.manifest import Manifest
from imgcap.data.vocabulary import Vocabulary
from imgcap.errors import DataError, RunError
from imgcap.evaluation import evaluate
from imgcap.model.captioner import Captioner, make_captioner
from imgcap.run import checkpoints, directory
from imgcap.run.checkpoints import Progression
from imgcap.run.metrics import Metrics
from imgcap.run.restore import restore_best
from imgcap.training.dry_run import describe_plan
from imgcap.training.inputs import examples
from imgcap.training.inputs.examples import TrainingData
from imgcap.training.machines.interruption import StopRequest
from imgcap.training.machines.strategy import set_up
from imgcap.training.machines.workers import Workers
from imgcap.training.objective.teacher_forcing import make_objective
from imgcap.training.optimizer import make_optimizer, moving_averages
from imgcap.training.step import TrainStep, make_train_step
from imgcap.training.watching.tensorboard import Board


class Run(NamedTuple):
    """Everything a run needs while it runs."""

    config: Config
    workdir: Path
    strategy: tf.distribute.Strategy
    captioner: Captioner
    optimizer: keras.optimizers.Optimizer
    data: TrainingData
    metrics: Metrics
    step: TrainStep
    caption: evaluate.CaptionStep
    stop: StopRequest
    workers: Workers
    board: Board | None = None

    def variables(self) -> checkpoints.Variables:
        """All that a checkpoint holds beside `Progression`."""
        saved = {
            "decoder": [variable.value for variable in self.captioner.decoder.variables],
            "optimizer": [variable.value for variable in self.optimizer.variables],
        }
        if self.config.train.finetune_blocks:
            saved["encoder"] = [variable.value for variable in self.captioner.encoder.variables]
        averages = moving_averages(self.optimizer)
        return {**saved, "averaged": averages} if averages else saved

    def save(self, progression: Progression) -> None:
        """Writes a checkpoint; no worker goes on before it is written."""
        keep = self.config.train.keep_checkpoints
        self.workers.on_chief(
            lambda: checkpoints.save(self.workdir, self.variables(), progression, keep)
        )

    def write(self, **values: float) -> None:
        """Writes a line of numbers wherever they are looked at."""
        self.metrics.write(**values)
        if self.board:
            self.board.scalars(**values)

    def last_step(self) -> int:
        """The step at which the run ends if nothing stops it early."""
        return examples.total_steps(self.config, self.data)


class Prepared(NamedTuple):
    """What a run starts from; the config has the model settings of the run it continues, if any."""

    config: Config
    manifest: Manifest
    vocabulary: Vocabulary


class _Model(NamedTuple):
    """What is trained, and how."""

    captioner: Captioner
    optimizer: keras.optimizers.Optimizer
    step: TrainStep


def load_data(config: Config) -> Prepared:
    """Reads what there is to read before the machine is set up.

    Args:
        config: validated settings.

    Returns:
        The settings to go on with, the data's manifest and vocabulary.

    Raises:
        DataError: the data is missing, or of another vocabulary than itself or the run to start
            from.
        RunError: the run to start from is none.
    """
    data_dir = Path(config.train.data_dir)
    prepared = manifest.load_manifest(data_dir)
    vocabulary = _load_vocabulary(data_dir, prepared)
    if config.train.finetune_from:
        config = _with_model_of(Path(config.train.finetune_from), config, vocabulary)
    return Prepared(config, prepared, vocabulary)


def open_run(prepared: Prepared, workers: Workers) -> Prepared:
    """Makes the run directory, or checks the one found; the chief first, then the other workers.

    Args:
        prepared: what the run starts from.
        workers: all that share the run.

    Returns:
        The same; the encoder file, if any, is the run's own copy.

    Raises:
        RunError: the directory is another run's, or not the chief's.
    """
    workdir = Path(prepared.config.train.workdir)

    def open_here() -> Config:
        return directory.open_run(workdir, *prepared)

    def open_shared() -> Config:
        if not directory.is_run(workdir):
            raise RunError(
                f"{workdir} is not the chief's: give --workdir a folder that all workers share"
            )
        return open_here()

    workers.on_chief(open_here)
    return prepared._replace(config=workers.together(open_shared))


def start(
    prepared: Prepared, strategy: tf.distribute.Strategy, workers: Workers, stop: StopRequest
) -> tuple[Run, Progression]:
    """Builds the model and goes to the last checkpoint.

    Args:
        prepared: from `open_run`.
        strategy: of the run.
        workers: all that share it.
        stop: asked between steps.

    Returns:
        The run, and where it stands.

    Raises:
        ConfigError: an encoder or its weights can't be had.
        DataError: a split is empty or a shard damaged.
        RunError: the checkpoint does not fit, or the workers do not share their directory.
    """
    config = prepared.config
    workdir = Path(config.train.workdir)
    progression = workers.together(lambda: checkpoints.latest(workdir) or Progression())
    if len(set(workers.gather(progression.step))) > 1:
        raise RunError(
            f"the workers find different checkpoints in {workdir}: give --workdir a folder that "
            "all share"
        )
    captioner, optimizer, step = _build(prepared, strategy)
    data = examples.make_training_data(config, captioner.encoder, workers, prepared.manifest)
    metrics = Metrics(workdir if workers.is_chief else None, progression.step)
    caption = evaluate.make_caption_step(
        captioner, strategy, config.decode, encoded=data.stored is not None
    )
    run = Run(
        config, workdir, strategy, captioner, optimizer, data, metrics, step, caption, stop, workers
    )
    if progression.step:
        checkpoints.restore(workdir, progression.step, run.variables())
        print(f"resumed {workdir} at step {progression.step}, epoch {progression.epoch + 1}")
    if not config.train.finetune_blocks:
        encoder = [variable.value for variable in captioner.encoder.variables]
        workers.on_chief(lambda: checkpoints.save_encoder(workdir, encoder))
    return run, progression


def plan(config: Config) -> str:
    """What the run would be, with time and memory of a few steps; nothing is written.

    Args:
        config: validated settings.

    Returns:
        Some lines of text.

    Raises:
        ConfigError: an encoder, its weights or a strategy can't be had.
        DataError: the data is missing or damaged.
    """
    prepared = load_data(config)
    strategy = set_up(prepared.config.train)
    model = _build(prepared, strategy)
    return describe_plan(prepared.config, strategy, prepared.manifest, model.captioner, model.step)


def _load_vocabulary(data_dir: Path, prepared: Manifest) -> Vocabulary:
    vocabulary = Vocabulary.load(data_dir / manifest.VOCABULARY_NAME)
    if vocabulary.fingerprint != prepared.vocabulary_fingerprint:
        raise DataError(
            f"{data_dir / manifest.VOCABULARY_NAME} has fingerprint {vocabulary.fingerprint}, the "
            f"shards {prepared.vocabulary_fingerprint}: run imgcap-prepare again"
        )
    return vocabulary


def _with_model_of(base: Path, config: Config, vocabulary: Vocabulary) -> Config:
    found, base_vocabulary = directory.load_run(
        base, "give --finetune_from a directory that imgcap-train wrote"
    )
    if base_vocabulary.fingerprint != vocabulary.fingerprint:
        raise DataError(
            f"--finetune_from={base} has vocabulary {base_vocabulary.fingerprint}, --data_dir "
            f"{vocabulary.fingerprint}: give the data that run was trained on"
        )
    return dataclasses.replace(config, model=found.model)


def _build(prepared: Prepared, strategy: tf.distribute.Strategy) -> _Model:
    config = prepared.config
    planned = examples.plan_data(config, prepared.manifest)
    steps = examples.total_steps(config, planned)
    with strategy.scope():
        captioner = _make_captioner(config, prepared.vocabulary)
        captioner.encoder.set_trainable(
            config.train.finetune_blocks, config.train.batch_norm == "update"
        )
        optimizer = make_optimizer(
            config.train,
            captioner.decoder.trainable_variables,
            captioner.encoder.network.trainable_variables,
            steps,
        )
    objective = make_objective(config, captioner, examples.reference_tokens(planned), steps)
    return _Model(
        captioner,
        optimizer,
        make_train_step(config.train, strategy, captioner, optimizer, objective),
    )


def _make_captioner(config: Config, vocabulary: Vocabulary) -> Captioner:
    if not config.train.finetune_from:
        return make_captioner(config.model, vocabulary)
    captioner = make_captioner(config.model, vocabulary, weights="none")
    restore_best(Path(config.train.finetune_from), captioner)
    return captioner
