"""Loading the captioner of a run with the weights of one of its checkpoints."""

from pathlib import Path

from imgcap.config import Config, ModelConfig
from imgcap.data.text.ngrams import DocumentFrequencies
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import RunError
from imgcap.model.captioner import Captioner, join_captioner, make_captioner_encoder
from imgcap.model.decoders import Ensemble, make_decoder
from imgcap.model.encoder import Encoder
from imgcap.model.precision import dtype_policy
from imgcap.model.search.cider_reward import CiderReward
from imgcap.run import checkpoints, directory
from imgcap.run.config_file import load_config
from imgcap.run.identity import Members, is_packed, read_members
from imgcap.run.pretrained import resolve_run


def load_captioner(workdir: Path | str) -> tuple[Captioner, Config]:
    """Loads the captioner of a run with the weights of its best checkpoint.

    The run directory holds all settings, so nothing else is asked for::

        from pathlib import Path

        from imgcap.data.image import decode
        from imgcap.run import load_captioner

        captioner, config = load_captioner("runs/first")
        image = decode(Path("photo.jpg").read_bytes(), config.model.image_size)[None]
        captions = captioner.caption_features(captioner.encoder(image), config.decode)
        print(captioner.to_text(captions.tokens)[0, 0].numpy().decode())  # the best caption

    The encoder computes in the run's precision (a .keras file's layers in their own), the decoder
    in float32. If two words are about equally likely, a search in bfloat16 follows the rounding,
    and the caption of an image would depend on the batch and the machine that it was encoded on.
    For a search's small products float32 is no slower. Keras' precision policy is left as it was.

    Args:
        workdir: the run directory, written by `imgcap-train` or made of such runs; a text may name
            a captioner of the package, such as 'pretrained:flickr8k'.

    Returns:
        The captioner and the run's config; `config.decode` is the search chosen for it.

    Raises:
        RunError: `workdir` is no run directory, is broken, or has no whole checkpoint yet.
        ConfigError: its config is of another version of imgcap.
    """
    if isinstance(workdir, str):
        workdir = resolve_run(workdir)
    config, vocabulary = directory.load_run(workdir)
    with dtype_policy(config.train.precision):
        encoder = make_captioner_encoder(config.model, weights="none")
    with dtype_policy("float32"):
        captioner = _join(encoder, config.model, vocabulary, read_members(workdir))
    if is_packed(workdir):
        # Its encoder was read a moment ago with the weights that are in its file.
        _restore_packed(workdir, captioner, checkpoints.best_step(workdir), read_encoder=False)
    else:
        restore_best(workdir, captioner)
    captioner.reward = load_reward(workdir, vocabulary)
    return captioner, config


def _join(
    encoder: Encoder, model: ModelConfig, vocabulary: Vocabulary, ensemble: Members | None
) -> Captioner:
    """Builds the captioner of a run on its encoder, with new weights of one decoder or several.

    Args:
        encoder: of the run.
        model: settings of the decoder if there is one.
        vocabulary: of the run.
        ensemble: settings of the decoders if there are several, else None.
    """
    if ensemble is None:
        return join_captioner(encoder, model, vocabulary)
    members = ensemble.members
    decoders = [
        make_decoder(member.model, len(vocabulary), encoder.features_shape) for member in members
    ]
    weights = [member.weight for member in members]
    return Captioner(encoder, Ensemble(decoders, weights, ensemble.mean_of), vocabulary)


def load_reward(workdir: Path, vocabulary: Vocabulary) -> CiderReward | None:
    """Loads the CIDEr-D by which a captioner of a run may choose among captions.

    Args:
        workdir: the run directory.
        vocabulary: of the run.

    Returns:
        CIDEr-D by the document frequencies of the training images; None if the run has none.

    Raises:
        DataError: the file of the document frequencies is damaged.
    """
    path = workdir / directory.FREQUENCIES
    return CiderReward(DocumentFrequencies.load(path, vocabulary)) if path.exists() else None


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
    """Reads the weights of one checkpoint of a run, or their moving average if one was kept.

    Args:
        workdir: the run directory.
        captioner: changed in place.
        step: whose checkpoint.

    Raises:
        RunError: there is no such checkpoint, or it does not fit.
    """
    if is_packed(workdir):
        _restore_packed(workdir, captioner, step)
        return
    settings = load_config(workdir).train
    encoder = checkpoints.tf_variables(captioner.encoder.variables)
    wanted = {"decoder": checkpoints.tf_variables(captioner.decoder.variables)}
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
            {"averaged": checkpoints.tf_variables(captioner.trainable_variables)},
        )


def _restore_packed(
    workdir: Path, captioner: Captioner, step: int, *, read_encoder: bool = True
) -> None:
    """Reads the weights of a packed run: the encoder's are in its file, if it has one.

    Args:
        workdir: the run directory.
        captioner: changed in place.
        step: of its checkpoint.
        read_encoder: False if the captioner's encoder was made of the run's file.
    """
    wanted = {"decoder": checkpoints.tf_variables(captioner.decoder.variables)}
    encoder_file = workdir / directory.ENCODER_FILE
    if not encoder_file.exists():
        wanted["encoder"] = checkpoints.tf_variables(captioner.encoder.variables)
    elif read_encoder:
        _read_network(encoder_file, captioner)
    checkpoints.restore(workdir, step, wanted)


def _read_network(path: Path, captioner: Captioner) -> None:
    """Reads the weights of a .keras file into the encoder of a captioner."""
    try:
        captioner.encoder.network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise RunError(
            f"{path} can't be read into this model ({str(error).splitlines()[0]}): pack the run "
            "again"
        ) from None
