"""The exports that are measured: SavedModels of one captioner with random weights."""

from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from export.card import CARD
from export.cpu import CPU, CPU_BF16, NONE, FastEncoder, make_fast_encoder, read_densenet
from export.module import Assets, CaptionModule
from export.searches import choose_searches
from imgcap import files
from imgcap.config import MAX_PIXELS, DecodeConfig, ModelConfig
from imgcap.data.text.vocabulary import SPECIALS, Vocabulary
from imgcap.errors import ExportError
from imgcap.model.caption_graph import CaptionGraph
from imgcap.model.captioner import Captioner, make_captioner
from imgcap.run.checkpoints import tf_variables

ENCODER, CAPTIONER = "encoder", "captioner"
VOCABULARY = "vocab.txt"
# As many as a caption of Flickr8k has, in words that its vocabulary holds. All captions have the
# same number of words, which changes what is said and not how long a word takes.
WORDS, VOCABULARY_SIZE = 10, 2543


def build_captioner(encoder: str, image_size: int, folder: Path) -> Captioner:
    """Builds a captioner with random weights, and writes the assets of its exports.

    Args:
        encoder: as `ModelConfig` names it.
        image_size: pixels, height and width.
        folder: for the assets.
    """
    model = ModelConfig(encoder=encoder, encoder_weights="none", image_size=image_size)
    return make_captioner(model, write_assets(folder).vocabulary)


class Words(NamedTuple):
    """The words of all captioners that are measured, and the files of their exports.

    Attributes:
        vocabulary: of `VOCABULARY_SIZE` words.
        assets: a file of them, and an empty card.
    """

    vocabulary: Vocabulary
    assets: Assets


def write_assets(folder: Path) -> Words:
    """Writes the assets of exports.

    Args:
        folder: for them.
    """
    count = VOCABULARY_SIZE - len(SPECIALS)
    vocabulary = Vocabulary((*SPECIALS, *(f"word{number}" for number in range(count))))
    assets = Assets(folder / VOCABULARY, folder / CARD)
    vocabulary.save(assets.vocabulary)
    files.write_text(assets.card, "{}\n")
    return Words(vocabulary, assets)


def write_models(captioner: Captioner, image_size: int, folder: Path) -> dict[str, float]:
    """Writes SavedModels `<kind>/encoder` and `<kind>/captioner` for each value of --optimize.

    Args:
        captioner: from `build_captioner`.
        image_size: pixels, height and width.
        folder: for the models; holds the assets.

    Returns:
        Bytes on disk ÷ bytes of weights of the captioner, by kind. A kind that this CPU cannot run
        is left out, with a printed line.
    """
    sizes = {}
    options = DecodeConfig(min_length=WORDS, max_length=WORDS)
    assets = Assets(folder / VOCABULARY, folder / CARD)
    for kind in (NONE, CPU, CPU_BF16):
        try:
            fast = make_fast_encoder(captioner.encoder, kind)
        except ExportError as error:
            print(f"left out: {error}")
            continue
        _write_encoder(fast, image_size, folder / kind / ENCODER)
        graph = CaptionGraph(captioner, image_size, MAX_PIXELS, None, fast.encode)
        variables = [*fast.variables, *tf_variables(captioner.decoder.variables)]
        module = CaptionModule(graph, choose_searches(options, {}), variables, assets)
        written = folder / kind / CAPTIONER
        tf.saved_model.save(module, str(written), signatures=module.signatures())
        sizes[kind] = _bytes_on_disk(written) / _bytes_of_weights(captioner, fast)
    return sizes


def _write_encoder(fast: FastEncoder, image_size: int, folder: Path) -> None:
    module = tf.Module()
    module.weights = list(fast.variables)
    images = tf.TensorSpec([None, image_size, image_size, 3], tf.float32, name="images")
    module.encode = tf.function(fast.encode, input_signature=[images])
    tf.saved_model.save(module, str(folder), signatures={ENCODER: module.encode})


def _bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _bytes_of_weights(captioner: Captioner, fast: FastEncoder) -> int:
    decoder = _bytes_of_variables(captioner.decoder.variables)
    parts = read_densenet(captioner.encoder.network) if fast.in_float32 else None
    if parts is None:
        return decoder + _bytes_of_variables(captioner.encoder.variables)
    width = tf.as_dtype(fast.numerics).size
    return decoder + width * sum(part.size for part in tf.nest.flatten(parts))


def _bytes_of_variables(variables: list[keras.Variable]) -> int:
    return sum(4 * variable.value.shape.num_elements() for variable in variables)
