"""Training: epochs, checkpoints, selection by CIDEr of real decoding."""

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from imgcap import checkpoint, data_service, evaluate, manifest, pipeline, runtime
from imgcap import training_data as examples
from imgcap.captioner import Captioner, make_captioner, restore_best
from imgcap.checkpoint import Metrics, Progression
from imgcap.config import Config
from imgcap.errors import DataError, RunError
from imgcap.interruption import Preempted, StopRequest, stop_on_sigterm
from imgcap.manifest import Manifest
from imgcap.objective import make_objective
from imgcap.optimizer import averaged_weights, make_optimizer, moving_averages
from imgcap.progress import Progress
from imgcap.scores import score_captions
from imgcap.train_step import TrainStep, make_train_step
from imgcap.training_data import TrainingData
from imgcap.training_log import TrainingLog
from imgcap.vocabulary import Vocabulary
from imgcap.workers import Workers


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
        """Writes a checkpoint; no worker goes on before it is written."""
        keep = self.config.train.keep_checkpoints
        self.workers.on_chief(lambda: checkpoint.save(self.workdir, self.variables(), progression, keep))

    def last_step(self) -> int:
        """The step at which the run ends if nothing stops it early."""
        return total_steps(self.config, self.data)


def total_steps(config: Config, data: TrainingData) -> int:
    """Steps of the whole run if nothing stops it early."""
    steps = config.train.epochs * data.steps_per_epoch
    return min(steps, config.train.max_steps) if config.train.max_steps else steps


def train(config: Config) -> Progression:
    """Trains, or goes on with, the run in `config.train.workdir`.

    Args:
        config: validated settings.

    Returns:
        Where the run ended.

    Raises:
        ConfigError: an encoder, its weights, a strategy or a data service can't be had.
        DataError: the data is missing or damaged.
        RunError: the run directory is another run's, busy, or can't be written; or the loss is no number.
        Preempted: SIGTERM came; a checkpoint was written.
    """
    prepared = manifest.load_manifest(Path(config.train.data_dir))
    vocabulary = _load_vocabulary(Path(config.train.data_dir), prepared)
    workdir = Path(config.train.workdir)
    if config.train.finetune_from:
        config = _with_model_of(Path(config.train.finetune_from), config, vocabulary)
    data_service.refuse_absent(config.train.data_service)
    strategy = runtime.set_up(config.train)
    workers = Workers(strategy)
    with ExitStack() as held, workers.speaking():
        workers.on_chief(lambda: held.enter_context(checkpoint.locked(workdir)))
        stop = held.enter_context(stop_on_sigterm())
        config = _open_run(workdir, config, prepared, vocabulary, workers)
        try:
            run, progression = _start(config, strategy, workers, prepared, vocabulary, stop)
            progression = _train_on_data(run, progression)
            print(f"wrote {workdir}; next: imgcap-evaluate --workdir={workdir} --data_dir={config.train.data_dir}")
            return progression
        except tf.errors.DataLossError as error:
            raise DataError(
                f"{config.train.data_dir}: a shard is damaged ({error.message[:100]}): run imgcap-prepare into a new "
                "--output_dir"
            ) from None


def _open_run(
    workdir: Path, config: Config, prepared: Manifest, vocabulary: Vocabulary, workers: Workers
) -> Config:
    def open_here() -> Config:
        return checkpoint.open_run(workdir, config, prepared, vocabulary)

    def open_shared() -> Config:
        if not checkpoint.is_run(workdir):
            raise RunError(f"{workdir} is not the chief's: give --workdir a folder that all workers share")
        return open_here()

    workers.on_chief(open_here)
    return workers.together(open_shared)


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
    strategy: tf.distribute.Strategy,
    workers: Workers,
    prepared: Manifest,
    vocabulary: Vocabulary,
    stop: StopRequest,
) -> tuple[Run, Progression]:
    workdir = Path(config.train.workdir)
    progression = workers.together(lambda: checkpoint.latest(workdir) or Progression())
    if len(set(workers.gather(progression.step))) > 1:
        raise RunError(f"the workers find different checkpoints in {workdir}: give --workdir a folder that all share")
    with strategy.scope():
        captioner = _make_captioner(config, vocabulary)
    captioner.encoder.set_trainable(config.train.finetune_blocks, config.train.batch_norm == "update")
    data = examples.make_training_data(config, captioner.encoder, workers, prepared)
    with strategy.scope():
        optimizer = make_optimizer(
            config.train,
            captioner.decoder.trainable_variables,
            captioner.encoder.network.trainable_variables,
            total_steps(config, data),
        )
    metrics = Metrics(workdir if workers.is_chief else None, progression.step)
    objective = make_objective(config, captioner, examples.reference_tokens(data), total_steps(config, data))
    step = make_train_step(config.train, strategy, captioner, optimizer, objective)
    caption = evaluate.make_caption_step(captioner, strategy, config.decode, encoded=data.stored is not None)
    run = Run(config, workdir, strategy, captioner, optimizer, data, metrics, step, caption, stop, workers)
    if progression.step:
        checkpoint.restore(workdir, progression.step, run.variables())
        print(f"resumed {workdir} at step {progression.step}, epoch {progression.epoch + 1}")
    if not config.train.finetune_blocks:
        encoder = [variable.value for variable in captioner.encoder.variables]
        workers.on_chief(lambda: checkpoint.save_encoder(workdir, encoder))
    return run, progression


def _make_captioner(config: Config, vocabulary: Vocabulary) -> Captioner:
    if not config.train.finetune_from:
        return make_captioner(config, vocabulary)
    captioner = make_captioner(config, vocabulary, weights="none")
    restore_best(Path(config.train.finetune_from), captioner)
    return captioner


def _train_on_data(run: Run, progression: Progression) -> Progression:
    settings = run.config.train
    try:
        return _train_epochs(run, progression)
    except tf.errors.DataLossError as error:
        # TensorFlow does not say in which file.
        found = examples.damages(pipeline.survey([*run.data.training_shards(), *run.data.dev_shards()]))
        raise DataError(
            f"{', '.join(found) or error.message[:100]}: a shard is damaged: run imgcap-prepare into a new --output_dir, "
            "or go on without the training records behind the damage by --skip_bad_records"
        ) from None
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise data_service.as_data_error(error, settings.data_service, settings.data_dir) or error from None


def _train_epochs(run: Run, progression: Progression) -> Progression:
    settings, last = run.config.train, run.last_step()
    while progression.epoch < settings.epochs and progression.step < last:
        if settings.patience and progression.epochs_since_best >= settings.patience:
            print(f"stopped: no better dev CIDEr in {settings.patience} epochs (best {progression.best_cider:.1f})")
            break
        progression = _train_epoch(run, progression)
        progression = _evaluate_dev(run, progression)
        run.save(progression)
    print(f"best dev CIDEr {progression.best_cider:.1f} at step {progression.best_step} of {progression.step}")
    return progression


def _train_epoch(run: Run, start: Progression) -> Progression:
    settings, epoch, here = run.config.train, start.epoch + 1, start
    steps = _steps_of_epoch(run, start)
    log = TrainingLog(
        run.metrics, settings.log_every, run.workdir,
        last_step=run.last_step(), captions_per_image=run.data.captions_per_image(),
    )  # fmt: skip
    batches = examples.distribute(
        run.strategy, lambda rows: examples.training_dataset(run.config, run.data, start, rows)
    )
    with Progress(f"epoch {epoch}/{settings.epochs}", steps, "steps") as progress:
        progress.skip(start.batch)
        for batch in log.timed(batches):
            totals = run.step(batch, tf.constant(here.step, tf.int32))
            here = dataclasses.replace(here, step=here.step + 1, batch=here.batch + 1)
            log.add(totals, here.step, epoch)
            progress.advance(1, log.note)
            _save_if_due(run, here, log)
            if here.step >= run.last_step():
                break
    log.flush(here.step, epoch)
    if here.batch < steps and here.step < run.last_step():
        # Fewer than were there when it began: something broke meanwhile.
        _steps_of_epoch(run, here)
    return dataclasses.replace(here, epoch=epoch, batch=0)


def _steps_of_epoch(run: Run, here: Progression) -> int:
    """Global batches of the current epoch; says what is left out of it."""
    if not run.config.train.skip_bad_records:
        return run.data.steps_per_epoch
    found = examples.survey(run.config, run.data)
    if found.lost:
        images = run.data.prepared.images["train"]
        run.metrics.write(step=here.step, epoch=here.epoch + 1, skipped_records=found.lost)
        named = f": {', '.join(found.problems)}" if found.problems else ""
        print(f"epoch {here.epoch + 1}: left out {found.lost} of {images} training images{named}", flush=True)
    if not found.steps:
        raise DataError(f"{run.config.train.data_dir}: no training record can be read: run imgcap-prepare again")
    return found.steps


def _save_if_due(run: Run, here: Progression, log: TrainingLog) -> None:
    every = run.config.train.checkpoint_every
    # Asked at every step: workers that stop at different steps would wait for each other for ever.
    stopping = run.workers.any(run.stop.received)
    if stopping or (every and here.step % every == 0):
        # First the loss is looked at: a run that has become NaN must not replace a good checkpoint.
        log.flush(here.step, here.epoch + 1)
        run.save(here)
    if stopping:
        raise Preempted(f"stopped by SIGTERM at step {here.step}, checkpoint written: the same command goes on")


def _evaluate_dev(run: Run, progression: Progression) -> Progression:
    references = run.data.references
    with averaged_weights(run.optimizer, run.captioner.trainable_variables):
        dataset = examples.distribute(run.strategy, lambda rows: examples.dev_dataset(run.config, run.data, rows))
        generated = evaluate.generate(run.caption, dataset, len(references), run.config.decode)
    captions = evaluate.texts(run.captioner, generated)
    candidates = {reference.image_id: caption for reference, caption in zip(references, captions, strict=True)}
    scores = score_captions(
        candidates, {reference.image_id: reference.captions for reference in references}, bootstrap_samples=0
    )
    run.metrics.write(
        step=progression.step, epoch=progression.epoch, dev_cider=scores["cider"], dev_bleu_4=scores["bleu_4"]
    )
    print(f"epoch {progression.epoch}: dev CIDEr {scores['cider']:.1f}, BLEU-4 {scores['bleu_4']:.1f}", flush=True)
    if scores["cider"] > progression.best_cider:
        return dataclasses.replace(
            progression, best_cider=scores["cider"], best_step=progression.step, epochs_since_best=0
        )
    return dataclasses.replace(progression, epochs_since_best=progression.epochs_since_best + 1)
