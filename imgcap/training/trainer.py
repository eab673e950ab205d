"""The parts of a training run, and how it starts or goes on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap.config import Config, TrainConfig
from imgcap.data.manifest import VOCABULARY_NAME, Manifest, load_manifest
from imgcap.data.text.ngrams import MAX_VOCABULARY
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import DataError, RunError
from imgcap.evaluation.frequencies import count_frequencies
from imgcap.evaluation.generate import CaptionStep, make_caption_step
from imgcap.files.locations import join
from imgcap.model.captioner import Captioner, make_captioner
from imgcap.model.encoder import load_network
from imgcap.model.encoder_file import KERAS_SUFFIX, describe_rebuilding
from imgcap.model.search.cider_reward import CiderReward
from imgcap.run import checkpoints, directory
from imgcap.run.checkpoints import Progression
from imgcap.run.identity import refuse_ensemble
from imgcap.run.metrics import Metrics
from imgcap.run.pretrained import resolve_run
from imgcap.run.restore import load_reward, restore_best
from imgcap.training.dry_run import describe_plan
from imgcap.training.extension import extend_captioner, refuse_other_words
from imgcap.training.inputs import examples
from imgcap.training.inputs.examples import TrainingData
from imgcap.training.length import choose_length
from imgcap.training.machines.interruption import StopRequest
from imgcap.training.machines.strategy import set_up
from imgcap.training.machines.workers import Workers
from imgcap.training.objective import make_objective
from imgcap.training.objective.distillation import (
    Teacher,
    keep_teacher,
    load_teacher,
    refuse_other_teacher_words,
)
from imgcap.training.optimizer import make_optimizer, moving_averages
from imgcap.training.step import TrainStep, make_train_step
from imgcap.training.watching.tensorboard import Board
from imgcap.training.watching.warning_signs import warn_of_size

COUNTED_IMAGES = 200_000
"""Training images whose n-grams are counted for any run, in 2 minutes; of a million in 12, and in
some GB of memory.
"""


class Run(NamedTuple):
    """Everything a run needs while it runs.

    Attributes:
        config: of the run.
        workdir: the run directory.
        strategy: that shares the steps.
        captioner: that is trained.
        optimizer: built on the captioner's trainable variables.
        data: the examples.
        metrics: writes metrics.jsonl.
        step: takes one training step.
        caption: captions one batch of dev images.
        stop: asked between steps.
        workers: all that share the run.
        board: TensorBoard's event files, if they are asked for.
    """

    config: Config
    workdir: Path
    strategy: tf.distribute.Strategy
    captioner: Captioner
    optimizer: keras.optimizers.Optimizer
    data: TrainingData
    metrics: Metrics
    step: TrainStep
    caption: CaptionStep
    stop: StopRequest
    workers: Workers
    board: Board | None = None

    def variables(self) -> checkpoints.Variables:
        """All that a checkpoint holds beside `Progression`, by name."""
        saved = {
            "decoder": checkpoints.tf_variables(self.captioner.decoder.variables),
            "optimizer": checkpoints.tf_variables(self.optimizer.variables),
        }
        if self.config.train.finetune_blocks:
            saved["encoder"] = checkpoints.tf_variables(self.captioner.encoder.variables)
        averages = moving_averages(self.optimizer)
        return {**saved, "averaged": averages} if averages else saved

    def save(self, progression: Progression) -> None:
        """Writes a checkpoint; no worker goes on before it is written."""
        keep = self.config.train.keep_checkpoints
        self.workers.on_chief(
            lambda: checkpoints.save(self.workdir, self.variables(), progression, keep)
        )

    def write(self, **values: float) -> None:
        """Writes a line of numbers to metrics.jsonl and to TensorBoard."""
        self.metrics.write(**values)
        if self.board:
            self.board.scalars(**values)

    def write_step(self, **values: float) -> None:
        """Writes a line of numbers about training, with the learning rate of the next step."""
        rate = keras.ops.convert_to_numpy(self.optimizer.learning_rate)
        self.write(**values, learning_rate=float(rate))

    def last_step(self) -> int:
        """The step at which the run ends if nothing stops it early."""
        return examples.total_steps(self.config.train, self.data)


class Prepared(NamedTuple):
    """Everything that a run reads before it starts.

    Attributes:
        config: of the run; with the model settings of the run that it is tuned from, if any, and
            with the number of epochs.
        manifest: of the image shards.
        vocabulary: of the captions.
    """

    config: Config
    manifest: Manifest
    vocabulary: Vocabulary


class _Model(NamedTuple):
    """The captioner, and the parts that train it.

    Attributes:
        captioner: that is trained.
        optimizer: built on the captioner's trainable variables.
        step: takes one training step.
        teacher: that a distilled run learns from.
    """

    captioner: Captioner
    optimizer: keras.optimizers.Optimizer
    step: TrainStep
    teacher: Teacher | None


def load_data(config: Config) -> Prepared:
    """Reads all that can be read before the machine is set up.

    Args:
        config: validated settings.

    Returns:
        The settings to go on with, the number of epochs chosen, and the data's manifest and
        vocabulary.

    Raises:
        DataError: the data is missing, its vocabulary was changed, or the run to start from has
            words that do not stand at the front of it.
        RunError: the run to start from or the teacher is no run directory, or the teacher has other
            words.
    """
    data_dir = config.train.data_dir
    manifest = load_manifest(data_dir)
    vocabulary = _load_vocabulary(data_dir, manifest)
    if config.train.finetune_from:
        config = _with_model_of(config.train.finetune_from, config, vocabulary)
    if config.train.teacher:
        refuse_other_teacher_words(config.train.teacher, vocabulary)
    return Prepared(choose_length(config, manifest), manifest, vocabulary)


def open_run(prepared: Prepared, workers: Workers) -> Prepared:
    """Makes the run directory, or checks the one found; the chief first, then the other workers.

    Args:
        prepared: from `load_data`.
        workers: all that share the run.

    Returns:
        The same; the encoder file, if any, is the run's own copy.

    Raises:
        ConfigError: the encoder's file cannot be loaded.
        RunError: the directory is another run's, or not the chief's; or the teacher has another
            encoder.
    """
    workdir = Path(prepared.config.train.workdir)

    def open_here() -> Config:
        if not directory.is_run(workdir):
            # Before anything is written, and by the names that were given.
            _refuse_what_cannot_be_loaded(prepared)
        return directory.open_run(workdir, *prepared)

    def open_shared() -> Config:
        if not directory.is_run(workdir):
            raise RunError(
                f"{workdir} is not the chief's: give --workdir a folder that all workers share"
            )
        return open_here()

    workers.on_chief(open_here)
    return prepared._replace(config=workers.together(open_shared))


def _refuse_what_cannot_be_loaded(prepared: Prepared) -> None:
    """Raises ConfigError or RunError if a new run's encoder or teacher cannot be loaded."""
    config = prepared.config
    if config.train.teacher:
        _load_teacher(config.train, _make_captioner(config, prepared.vocabulary))
    elif config.model.encoder.endswith(KERAS_SUFFIX):
        load_network(config.model)
        if note := describe_rebuilding(Path(config.model.encoder), config.model.image_size):
            print(note)
    # Loading draws random numbers, and the run's begin with the first.
    keras.utils.set_random_seed(config.train.seed)


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
        ConfigError: an encoder or its weights cannot be loaded.
        DataError: a split is empty.
        RunError: the checkpoint does not fit, or the workers do not share their directory.
        tf.errors.DataLossError: a shard is damaged.
    """
    config = prepared.config
    workdir = Path(config.train.workdir)
    progression = workers.together(lambda: checkpoints.latest(workdir) or Progression())
    if len(set(workers.gather(progression.step))) > 1:
        raise RunError(
            f"the workers find different checkpoints in {workdir}: give --workdir a folder that "
            "all share"
        )

    def reward_of_run() -> CiderReward | None:
        workers.on_chief(lambda: _keep_frequencies(prepared))
        return workers.together(lambda: _find_reward(prepared))

    captioner, optimizer, step, teacher = _build(prepared, strategy, reward_of_run)
    if teacher:
        _keep_teacher(config.train, teacher, workers)
    _warn_of_size(prepared)
    data = examples.make_training_data(
        config.train, config.model.image_size, captioner.encoder, workers, prepared.manifest
    )
    metrics = Metrics(workdir if workers.is_chief else None, progression.step)
    caption = make_caption_step(captioner, strategy, config.decode, encoded=data.stored is not None)
    run = Run(
        config, workdir, strategy, captioner, optimizer, data, metrics, step, caption, stop, workers
    )
    if progression.step:
        # Whoever killed the run may have done so before this.
        keep = config.train.keep_checkpoints
        workers.on_chief(lambda: checkpoints.prune(workdir, progression.needed, keep))
        checkpoints.restore(workdir, progression.step, run.variables())
        print(f"resumed {workdir} at step {progression.step}, epoch {progression.epoch + 1}")
    if not config.train.finetune_blocks:
        encoder = checkpoints.tf_variables(captioner.encoder.variables)
        workers.on_chief(lambda: checkpoints.save_encoder(workdir, encoder))
    return run, progression


def _keep_frequencies(prepared: Prepared) -> None:
    """Counts the n-grams of the training captions for a run, unless an earlier call has done so.

    Nothing is kept if a shard cannot be read, since the first epoch says what is wrong with it, nor
    if the vocabulary has too many n-grams, which matters only to a search or a reward by CIDEr-D.
    Of very many images the n-grams are counted for those alone: evaluation counts them if asked to.
    """
    train, manifest, words = prepared.config.train, prepared.manifest, prepared.vocabulary
    path = Path(train.workdir) / directory.FREQUENCIES
    if path.exists() or len(words) > MAX_VOCABULARY:
        return
    shards = _plan_data(prepared).image_shards(examples.TRAIN)
    images = manifest.images[examples.TRAIN]
    if images > COUNTED_IMAGES and not _needs_reward(prepared.config):
        return
    try:
        found = count_frequencies(shards, images, len(words), skip_bad=train.skip_bad_records)
    except tf.errors.OpError:
        return
    found.save(path, words)


def _needs_reward(config: Config) -> bool:
    """Whether CIDEr-D is what a run's search chooses by or its objective raises."""
    return config.decode.needs_reward or config.train.objective == "scst"


def _find_reward(prepared: Prepared) -> CiderReward | None:
    """Loads CIDEr-D by the run's document frequencies, if its search or objective needs it."""
    config = prepared.config
    if not _needs_reward(config):
        return None
    return load_reward(Path(config.train.workdir), prepared.vocabulary)


def plan(config: Config) -> str:
    """Describes what the run would be, with time and memory of a few steps; nothing is written.

    Args:
        config: validated settings.

    Returns:
        Some lines of text.

    Raises:
        ConfigError: an encoder or its weights cannot be loaded, or the strategy cannot be used.
        DataError: the data is missing or damaged.
    """
    prepared = load_data(config)
    strategy = set_up(prepared.config.train)
    model = _build(prepared, strategy)
    _warn_of_size(prepared)
    return describe_plan(prepared.config, strategy, prepared.manifest, model.captioner, model.step)


def _plan_data(prepared: Prepared) -> TrainingData:
    config = prepared.config
    return examples.plan_data(config.train, config.model.image_size, prepared.manifest)


def _warn_of_size(prepared: Prepared) -> None:
    train = prepared.config.train
    warn_of_size(examples.total_steps(train, _plan_data(prepared)), train.epochs, prepared.manifest)


def _load_vocabulary(data_dir: str, manifest: Manifest) -> Vocabulary:
    path = join(data_dir, VOCABULARY_NAME)
    vocabulary = Vocabulary.load(path, manifest.tokenizer)
    if vocabulary.fingerprint != manifest.vocabulary_fingerprint:
        raise DataError(
            f"{path} has fingerprint {vocabulary.fingerprint}, the shards "
            f"{manifest.vocabulary_fingerprint}: run imgcap-prepare again"
        )
    return vocabulary


def _with_model_of(base: str, config: Config, vocabulary: Vocabulary) -> Config:
    found, known = directory.load_run(
        resolve_run(base), "give --finetune_from a directory that imgcap-train wrote"
    )
    refuse_ensemble(resolve_run(base), "tune its members, and make an ensemble of the tuned ones")
    refuse_other_words(base, known, vocabulary)
    return dataclasses.replace(config, model=found.model)


def _build(
    prepared: Prepared,
    strategy: tf.distribute.Strategy,
    find_reward: Callable[[], CiderReward | None] = lambda: None,
) -> _Model:
    """Builds the captioner and what trains it.

    Args:
        prepared: from `load_data`.
        strategy: of the run.
        find_reward: makes the captioner's CIDEr-D; called when the captioner could be built.
    """
    config = prepared.config
    planned = _plan_data(prepared)
    steps = examples.total_steps(config.train, planned)
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
        # After the captioner, whose first weights are then the same as without a teacher.
        teacher = _load_teacher(config.train, captioner)
    captioner.reward = find_reward()
    objective = make_objective(
        config.train, config.decode, captioner, examples.reference_tokens(planned), steps, teacher
    )
    step = make_train_step(config.train, strategy, captioner, optimizer, objective)
    return _Model(captioner, optimizer, step, teacher)


def _keep_teacher(train: TrainConfig, teacher: Teacher, workers: Workers) -> None:
    """Notes a run's teacher on its first start, and has every worker check that it is that one."""

    def keep() -> None:
        keep_teacher(Path(train.workdir), train.teacher, teacher)

    workers.on_chief(keep)
    workers.together(keep)


def _load_teacher(train: TrainConfig, captioner: Captioner) -> Teacher | None:
    """Loads the teacher of a distilled run, which reads the features of the captioner's encoder."""
    if not train.teacher:
        return None
    return load_teacher(train.teacher, captioner.encoder, train.precision)


def _make_captioner(config: Config, vocabulary: Vocabulary) -> Captioner:
    if not config.train.finetune_from:
        return make_captioner(config.model, vocabulary)
    base = resolve_run(config.train.finetune_from)
    known = directory.load_run(base)[1]
    captioner = make_captioner(config.model, known, weights="none")
    restore_best(base, captioner)
    if len(vocabulary) == len(known):
        return captioner
    return extend_captioner(captioner, config.model, vocabulary)
