"""The signatures of a SavedModel: image bytes in, captions out, with the whole search inside."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from export.config import MAX_BATCH
from export.searches import Searches
from imgcap import signature
from imgcap.config import DecodeConfig
from imgcap.model.caption_graph import CaptionGraph, Outputs
from imgcap.model.slices import Slices, in_slices


class Assets(NamedTuple):
    """Files that a SavedModel carries in its folder `assets/`, under their own names.

    Attributes:
        vocabulary: one word a line.
        card: the model's card as JSON in one line, read when the model is loaded.
    """

    vocabulary: Path
    card: Path


ROWS_AT_ONCE = 16
"""Images that a signature computes at a time: memory for more rows is that of so many."""


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
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Makes the signatures; nothing is traced yet.

        Args:
            graph: of a trained captioner.
            searches: what each signature searches with.
            variables: all that the graph reads.
            assets: copied into the model's folder.
            max_batch: requests of more rows are refused.
        """
        super().__init__()
        self._graph, self._max_batch = graph, max_batch
        self.contract = graph.signatures
        self.weights = list(variables)
        self.vocabulary_file = tf.saved_model.Asset(os.fsencode(assets.vocabulary))
        self.card_file = tf.saved_model.Asset(os.fsencode(assets.card))
        self._card = _read_when_loaded(self.card_file)
        encode = tf.function(graph.encode, autograph=False)
        self._make_captioning(encode, searches)
        self.encode = self._serve(
            signature.ENCODE,
            lambda rows: dict(
                zip(
                    (signature.FEATURES, signature.ERROR, signature.MISSING),
                    encode(rows),
                    strict=True,
                )
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
            encode: image files string [B] → `EncodedRows`.
            searches: what each signature searches with.
        """
        decode, greedy, sample = map(
            self._make_search, (searches.decode, searches.greedy, searches.sample)
        )

        def decode_details(rows: tf.Tensor) -> Outputs:
            encoded = encode(rows)
            return self._graph.add_attention(encoded.features, decode(*encoded))

        self.decode = self._serve(
            signature.DECODE, lambda rows: decode(*encode(rows)), searches.decode
        )
        self.decode_details = self._serve(signature.DECODE_DETAILS, decode_details, searches.decode)
        self.decode_features = self._serve(
            signature.DECODE_FEATURES,
            lambda rows: decode(
                rows, tf.zeros_like(rows[:, 0, 0], tf.string), tf.zeros_like(rows[:, 0, 0])
            ),
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
        """Makes a function of `EncodedRows` and, to draw, seeds: to the outputs of a search."""

        @tf.function(autograph=False)
        def find(
            features: tf.Tensor,
            error: tf.Tensor,
            missing: tf.Tensor,
            seeds: tf.Tensor | None = None,
        ) -> Outputs:
            found = self._graph.caption(features, error, options, seeds)
            return {**found, signature.MISSING: missing}

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
        inputs = [_spec(alias, sizes) for alias in given]
        outputs = {alias: _spec(alias, sizes) for alias in returned}

        def serve(*rows: tf.Tensor) -> Outputs:
            checked = _checked(rows, inputs, self._max_batch)
            return in_slices(answer, checked, outputs, Slices(ROWS_AT_ONCE, ROWS_AT_ONCE))

        return tf.function(serve, input_signature=inputs, autograph=False)


def _checked(
    rows: Sequence[tf.Tensor], specs: Sequence[tf.TensorSpec], max_batch: int
) -> list[tf.Tensor]:
    """Refuses inputs of another shape than their signature's, or of too many rows.

    A server does not compare shapes, and some operations end its process if a tensor has very many
    dimensions. So nothing but this check touches an input.

    Args:
        rows: the inputs as they came.
        specs: what they should be.
        max_batch: rows that one request may have.

    Returns:
        The inputs; whatever is computed of them waits for the check.
    """
    checked = [
        tf.ensure_shape(each, spec.shape, name=spec.name)
        for each, spec in zip(rows, specs, strict=True)
    ]
    count, *others = (tf.shape(each)[0] for each in checked)
    first, *names = (spec.name for spec in specs)
    few = signature.too_many_rows(first, "{}", max_batch)
    checks = [_assert(count <= max_batch, few, count)]
    for name, other in zip(names, others, strict=True):
        message = f"{first} has {{}} rows and {name} has {{}}: give one for each"
        checks.append(_assert(count == other, message, count, other))
    with tf.control_dependencies(checks):
        return [tf.identity(each) for each in checked]


def _assert(right: tf.Tensor, message: str, *numbers: tf.Tensor) -> tf.Operation:
    """An operation that ends the run with a message, in which {} stands for numbers, unless all is
    right.
    """
    return tf.debugging.Assert(right, [tf.strings.format(message, numbers)])


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
