"""Training: epochs, checkpoints, selection by CIDEr of real decoding."""

import dataclasses
import time
from contextlib import ExitStack
from pathlib import Path

import tensorflow as tf

from imgcap.config import Config, ShowConfig
from imgcap.data import data_service, shards
from imgcap.errors import DataError
from imgcap.evaluation import evaluate
from imgcap.evaluation.scores import score_captions
from imgcap.progress import Progress
from imgcap.run import directory
from imgcap.run.checkpoints import Progression
from imgcap.run.metrics import METRICS
from imgcap.training import trainer
from imgcap.training.inputs import examples
from imgcap.training.machines.interruption import Preempted, stop_on_sigterm
from imgcap.training.machines.strategy import set_up
from imgcap.training.machines.workers import Workers
from imgcap.training.optimizer import averaged_weights
from imgcap.training.trainer import Run
from imgcap.training.watching import curves, profiling, tensorboard
from imgcap.training.watching.profiling import StepProfiler
from imgcap.training.watching.tensorboard import Board
from imgcap.training.watching.training_log import TrainingLog


def train(config: Config, show: ShowConfig | None = None) -> Progression:
    """Trains, or goes on with, the run in `config.train.workdir`.

    Args:
        config: validated settings.
        show: validated too; what to show of this call.

    Returns:
        Where the run ended.

    Raises:
        ConfigError: an encoder, its weights, a strategy or a data service can't be had.
        DataError: the data is missing or damaged.
        RunError: the run directory is another run's, busy, or can't be written; or the loss is no
            number.
        Preempted: SIGTERM came; a checkpoint was written.
    """
    prepared, workdir = trainer.load_data(config), Path(config.train.workdir)
    data_service.refuse_absent(config.train.data_service)
    strategy = set_up(config.train)
    workers = Workers(strategy)
    with ExitStack() as held, workers.speaking():
        workers.on_chief(lambda: held.enter_context(directory.locked(workdir)))
        stop = held.enter_context(stop_on_sigterm())
        prepared = trainer.open_run(prepared, workers)
        try:
            run, progression = trainer.start(prepared, strategy, workers, stop)
            progression = _train_on_data(run, progression, show or ShowConfig())
            print(
                f"wrote {workdir}; next: imgcap-evaluate --workdir={workdir} "
                f"--data_dir={config.train.data_dir}"
            )
            return progression
        except tf.errors.DataLossError as error:
            raise DataError(
                f"{config.train.data_dir}: a shard is damaged ({error.message[:100]}): run "
                "imgcap-prepare into a new --output_dir"
            ) from None


def _train_on_data(run: Run, progression: Progression, show: ShowConfig) -> Progression:
    settings = run.config.train
    try:
        return _train_and_show(run, progression, show)
    except tf.errors.DataLossError as error:
        # TensorFlow does not say in which file.
        found = examples.damages(
            shards.survey([*run.data.training_shards(), *run.data.dev_shards()])
        )
        raise DataError(
            f"{', '.join(found) or error.message[:100]}: a shard is damaged: run imgcap-prepare "
            "into a new --output_dir, or go on without the training records behind the damage by "
            "--skip_bad_records"
        ) from None
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise (
            data_service.as_data_error(error, settings.data_service, settings.data_dir) or error
        ) from None


def _train_and_show(run: Run, progression: Progression, show: ShowConfig) -> Progression:
    chief, events = run.workers.is_chief, run.workdir / tensorboard.FOLDER
    if show.tensorboard and chief:
        run = run._replace(board=Board(events, examples.samples(run.data)))
        print(tensorboard.remark(events))
    with StepProfiler(
        run.workdir / profiling.FOLDER, show.profiled_span() if chief else None
    ) as profiler:
        progression = _train_epochs(run, progression, profiler)
    if chief:
        lines = curves.read_metrics(run.workdir / METRICS)
        print(curves.make_table(curves.summarise(lines)))
        curves.write_curves(run.workdir / curves.CURVES, lines)
    return progression


def _train_epochs(run: Run, progression: Progression, profiler: StepProfiler) -> Progression:
    settings, last = run.config.train, run.last_step()
    while progression.epoch < settings.epochs and progression.step < last:
        if settings.patience and progression.epochs_since_best >= settings.patience:
            print(
                f"stopped: no better dev CIDEr in {settings.patience} epochs (best "
                f"{progression.best_cider:.1f})"
            )
            break
        started = time.monotonic()
        progression = _train_epoch(run, progression, profiler)
        progression = _evaluate_dev(run, progression, started)
        run.save(progression)
    print(
        f"best dev CIDEr {progression.best_cider:.1f} at step {progression.best_step} of "
        f"{progression.step}"
    )
    return progression


def _train_epoch(run: Run, start: Progression, profiler: StepProfiler) -> Progression:
    settings, epoch, here = run.config.train, start.epoch + 1, start
    steps = _steps_of_epoch(run, start)
    log = TrainingLog(
        run.write,
        settings.log_every,
        run.workdir,
        last_step=run.last_step(),
        captions_per_image=run.data.captions_per_image(),
        rewarded=settings.objective == "scst",
    )
    batches = examples.distribute(
        run.strategy, lambda rows: examples.training_dataset(run.config, run.data, start, rows)
    )
    with Progress(f"epoch {epoch}/{settings.epochs}", steps, "steps") as progress:
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
        run.write(step=here.step, epoch=here.epoch + 1, skipped_records=found.lost)
        named = f": {', '.join(found.problems)}" if found.problems else ""
        print(
            f"epoch {here.epoch + 1}: left out {found.lost} of {images} training images{named}",
            flush=True,
        )
    if not found.steps:
        raise DataError(
            f"{run.config.train.data_dir}: no training record can be read: run imgcap-prepare again"
        )
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
        raise Preempted(
            f"stopped by SIGTERM at step {here.step}, checkpoint written: the same command goes on"
        )


def _evaluate_dev(run: Run, progression: Progression, started: float) -> Progression:
    references = run.data.references
    with averaged_weights(run.optimizer, run.captioner.trainable_variables):
        dataset = examples.distribute(
            run.strategy, lambda rows: examples.dev_dataset(run.config, run.data, rows)
        )
        generated = evaluate.generate(run.caption, dataset, len(references), run.config.decode)
    captions = evaluate.texts(run.captioner, generated)
    candidates = {
        reference.image_id: caption for reference, caption in zip(references, captions, strict=True)
    }
    scores = score_captions(
        candidates,
        {reference.image_id: reference.captions for reference in references},
        bootstrap_samples=0,
    )
    run.write(
        step=progression.step,
        epoch=progression.epoch,
        dev_cider=scores["cider"],
        dev_bleu_4=scores["bleu_4"],
        seconds=time.monotonic() - started,
    )
    if run.board:
        run.board.captions(progression.step, captions[: examples.SAMPLES])
    print(
        f"epoch {progression.epoch}: dev CIDEr {scores['cider']:.1f}, BLEU-4 "
        f"{scores['bleu_4']:.1f}",
        flush=True,
    )
    if scores["cider"] > progression.best_cider:
        return dataclasses.replace(
            progression, best_cider=scores["cider"], best_step=progression.step, epochs_since_best=0
        )
    return dataclasses.replace(progression, epochs_since_best=progression.epochs_since_best + 1)
