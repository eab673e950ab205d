"""From photos to results: asks the server for what is new, and draws answers as they come."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from imgcap.errors import ServingError
from imgcap.signature import DECODE_DETAILS
from serving.client import BadImage, CaptionClient
from serving.page.announcer import mark_arrival, say
from serving.page.answers.details import describe_result, show_result, show_waiting
from serving.page.answers.gallery import Gallery
from serving.page.answers.results import Key, Result, Visit
from serving.page.messages import explain, show_note
from serving.page.photos.photo import File, Photo, UnreadableFile
from serving.page.photos.thumbnails import Thumbnails, make_thumbnails
from serving.page.settings import Settings, connect

CAPTION_SECONDS = 20.0
"""How long a visitor waits for one caption at most."""

_LOOK_SECONDS = 0.2
"""Time between two looks for a click of the visitor, while answers are awaited."""


def show_answers(visit: Visit, settings: Settings, version: int, wait_for_all: bool = True) -> None:
    """Draws what is known of the photos on the page, and the other answers as they come.

    Photos are asked for by threads of the visit: a click that draws the page anew loses nothing and
    asks nothing twice.

    Args:
        visit: whose photos.
        settings: which model to ask.
        version: the model's version that answers, 0 if none does; a new one is asked again.
        wait_for_all: whether to wait for answers; a dialog works only once the run has ended.
    """
    if not visit.photos:
        return
    visit.version = version or visit.version
    keys = {visit.key(photo, settings): photo for photo in visit.photos}
    visit.cancel(keys if version else ())
    visit.touch(keys)
    if version:
        _ask_for_new(visit, settings, keys)
    _collect(visit)
    mark_arrival(visit.arrivals)
    show = _show_one if len(keys) == 1 else _show_many
    show(visit, keys, bool(version), wait_for_all)
    results = [visit.results[key] for key in keys if key in visit.results]
    if version and any(result.passing for result in results):
        st.button("Try again", key="ask again", on_click=visit.try_again)
    if settings.signature == DECODE_DETAILS and any(map(_lacks_details, results)):
        show_note("This model does not say how sure it is of each word: export it again for that.")


def ask(client: CaptionClient, given: File | Thumbnails) -> Result:
    """Captions one photo.

    Args:
        client: of the server.
        given: the photo's file, or what was kept of it.
    """
    try:
        if isinstance(given, Thumbnails):
            thumbnails, image_bytes = given, given.sent_again
        else:
            image_bytes = given.read()
            if not image_bytes:
                return Result(None, None, "This file is empty.")
            thumbnails = make_thumbnails(image_bytes)
    except UnreadableFile as error:
        return Result(None, None, str(error))
    except ValueError as error:
        return Result(None, None, f"This file can’t be captioned: {error}.")
    try:
        return Result(thumbnails, client.caption(image_bytes), "")
    except ServingError as error:
        return Result(thumbnails, None, explain(error), passing=not isinstance(error, BadImage))


def _ask_for_new(visit: Visit, settings: Settings, keys: dict[Key, Photo]) -> None:
    """Lets the visit's threads ask for what has no answer and was not asked for yet."""
    client = connect(settings, timeout=CAPTION_SECONDS)
    for key, photo in keys.items():
        if key in visit.asked or (key in visit.results and key not in visit.again):
            continue
        given = visit.originals.get(photo.digest) or visit.find_thumbnails(photo.digest)
        if given is None:
            visit.store(key, Result(None, None, "This photo is no longer here: give it again."))
        else:
            visit.asked[key] = visit.workers.submit(ask, client, given)
    visit.again = set()


def _collect(visit: Visit) -> list[Key]:
    """Stores the answers that have come, and returns their keys."""
    done = [key for key, future in visit.asked.items() if future.done()]
    for key in done:
        visit.store(key, visit.asked.pop(key).result())
    return done


def _arrivals(visit: Visit, keys: dict[Key, Photo], pulse: DeltaGenerator) -> Iterator[Photo]:
    """Yields each photo as its answer comes, until there are none to wait for.

    Args:
        visit: what is asked.
        keys: the photos on the page.
        pulse: an empty place on the page.
    """
    while visit.asked:
        wait(visit.asked.values(), _LOOK_SECONDS, FIRST_COMPLETED)
        yield from [keys[key] for key in _collect(visit) if key in keys]
        pulse.empty()  # Only where something is drawn does Streamlit heed a click.


def _show_one(visit: Visit, keys: dict[Key, Photo], waits: bool, wait_for_all: bool) -> None:
    """Draws the card of the one photo on the page."""
    ((key, photo),) = keys.items()
    slot, spoken, pulse = st.empty(), st.empty(), st.empty()
    with slot.container():
        result = visit.find(key)
        if result is None:
            show_waiting(waits)
        else:
            show_result(visit, photo, result)
    for _ in _arrivals(visit, keys, pulse) if wait_for_all else ():
        with slot.container():
            show_result(visit, photo, visit.results[key])
    result = visit.find(key)
    if result is not None:
        say(spoken, describe_result(photo, result))


def _show_many(visit: Visit, keys: dict[Key, Photo], waits: bool, wait_for_all: bool) -> None:
    """Draws the gallery, and once all answers are there, again, in order and counted."""
    places = {photo: key for key, photo in keys.items()}
    known = {photo: visit.find(key) for key, photo in keys.items()}
    gallery, pulse = Gallery(visit, known, waits), st.empty()
    arrived = False
    for photo in _arrivals(visit, keys, pulse) if wait_for_all else ():
        gallery.update(photo, visit.results[places[photo]])
        arrived = True
    if arrived:
        st.rerun()


def _lacks_details(result: Result) -> bool:
    """Whether there is a caption whose words have no probabilities, as of a model without them."""
    return result.caption is not None and not result.caption.token_log_probs
