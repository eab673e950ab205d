"""A run → `<output_dir>/<N>/`: written under another name, checked, and only then renamed to the
next version number.
"""

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export import card, versions
from export.card import Facts
from export.check import check_parity, sample_images
from export.config import ExportConfig
from export.cpu import NONE, FastEncoder, check_features, make_fast_encoder
from export.module import Assets, CaptionModule
from export.searches import choose_searches, find_confidence
from export.warmup import write_warmup
from imgcap import files, signature
from imgcap.config import DecodeConfig
from imgcap.data import image
from imgcap.data.manifest import VOCABULARY_NAME
from imgcap.errors import ExportError
from imgcap.evaluation.frequencies import ensure_reward
from imgcap.files.literal import literal_folder
from imgcap.model.caption_graph import CaptionGraph
from imgcap.model.captioner import Captioner
from imgcap.model.confidence import Confidence
from imgcap.run.checkpoints import tf_variables
from imgcap.run.pretrained import is_pretrained, resolve_run
from imgcap.run.restore import load_captioner


def export_run(config: ExportConfig, overrides: dict[str, Any]) -> Path:
    """Writes the run's best checkpoint as the next version of a served model.

    Args:
        config: names the run and the model's folder, and what the export should do.
        overrides: settings of the search that differ from the run's.

    Returns:
        The new version's folder.

    Raises:
        RunError: the run is missing, unfinished or broken.
        ExportError: the rewritten encoder's features or the reloaded model's answers are not those
            of the live one, the disk can't be written, or an old version can't be removed.
    """
    workdir, base = resolve_run(config.workdir), Path(config.output_dir)
    captioner, run_config = load_captioner(workdir)
    searches = choose_searches(run_config.decode, overrides)
    keep = not is_pretrained(config.workdir)
    ensure_reward(workdir, captioner, searches.decode, [run_config.train.data_dir], keep=keep)
    fitted = find_confidence(workdir, captioner, run_config, searches.decode, keep=keep)
    images = sample_images(run_config.train.data_dir)
    encoder, encoder_facts = _make_encoder(captioner, run_config.model.image_size, config, images)
    more = {
        **encoder_facts,
        "decoder_numerics": captioner.decoder.compute_dtype,
        "sample": dataclasses.asdict(searches.sample),
        "confidence": fitted.facts if fitted else None,
    }
    facts = card.collect_facts(workdir, run_config, captioner.vocabulary, searches.decode, more)
    confidence = Confidence(fitted.calibration) if fitted else None
    graph = CaptionGraph(
        captioner,
        run_config.model.image_size,
        config.max_pixels,
        confidence,
        encoder.encode,
        config.max_missing,
    )
    variables = _variables(captioner, encoder, confidence, searches.decode)
    with versions.unfinished_folder(base) as unfinished:
        with tempfile.TemporaryDirectory() as folder, _writing(unfinished):
            assets = Assets(workdir / VOCABULARY_NAME, Path(folder, card.CARD))
            card.write_line(assets.card, facts)
            module = CaptionModule(graph, searches, variables, assets, config.max_batch)
            with literal_folder(unfinished) as literal:
                tf.saved_model.save(module, str(literal), signatures=module.signatures())
            _join_default(unfinished)
            write_warmup(unfinished, config.max_batch)
            card.write_card(unfinished, facts)
        if config.check:
            check_parity(unfinished, module, facts, images)
        published = _publish(unfinished, base, facts)
    versions.prune(published, config.keep)
    return published


def _variables(
    captioner: Captioner,
    encoder: FastEncoder,
    confidence: Confidence | None,
    options: DecodeConfig,
) -> list[tf.Variable]:
    """All variables that the graph of an export reads."""
    variables = [*encoder.variables, *tf_variables(captioner.decoder.variables)]
    if confidence:
        variables += confidence.variables
    if captioner.reward and options.needs_reward:
        variables += captioner.reward.variables
    return variables


def _publish(unfinished: Path, base: Path, facts: Facts) -> Path:
    """Gives a finished export its number, on its card too; returns its folder."""
    with _writing(unfinished):
        return versions.publish(
            unfinished,
            base,
            lambda number: card.write_card(unfinished, {**facts, "version": number}),
        )


def _join_default(written: Path) -> None:
    """Makes `serving_default` the very nodes of `decode`, of which TensorFlow has made copies: a
    server optimises and keeps a graph, constants and all, for each set of nodes that it is asked
    for.
    """
    path = written / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    definitions[signature.SERVING_DEFAULT].CopyFrom(definitions[signature.DECODE])
    files.write_bytes(path, saved.SerializeToString(deterministic=True))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what the disk or TensorFlow, which writes the weights, complains of into one line."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0][:160]
        raise ExportError(
            f"{folder} can't be written ({why}): free the disk or mend the folder"
        ) from None


def _make_encoder(
    captioner: Captioner, image_size: int, config: ExportConfig, image_bytes: Sequence[bytes]
) -> tuple[FastEncoder, Facts]:
    """The encoder to export, checked on images, and what the card says of images and encoder."""
    encoder = make_fast_encoder(captioner.encoder, config.optimize)
    facts = {
        "max_pixels": config.max_pixels,
        "max_missing": config.max_missing,
        "max_batch": config.max_batch,
        "optimize": config.optimize,
        "encoder_description": encoder.description,
        "encoder_numerics": encoder.numerics,
        "cpu_features": list(encoder.cpu_features),
        "intra_op_threads": encoder.intra_op_threads,
    }
    if config.optimize == NONE:
        return encoder, facts
    images = image.decode_rows(tf.constant(list(image_bytes)), image_size, config.max_pixels).images
    check = check_features(captioner.encoder, encoder, images)
    # A cosine of nothing is no number, which JSON has no word for.
    found = {
        name: value if math.isfinite(value) else None for name, value in check._asdict().items()
    }
    return encoder, {**facts, "encoder_check": found}
