"""Training: epochs, checkpoints, selection by CIDEr of real decoding."""

import dataclasses
import time
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap import checkpoint, evaluate, manifest, profiling, runtime, tensorboard, training_summary
from imgcap import training_data as examples
from imgcap.captioner import Captioner, make_captioner, restore_best
from imgcap.checkpoint import Metrics, Progression
from imgcap.config import Config, ShowConfig
from imgcap.errors import DataError
from imgcap.interruption import Preempted, StopRequest, stop_on_sigterm
from imgcap.manifest import Manifest
from imgcap.optimizer import averaged_weights, make_optimizer, moving_averages
from imgcap.plan import describe_plan
from imgcap.profiling import StepProfiler
from imgcap.progress import Progress
from imgcap.scores import score_captions
from imgcap.tensorboard import Board
from imgcap.train_step import TrainStep, make_train_step
from imgcap.training_data import TrainingData
from imgcap.training_log import TrainingLog
from imgcap.vocabulary import Vocabulary


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
    board: Board | None

    def variables(self) -> checkpoint.Variables:
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
        """Writes a checkpoint."""
        checkpoint.save(self.workdir, self.variables(), progression, self.config.train.keep_checkpoints)

    def write(self, **values: float) -> None:
        """Writes a line of numbers wherever they are looked at."""
        self.metrics.write(**values)
        if self.board:
            self.board.scalars(**values)

    def last_step(self) -> int:
        """The step at which the run ends if nothing stops it early."""
        return examples.total_steps(self.config, self.data)


class _Prepared(NamedTuple):
    """What a run starts from; the config has the model settings of the run it continues, if any."""

    config: Config
    manifest: Manifest
    vocabulary: Vocabulary


class _Model(NamedTuple):
    """What is trained, and how."""

    captioner: Captioner
    optimizer: keras.optimizers.Optimizer
    step: TrainStep


def train(config: Config, show: ShowConfig | None = None) -> Progression:
    """Trains, or goes on with, the run in `config.train.workdir`.

    Args:
        config: validated settings.
        show: validated too; what to show of this call.

    Returns:
        Where the run ended.

    Raises:
        ConfigError: an encoder, its weights or a strategy can't be had.
        DataError: the data is missing or damaged.
        RunError: the run directory is another run's, busy, or can't be written; or the loss is no number.
        Preempted: SIGTERM came; a checkpoint was written.
    """
    config, prepared, vocabulary = _load_data(config)
    workdir, strategy = Path(config.train.workdir), runtime.set_up(config.train)
    with checkpoint.locked(workdir), stop_on_sigterm() as stop:
        config = checkpoint.open_run(workdir, config, prepared, vocabulary)
        try:
            run, progression = _start(config, workdir, strategy, prepared, vocabulary, stop)
            return _train_and_show(run, progression, show or ShowConfig())
        except tf.errors.DataLossError as error:
            raise DataError(
                f"{config.train.data_dir}: a shard is damaged ({error.message[:100]}): run imgcap-prepare into a new "
                "--output_dir"
            ) from None


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
    config, prepared, vocabulary = _load_data(config)
    strategy = runtime.set_up(config.train)
    model = _build(config, strategy, prepared, vocabulary)
    return describe_plan(config, strategy, prepared, model.captioner, model.step)


def _load_data(config: Config) -> _Prepared:
    data_dir = Path(config.train.data_dir)
    prepared = manifest.load_manifest(data_dir)
    vocabulary = _load_vocabulary(data_dir, prepared)
    if config.train.finetune_from:
        config = _with_model_of(Path(config.train.finetune_from), config, vocabulary)
    return _Prepared(config, prepared, vocabulary)


def _load_vocabulary(data_dir: Path, prepared: Manifest) -> Vocabulary:
    vocabulary = Vocabulary.load(data_dir / manifest.VOCABULARY_NAME)
    if vocabulary.fingerprint != prepared.vocabulary_fingerprint:
        raise DataError(
            f"{data_dir / manifest.VOCABULARY_NAME} has fingerprint {vocabulary.fingerprint}, the shards "
            f"{prepared.vocabulary_fingerprint}: run imgcap-prepare again"
        )
    return vocabulary


def _with_model_of(base: Path, config: Config, vocabulary: Vocabulary) -> Config:
    found, base_vocabulary = checkpoint.load_run(base)
    if base_vocabulary.fingerprint != vocabulary.fingerprint:
        raise DataError(
            f"--finetune_from={base} has vocabulary {base_vocabulary.fingerprint}, --data_dir "
            f"{vocabulary.fingerprint}: give the data that run was trained on"
        )
    return dataclasses.replace(config, model=found.model)


def _start(
    config: Config,
    workdir: Path,
    strategy: tf.distribute.Strategy,
    prepared: Manifest,
    vocabulary: Vocabulary,
    stop: StopRequest,
) -> tuple[Run, Progression]:
    progression = checkpoint.latest(workdir) or Progression()
    captioner, optimizer, step = _build(config, strategy, prepared, vocabulary)
    data = examples.make_training_data(config, captioner.encoder, strategy.num_replicas_in_sync, prepared)
    metrics = Metrics(workdir, progression.step)
    caption = evaluate.make_caption_step(captioner, strategy, config.decode, encoded=data.stored is not None)
    run = Run(config, workdir, strategy, captioner, optimizer, data, metrics, step, caption, stop, board=None)
    if progression.step:
        checkpoint.restore(workdir, progression.step, run.variables())
        print(f"resumed {workdir} at step {progression.step}, epoch {progression.epoch + 1}")
    if not config.train.finetune_blocks:
        checkpoint.save_encoder(workdir, [variable.value for variable in captioner.encoder.variables])
    return run, progression


def _build(
    config: Config, strategy: tf.distribute.Strategy, prepared: Manifest, vocabulary: Vocabulary
) -> _Model:
    steps = examples.total_steps(config, examples.plan_data(config, strategy.num_replicas_in_sync, prepared))
    with strategy.scope():
        captioner = _make_captioner(config, vocabulary)
        captioner.encoder.set_trainable(config.train.finetune_blocks, config.train.batch_norm == "update")
        optimizer = make_optimizer(
            config.train,
            captioner.decoder.trainable_variables,
            captioner.encoder.network.trainable_variables,
            steps,
        )
    return _Model(captioner, optimizer, make_train_step(config.train, strategy, captioner, optimizer))


def _make_captioner(config: Config, vocabulary: Vocabulary) -> Captioner:
    if not config.train.finetune_from:
        return make_captioner(config, vocabulary)
    captioner = make_captioner(config, vocabulary, weights="none")
    restore_best(Path(config.train.finetune_from), captioner)
    return captioner


def _train_and_show(run: Run, progression: Progression, show: ShowConfig) -> Progression:
    chief, events = runtime.is_chief(), run.workdir / tensorboard.FOLDER
    if show.tensorboard and chief:
        run = run._replace(board=Board(events, examples.samples(run.data)))
        print(tensorboard.remark(events))
    with StepProfiler(run.workdir / profiling.FOLDER, show.profiled_span() if chief else None) as profiler:
        progression = _train_epochs(run, progression, profiler)
    if chief:
        metrics = training_summary.read_metrics(run.workdir / checkpoint.METRICS)
        print(training_summary.make_table(training_summary.summarise(metrics)))
        training_summary.write_curves(run.workdir / training_summary.CURVES, metrics)
    return progression


def _train_epochs(run: Run, progression: Progression, profiler: StepProfiler) -> Progression:
    settings, last = run.config.train, run.last_step()
    while progression.epoch < settings.epochs and progression.step < last:
        if settings.patience and progression.epochs_since_best >= settings.patience:
            print(f"stopped: no better dev CIDEr in {settings.patience} epochs (best {progression.best_cider:.1f})")
            break
        started = time.monotonic()
        progression = _train_epoch(run, progression, profiler)
        progression = _evaluate_dev(run, progression, started)
        run.save(progression)
    print(f"best dev CIDEr {progression.best_cider:.1f} at step {progression.best_step} of {progression.step}")
    return progression


def _train_epoch(run: Run, start: Progression, profiler: StepProfiler) -> Progression:
    settings, epoch, here = run.config.train, start.epoch + 1, start
    log = TrainingLog(
        run.write, settings.log_every, run.workdir,
        last_step=run.last_step(), captions_per_image=run.data.captions_per_image(),
    )  # fmt: skip
    batches = examples.distribute(
        run.strategy, lambda rows: examples.training_dataset(run.config, run.data, start, rows)
    )
    with Progress(f"epoch {epoch}/{settings.epochs}", run.data.steps_per_epoch, "steps") as progress:
        progress.skip(start.batch)
        for batch in log.timed(batches):
            with profiler.step(here.step + 1):
                totals = run.step(batch, tf.constant(here.step, tf.int32))
            here = dataclasses.replace(here, step=here.step + 1, batch=here.batch + 1)
            log.add(totals, here.step, epoch)
            progress.advance(1, log.note)
            _save_if_due(run, here, log)
            if here.step >= run.last_step():
                break
    log.flush(here.step, epoch)
    return dataclasses.replace(here, epoch=epoch, batch=0)


def _save_if_due(run: Run, here: Progression, log: TrainingLog) -> None:
    every = run.config.train.checkpoint_every
    if run.stop.received or (every and here.step % every == 0):
        # First the loss is looked at: a run that has become NaN must not replace a good checkpoint.
        log.flush(here.step, here.epoch + 1)
        run.save(here)
    if run.stop.received:
        raise Preempted(f"stopped by SIGTERM at step {here.step}, checkpoint written: the same command goes on")


def _evaluate_dev(run: Run, progression: Progression, started: float) -> Progression:
    references = run.data.references
    with averaged_weights(run.optimizer, run.captioner.trainable_variables):
        dataset = examples.distribute(run.strategy, lambda rows: examples.dev_dataset(run.config, run.data, rows))
        generated = evaluate.generate(run.caption, dataset, len(references), run.config.decode)
    captions = evaluate.texts(run.captioner, generated)
    candidates = {reference.image_id: caption for reference, caption in zip(references, captions, strict=True)}
    scores = score_captions(
        candidates, {reference.image_id: reference.captions for reference in references}, bootstrap_samples=0
    )
    run.write(
        step=progression.step, epoch=progression.epoch, dev_cider=scores["cider"], dev_bleu_4=scores["bleu_4"],
        seconds=time.monotonic() - started,
    )  # fmt: skip
    if run.board:
        run.board.captions(progression.step, captions[: examples.SAMPLES])
    print(f"epoch {progression.epoch}: dev CIDEr {scores['cider']:.1f}, BLEU-4 {scores['bleu_4']:.1f}", flush=True)
    if scores["cider"] > progression.best_cider:
        return dataclasses.replace(
            progression, best_cider=scores["cider"], best_step=progression.step, epochs_since_best=0
        )
    return dataclasses.replace(progression, epochs_since_best=progression.epochs_since_best + 1)
