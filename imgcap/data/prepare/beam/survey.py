"""The first pipeline: reads captions, finds the images, and writes down what is to be prepared.

captions files ─┐
split lists    ─┼─ by last name ─ by image ─ split ─┬─ by range of positions ─ files of examples
image folders  ─┘                                   └─ counts and names ─ survey.json
"""

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, AsList, AsSingleton, PCollection, TaggedOutput

from imgcap.config import PrepareConfig
from imgcap.data.prepare.beam.adding import AddCounters, AddTallies
from imgcap.data.prepare.beam.drawing import (
    Place,
    find_borders,
    find_first_places,
    place_of,
    split_of,
)
from imgcap.data.prepare.beam.joining import (
    LISTED,
    ROW,
    Entry,
    NamedImage,
    find_images,
    join_image,
    meet,
    read_file,
    read_split_lists,
)
from imgcap.data.prepare.sharding import bin_of, shard_of
from imgcap.data.prepare.tally import Tally
from imgcap.data.raw.example import Example, Source
from imgcap.data.raw.images import LinkGuard
from imgcap.data.raw.order import position
from imgcap.errors import DataError
from imgcap.files.locations import join
from imgcap.files.writing import to_json, write_bytes

SURVEY = "survey.json"
"""File of what the pipeline found, but for the examples."""

EXAMPLES = "examples-"
"""How the names of the files of examples begin."""

ABSENT, UNLISTED, UNCAPTIONED, FACTS = "absent", "unlisted", "uncaptioned", "facts"
"""Side outputs: names that are left out, and facts that are counted."""

CAPTIONED, FOUND, REPEATED = "captioned", "found", "repeated"
"""Facts: names with rows, those of them with a file, and captions that count once."""

Image = tuple[str, bytes, tuple[str, ...], str]
"""Name, location, captions and split of an image; the split is empty if none is known."""


def add_survey(pipeline: beam.Pipeline, source: Source, config: PrepareConfig, folder: str) -> None:
    """Adds the steps that read a raw data set.

    Args:
        pipeline: to which they are added.
        source: the data set.
        config: says seed and tokenizer; as many files of examples are written as it says shards.
        folder: location in which `survey.json` and the files of examples are written; it exists.
    """
    seed, files = config.seed, config.num_shards
    entries = _read_entries(pipeline, source)
    kinds = _find_kinds(entries)
    met = (
        entries
        | "BySameLastName" >> beam.GroupByKey()
        | "FindFiles" >> beam.ParDo(_Meet(source)).with_outputs(ABSENT, FACTS, main="named")
    )
    joined = (
        met.named
        | "ByImage" >> beam.GroupByKey()
        | "JoinNames"
        >> beam.ParDo(_Join(source), AsIter(kinds)).with_outputs(UNCAPTIONED, FACTS, main="images")
    )
    images, unlisted = _give_splits(joined.images, kinds, seed)
    facts = (met[FACTS], joined[FACTS]) | "AllFacts" >> beam.Flatten()
    tally = (
        images
        | "GivePositions" >> beam.Map(_give_range, seed, files).with_output_types(tuple[int, Image])
        | "ByRange" >> beam.GroupByKey()
        | "WriteExamples" >> beam.Map(_write_examples, config, folder)
        | "AddTallies" >> beam.CombineGlobally(AddTallies())
    )
    (
        pipeline
        | "Once" >> beam.Create([SURVEY])
        | "WriteSurvey"
        >> beam.Map(
            _write_survey,
            folder,
            AsSingleton(tally),
            AsSingleton(facts | "AddFacts" >> beam.CombineGlobally(AddCounters())),
            AsIter(kinds),
            AsList(met[ABSENT]),
            AsList(unlisted),
            AsList(joined[UNCAPTIONED]),
        )
    )


def _read_entries(pipeline: beam.Pipeline, source: Source) -> PCollection:
    """Rows, listed images and files, under the keys by which they meet."""
    kind = tuple[str, tuple[Any, ...]]
    rows = (
        pipeline
        | "CaptionsFiles" >> beam.Create(list(enumerate(source.captions_files)))
        | "ReadRows" >> beam.FlatMap(read_file, source).with_output_types(kind)
    )
    listed = (
        pipeline
        | "SplitLists" >> beam.Create([source])
        | "ReadLists" >> beam.FlatMap(read_split_lists).with_output_types(kind)
    )
    files = (
        pipeline
        | "ImageFolders" >> beam.Create([source])
        | "ListImages" >> beam.FlatMap(find_images).with_output_types(kind)
    )
    return (rows, listed, files) | "AllEntries" >> beam.Flatten()


def _find_kinds(entries: PCollection) -> PCollection:
    """The ways in which splits are said: LISTED and ROW, each once if it occurs."""

    def say(keyed: tuple[str, Entry]) -> list[str]:
        entry = keyed[1]
        if entry[0] == ROW:
            return [ROW] if entry[5] else []
        return [LISTED] if entry[0] == LISTED else []

    return entries | "SaySplits" >> beam.FlatMap(say) | "EachOnce" >> beam.Distinct()


class _Meet(beam.DoFn):
    """Finds the files of the names of one key."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def setup(self) -> None:
        self._guard = LinkGuard(self._source.image_roots)

    def process(self, keyed: tuple[str, Iterable[Entry]]) -> Iterator[Any]:
        meeting = meet(keyed[1], self._guard)
        for image, file in meeting.found:
            yield file.image_id, (os.fsencode(file.location), *image)
            if image.captioned:
                yield TaggedOutput(FACTS, (CAPTIONED, 1))
                yield TaggedOutput(FACTS, (FOUND, 1))
        for image in meeting.absent:
            yield TaggedOutput(ABSENT, image.name)
            if image.captioned:
                yield TaggedOutput(FACTS, (CAPTIONED, 1))


class _Join(beam.DoFn):
    """Joins the names of one image."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def process(
        self, keyed: tuple[str, Iterable[tuple[Any, ...]]], kinds: Iterable[str]
    ) -> Iterator[Any]:
        image_id, found = keyed[0], list(keyed[1])
        names = [NamedImage(*values) for _, *values in found]
        example = join_image(
            image_id, os.fsdecode(found[0][0]), names, self._source, LISTED in set(kinds)
        )
        repeated = sum(len(image.captions) for image in names) - len(example.captions)
        if repeated:
            yield TaggedOutput(FACTS, (REPEATED, repeated))
        if example.captions:
            yield image_id, found[0][0], example.captions, example.split
        else:
            yield TaggedOutput(UNCAPTIONED, image_id)


def _give_splits(
    images: PCollection, kinds: PCollection, seed: int
) -> tuple[PCollection, PCollection]:
    """The images with a split, and the names of those that no list has.

    If no list and no row says a split, it is drawn.
    """

    def draw_from(image: Image, kinds: Iterable[str]) -> list[str]:
        # Names alone: Beam's integers end at 2**63, positions at 2**64.
        return [] if list(kinds) else [image[0]]

    def bin_in_draw(image_id: str) -> int:
        return bin_of(place_of(seed, image_id)[0])

    def near_border(image_id: str, bins: dict[int, int]) -> bool:
        return bin_in_draw(image_id) in {border.bin for border in find_borders(bins)}

    drawn = images | "DrawFrom" >> beam.FlatMap(draw_from, AsIter(kinds))
    bins = (
        drawn
        | "BinInDraw" >> beam.Map(lambda image_id: (bin_in_draw(image_id), 1))
        | "CountBins" >> beam.CombineGlobally(AddCounters())
    )
    near = drawn | "NearBorder" >> beam.Filter(near_border, AsSingleton(bins))
    split = images | "GiveSplit" >> beam.ParDo(
        _GiveSplit(seed), AsIter(kinds), AsSingleton(bins), AsList(near)
    ).with_outputs(UNLISTED, main="listed")
    return split.listed, split[UNLISTED]


class _GiveSplit(beam.DoFn):
    """Gives an image the split that was said, or that is drawn if none was said of any image."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._first_places: list[Place] | None = None

    def process(
        self, image: Image, kinds: Iterable[str], bins: dict[int, int], near: list[str]
    ) -> Iterator[Any]:
        image_id, location, captions, split = image
        if not list(kinds):
            if self._first_places is None:
                places = [place_of(self._seed, name) for name in near]
                self._first_places = find_first_places(find_borders(bins), places)
            split = split_of(place_of(self._seed, image_id), self._first_places)
        if split:
            yield image_id, location, captions, split
        else:
            yield TaggedOutput(UNLISTED, image_id)


def _give_range(image: Image, seed: int, files: int) -> tuple[int, Image]:
    """An image under the number of the file of examples that it goes to."""
    return shard_of(position(seed, image[0]), files), image


def _write_examples(
    keyed: tuple[int, Iterable[Image]], config: PrepareConfig, folder: str
) -> Tally:
    """Writes one file of examples, a line each, and counts them."""
    tally, lines = Tally(), []
    for image_id, location, captions, split in sorted(keyed[1]):
        example = Example(image_id, os.fsdecode(location), tuple(captions), split)
        tally.add(example, config.seed, config.tokenizer)
        lines.append(json.dumps(example).encode() + b"\n")
    try:
        write_bytes(join(folder, f"{EXAMPLES}{keyed[0]:05d}.jsonl"), b"".join(lines))
    except OSError as error:
        raise DataError(f"{folder} can't be written ({error.strerror or error})") from None
    return tally


def _write_survey(
    name: str,
    folder: str,
    tally: Tally,
    facts: dict[str, int],
    kinds: Iterable[str],
    absent: list[str],
    unlisted: list[str],
    uncaptioned: list[str],
) -> None:
    """Writes what was found, for the process that started the pipeline."""
    tree = {
        "tally": tally.to_tree(),
        "facts": dict(facts),
        "split_source": "official" if list(kinds) else "seeded",
        ABSENT: sorted(absent),
        UNLISTED: sorted(unlisted),
        UNCAPTIONED: sorted(uncaptioned),
    }
    write_bytes(join(folder, name), to_json(tree))
