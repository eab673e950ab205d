"""The signatures of a SavedModel: image bytes in, captions out, with the whole search inside."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from export.searches import Searches
from imgcap import signature
from imgcap.config import DecodeConfig
from imgcap.model.caption_graph import CaptionGraph, Outputs


class Assets(NamedTuple):
    """Files that a SavedModel carries in its folder `assets/`, under their own names.

    Attributes:
        vocabulary: one word a line.
        card: the model's card as JSON in one line, read when the model is loaded.
    """

    vocabulary: Path
    card: Path


class CaptionModule(tf.Module):
    """The signatures of a captioner with its variables and assets, and no Keras object: to load it,
    TensorFlow is enough.

    Encoder and search are functions of their own that the signatures call, so that a graph of
    thousands of operations is traced and written once and not for each signature.
    """

    def __init__(
        self,
        graph: CaptionGraph,
        searches: Searches,
        variables: Sequence[tf.Variable],
        assets: Assets,
    ) -> None:
        """Makes the signatures; nothing is traced yet.

        Args:
            graph: of a trained captioner.
            searches: what each signature searches with.
            variables: all that the graph reads.
            assets: copied into the model's folder.
        """
        super().__init__()
        self._graph = graph
        self.contract = graph.signatures
        self.weights = list(variables)
        self.vocabulary_file = tf.saved_model.Asset(str(assets.vocabulary))
        self.card_file = tf.saved_model.Asset(str(assets.card))
        self._card = _read_when_loaded(self.card_file)
        encode = tf.function(graph.encode, autograph=False)
        self._make_captioning(encode, searches)
        self.encode = self._serve(
            signature.ENCODE,
            lambda rows: dict(
                zip((signature.FEATURES, signature.ERROR), encode(rows), strict=True)
            ),
        )
        first_line = tf.constant(0, tf.int64)
        self.describe = self._serve(
            signature.DESCRIBE,
            lambda rows: {signature.CARD: tf.fill(tf.shape(rows), self._card.lookup(first_line))},
        )

    def _make_captioning(self, encode: Callable, searches: Searches) -> None:
        """Makes the signatures that caption.

        Args:
            encode: image files string [B] → features float32 [B, L, C] and errors string [B].
            searches: what each signature searches with.
        """
        decode, greedy, sample = map(
            self._make_search, (searches.decode, searches.greedy, searches.sample)
        )
        self.decode = self._serve(
            signature.DECODE, lambda rows: decode(*encode(rows)), searches.decode
        )
        self.decode_features = self._serve(
            signature.DECODE_FEATURES,
            lambda rows: decode(rows, tf.zeros_like(rows[:, 0, 0], tf.string)),
            searches.decode,
        )
        self.greedy = self._serve(
            signature.GREEDY, lambda rows: greedy(*encode(rows)), searches.greedy
        )
        self.sample = self._serve(
            signature.SAMPLE,
            lambda rows, seeds: sample(*encode(rows), seeds),
            searches.sample,
        )

    def _make_search(self, options: DecodeConfig) -> tf.types.experimental.GenericFunction:
        """Makes a function of features, errors and, to draw, seeds: to the outputs of a search."""

        @tf.function(autograph=False)
        def find(features: tf.Tensor, error: tf.Tensor, seeds: tf.Tensor | None = None) -> Outputs:
            return self._graph.caption(features, error, options, seeds)

        return find

    def signatures(self) -> dict[str, tf.types.experimental.GenericFunction]:
        """The functions that are served, by the names of their signatures."""
        functions = {
            name: getattr(self, name) for name in self.contract if name != signature.SERVING_DEFAULT
        }
        return {signature.SERVING_DEFAULT: self.decode, **functions}

    def _serve(
        self, name: str, answer: Callable[..., Outputs], options: DecodeConfig | None = None
    ) -> tf.types.experimental.GenericFunction:
        """Makes a signature, with the inputs and the outputs that the contract gives it.

        Args:
            name: of the signature.
            answer: its inputs, of at least one row → its outputs, of as many rows.
            options: of the search if it captions, which say K and T.
        """
        given, returned = self.contract[name]
        positions, channels = self._graph.features_shape
        sizes = {"L": positions, "C": channels}
        if options:
            sizes |= {"K": options.num_captions, "T": options.num_tokens}

        def serve(*rows: tf.Tensor) -> Outputs:
            count = tf.shape(rows[0])[0]
            outputs = answer(*(_with_a_row(each) for each in rows))
            return {
                alias: tf.ensure_shape(outputs[alias][:count], _spec(alias, sizes).shape)
                for alias in returned
            }

        return tf.function(
            serve, input_signature=[_spec(alias, sizes) for alias in given], autograph=False
        )


def _with_a_row(rows: tf.Tensor) -> tf.Tensor:
    """Gives an empty batch, on which fused operations fail, a blank row that is cut off again."""
    blank = tf.zeros([tf.cast(tf.shape(rows)[0] == 0, tf.int32), *rows.shape[1:]], rows.dtype)
    return tf.concat([rows, blank], axis=0)


def _spec(alias: str, sizes: dict[str, int]) -> tf.TensorSpec:
    """The tensor of the contract, with the sizes of the axes that are known."""
    dtype, axes = signature.TENSORS[alias]
    return tf.TensorSpec([sizes.get(axis) for axis in axes.split()], tf.as_dtype(dtype), name=alias)


def _read_when_loaded(file: tf.saved_model.Asset) -> tf.lookup.StaticHashTable:
    """A table of the lines of an asset by their numbers.

    It is no constant, since the number of a version is known when it is published, long after its
    graph is written. And it is not `tf.io.read_file`, since a model server knows where the assets
    lie only while it initialises tables.
    """
    index = tf.lookup.TextFileIndex
    lines = tf.lookup.TextFileInitializer(
        file, tf.int64, index.LINE_NUMBER, tf.string, index.WHOLE_LINE
    )
    return tf.lookup.StaticHashTable(lines, default_value="{}")
