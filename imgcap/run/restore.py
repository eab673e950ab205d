"""A run's captioner, with the weights of one of its checkpoints."""

from pathlib import Path

from imgcap.config import Config, load_config
from imgcap.model.captioner import Captioner, join_captioner, make_captioner_encoder
from imgcap.model.precision import dtype_policy
from imgcap.run import checkpoints, directory


def load_captioner(workdir: Path) -> tuple[Captioner, Config]:
    """Reads the captioner of a run at its best checkpoint; no training flag is asked for again.

    The encoder computes in the run's precision (a .keras file's layers in their own), the decoder
    in float32: a search follows the rounding of bfloat16 where two words are about as likely, and
    the caption of an image would hang on the batch and the machine that it was encoded on. For a
    search's small products float32 is no slower.

    Args:
        workdir: the run directory.

    Returns:
        The captioner and the run's config.

    Raises:
        RunError: `workdir` is no run directory or has no whole checkpoint.
    """
    config, vocabulary = directory.load_run(workdir)
    with dtype_policy(config.train.precision):
        encoder = make_captioner_encoder(config.model, weights="none")
    with dtype_policy("float32"):
        captioner = join_captioner(encoder, config.model, vocabulary)
    restore_best(workdir, captioner)
    return captioner, config


def restore_best(workdir: Path, captioner: Captioner) -> None:
    """Reads the weights of a run's best checkpoint into a captioner of the same config.

    Args:
        workdir: the run directory.
        captioner: changed in place.

    Raises:
        RunError: there is no whole checkpoint, or it does not fit.
    """
    restore_step(workdir, captioner, checkpoints.best_step(workdir))


def restore_step(workdir: Path, captioner: Captioner, step: int) -> None:
    """Reads the weights of one checkpoint of a run, the moving average where there is one.

    Args:
        workdir: the run directory.
        captioner: changed in place.
        step: whose checkpoint.

    Raises:
        RunError: there is no such checkpoint, or it does not fit.
    """
    settings = load_config(workdir).train
    encoder = [variable.value for variable in captioner.encoder.variables]
    wanted = {"decoder": [variable.value for variable in captioner.decoder.variables]}
    if settings.finetune_blocks:
        wanted["encoder"] = encoder
    else:
        checkpoints.restore_encoder(workdir, encoder)
    checkpoints.restore(workdir, step, wanted)
    if settings.ema_momentum:
        captioner.encoder.set_trainable(settings.finetune_blocks, settings.batch_norm == "update")
        checkpoints.restore(
            workdir,
            step,
            {"averaged": [variable.value for variable in captioner.trainable_variables]},
        )
