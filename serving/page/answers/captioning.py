"""From photos to results: asks the server for what is new, and fills the cards as answers come."""

from collections.abc import Iterator

import streamlit as st

from imgcap.signature import DECODE_DETAILS
from serving.client import BadImage, Outcome
from serving.page.answers.card import show_card, show_waiting
from serving.page.answers.results import Result, forget_oldest, results
from serving.page.messages import explain, show_note
from serving.page.photos.photo import Photo
from serving.page.photos.thumbnails import make_thumbnail
from serving.page.settings import Settings, connect

CONCURRENCY = 2
"""Photos of one visit that are with the server at a time."""

CAPTION_SECONDS = 20.0
"""How long a visitor waits for one caption at most."""


def show_results(photos: list[Photo], settings: Settings, version: int) -> None:
    """Draws a card for each photo: at once if its caption is known, else as the answers come in.

    Args:
        photos: what is on the page.
        settings: which model to ask.
        version: the model's version that answers; a new one is asked again.
    """
    keys = [(photo.digest, *settings, version) for photo in photos]
    slots = [st.empty() for _ in photos]
    known = results()
    new = []
    for key, photo, slot in zip(keys, photos, slots, strict=True):
        with slot.container():
            if key in known:
                show_card(known[key])
            else:
                show_waiting(photo)
                new.append((key, photo, slot))
    progress = st.progress(0.0, "Captioning …") if len(new) > 1 else None
    answers = caption_photos([photo for _, photo, _ in new], settings)
    for done, ((key, _, slot), (result, final)) in enumerate(
        zip(new, answers, strict=True), start=1
    ):
        if final:
            known[key] = result
        with slot.container():
            show_card(result)
        if progress is not None:
            progress.progress(done / len(new), f"{done} of {len(new)}")
    if progress is not None:
        progress.empty()
    if settings.signature == DECODE_DETAILS and any(_lacks_details(known.get(key)) for key in keys):
        show_note("This model does not say how sure it is of each word: export it again for that.")
    forget_oldest()


def caption_photos(photos: list[Photo], settings: Settings) -> Iterator[tuple[Result, bool]]:
    """Asks the server, several photos at a time.

    Args:
        photos: what to caption; what is no image is not sent.
        settings: which model to ask.

    Yields:
        In order, the result of each photo, and whether asking again would give the same.
    """
    thumbnails = [make_thumbnail(photo.image_bytes) for photo in photos]
    sent = [photo for photo, (_, error) in zip(photos, thumbnails, strict=True) if not error]
    client = connect(settings, timeout=CAPTION_SECONDS)
    outcomes = client.caption_many([photo.image_bytes for photo in sent], CONCURRENCY)
    for photo, (thumbnail, error) in zip(photos, thumbnails, strict=True):
        if error:
            yield Result(photo.name, b"", None, error), True
        else:
            yield _to_result(photo.name, thumbnail, next(outcomes))


def _lacks_details(result: Result | None) -> bool:
    """Whether there is a caption whose words have no probabilities, as of a model without them."""
    caption = result.caption if result else None
    return caption is not None and not caption.token_log_probs


def _to_result(name: str, thumbnail: bytes, outcome: Outcome) -> tuple[Result, bool]:
    if outcome.error is None:
        return Result(name, thumbnail, outcome.caption, ""), True
    final = isinstance(outcome.error, BadImage)
    return Result(name, thumbnail, None, explain(outcome.error)), final
