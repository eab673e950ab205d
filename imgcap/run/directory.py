"""The run directory as a whole: made, locked, opened and read. No file in it is ever half-written.

RUN/config.json          the settings; a run is resumed only with the same
RUN/run.json             format, fingerprints of data and vocabulary, tokenizer, version of imgcap
RUN/vocab.txt            the vocabulary, as in the data directory
RUN/decode.json          decode options that a sweep chose in place of the config's, if any
RUN/document_frequencies.npz  in how many training images n-grams stand, for --search=mbr
RUN/encoder.keras        the encoder's file, if it came from one
RUN/teacher.json         the captioner that a distilled run learns from, by a hash of its weights
RUN/encoder/             weights of a frozen encoder, written once
RUN/checkpoints/<step>/  weights, optimizer and state.json; written beside and renamed
RUN/metrics.jsonl        one object a logged step
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import imgcap
from imgcap import files
from imgcap.config import Config, DecodeConfig, decode_from_tree, to_json
from imgcap.data.manifest import VOCABULARY_NAME, Manifest
from imgcap.data.text.vocabulary import Vocabulary
from imgcap.errors import ConfigError, RunError
from imgcap.files import locking
from imgcap.files.checked import read_checked, write_checked
from imgcap.files.unfinished import finish_folder, remove_abandoned, unfinished_folder
from imgcap.run.config_file import CONFIG_NAME, NAME_A_RUN, load_config
from imgcap.run.identity import (
    FORMAT,
    RUN,
    TOKENIZER,
    read_identity,
    refuse_other_format,
    refuse_other_run,
    tokenizer_of,
    write_identity,
)

DECODE = "decode.json"
FREQUENCIES = "document_frequencies.npz"
ENCODER_FILE = "encoder.keras"


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the run directory for this process alone.

    Args:
        workdir: the run directory; made if absent.

    Raises:
        RunError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locking.locked(workdir / ".lock"))
        except locking.Held:
            raise RunError(
                f"{workdir} is in use by another process: wait for it, or give a new --workdir"
            ) from None
        remove_abandoned(workdir)
        yield


@contextmanager
def new_run(workdir: Path) -> Iterator[Path]:
    """Makes a run directory under another name, which is renamed when the context ends.

    Args:
        workdir: the run directory; must not exist.

    Yields:
        The folder to fill; it is removed if the context ends by an error.

    Raises:
        RunError: `workdir` exists, or another process has made it meanwhile.
    """
    if workdir.exists():
        raise RunError(f"{workdir} exists: give a new --workdir")
    with unfinished_folder(workdir) as unfinished:
        yield unfinished
        try:
            finish_folder(unfinished, workdir)
        except OSError:
            if not workdir.exists():
                raise
            raise RunError(f"{workdir} exists by now: give a new --workdir") from None


def is_run(workdir: Path) -> bool:
    """Whether a folder is a run directory."""
    return (workdir / RUN).is_file()


def open_run(workdir: Path, config: Config, manifest: Manifest, vocabulary: Vocabulary) -> Config:
    """Makes a run directory, or checks that the one found is of this config, data and vocabulary.

    Args:
        workdir: the run directory.
        config: the settings of this call.
        manifest: of the data.
        vocabulary: of the data.

    Returns:
        The config to train with; its encoder file, if any, is the run's own copy.

    Raises:
        RunError: the directory belongs to a run of another config, data set, vocabulary or format.
    """
    identity = {
        "format": FORMAT,
        "imgcap_version": imgcap.__version__,
        "data": manifest.fingerprint,
        "vocabulary": vocabulary.fingerprint,
        TOKENIZER: vocabulary.tokenizer,
    }
    if is_run(workdir):
        refuse_other_run(workdir, config, identity)
    else:
        if config.model.encoder.endswith(".keras"):
            files.write_bytes(workdir / ENCODER_FILE, Path(config.model.encoder).read_bytes())
        vocabulary.save(workdir / VOCABULARY_NAME)
        files.write_text(workdir / CONFIG_NAME, to_json(config))
        write_identity(workdir, identity)
    return _with_own_encoder(workdir, config)


def _with_own_encoder(workdir: Path, config: Config) -> Config:
    """The config with the run's own copy of the encoder's file, if it has one."""
    if not (workdir / ENCODER_FILE).exists():
        return config
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, encoder=str(workdir / ENCODER_FILE))
    )


def load_run(workdir: Path, remedy: str = NAME_A_RUN) -> tuple[Config, Vocabulary]:
    """Reads the settings and the vocabulary of a run, for evaluation and export.

    Args:
        workdir: the run directory.
        remedy: what the user should do if it is none.

    Returns:
        Its config, the encoder file (if any) being the run's own copy, and its vocabulary.

    Raises:
        RunError: `workdir` is no run directory, of another format, or its vocabulary was changed.
    """
    refuse_other_format(workdir, remedy)
    if is_run(workdir):
        read_identity(workdir, remedy)  # First: settings that were changed make other errors.
    config = load_config(workdir, remedy)
    identity = read_identity(workdir, remedy)
    vocabulary = Vocabulary.load(workdir / VOCABULARY_NAME, tokenizer_of(identity))
    if vocabulary.fingerprint != identity["vocabulary"]:
        raise RunError(
            f"{workdir / VOCABULARY_NAME} has fingerprint {vocabulary.fingerprint}, the run was "
            f"trained with {identity['vocabulary']}: bring the old file back or train anew"
        )
    config = dataclasses.replace(config, decode=load_decode(workdir))
    return _with_own_encoder(workdir, config), vocabulary


def save_decode(workdir: Path, options: DecodeConfig) -> None:
    """Writes the decode options that evaluation and export use for a run from then on.

    Args:
        workdir: the run directory.
        options: the search, in place of the one in the run's config.
    """
    write_checked(workdir / DECODE, dataclasses.asdict(options))


def load_decode(workdir: Path) -> DecodeConfig:
    """Reads the decode options of a run: those that a sweep chose, or else those in its config.

    Args:
        workdir: the run directory.

    Returns:
        The options that evaluation and export use.

    Raises:
        RunError: `workdir` is no run directory, or `decode.json` is damaged.
    """
    if not (workdir / DECODE).exists():
        return load_config(workdir).decode
    remedy = "remove it, or run imgcap-evaluate --sweep again"
    tree = read_checked(workdir / DECODE, RunError, remedy)
    try:
        return decode_from_tree(tree)
    except (TypeError, KeyError, ConfigError) as error:
        raise RunError(f"{workdir / DECODE} holds no decode options ({error}): {remedy}") from None
