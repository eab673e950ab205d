"""Many photos: a grid of cells, filtered and sorted, filled as answers come; details on demand."""

import re
import time

import pytest
from streamlit.testing.v1 import AppTest

from tests.serving.page.visits import APP, JPEG, alt_field, cells, photo, shown, upload
from tests.support.waiting import wait_for

NO_IMAGE = "This file can’t be captioned: not an image: JPEG, PNG, GIF, BMP or WebP is required."
SURENESS = {"11 by 20": 0.9, "12 by 20": 0.3, "13 by 20": 0.1, "14 by 20": 0.6}


def four(page: AppTest, server) -> AppTest:
    """Uploads four photos of different confidence, and a file that is none."""
    server.confidences = SURENESS
    files = [
        photo(width, 20, f"{name}.jpg") for width, name in zip(range(11, 15), "dbca", strict=True)
    ]
    return upload(page, *files, ("broken.jpg", b"text", JPEG))


def details(page: AppTest, number: int):
    """The button that opens a photo's details."""
    (button,) = (button for button in page.button if button.label == f"Details {number}")
    return button


def test_many_are_captioned_in_order_and_a_bad_one_is_named(page, server):
    upload(
        page, photo(10, 20), ("broken.jpg", b"text", JPEG), ("empty.jpg", b"", JPEG), photo(30, 40)
    )
    assert cells(page) == [
        "10 by 20",
        NO_IMAGE,
        "This file is empty.",
        "30 by 40",
    ]
    assert cells(page, "imgcap-cell-name")[1:3] == ["broken.jpg", "empty.jpg"]
    assert len(server.asked) == 2 and not page.get("progress")


def test_cells_say_how_sure_the_model_is(page, server):
    four(page, server)
    badges = re.findall(r'imgcap-badge imgcap-([a-z-]+)"( title="[^"]*")?>([^<]*)<', shown(page))
    assert [(kind, words) for kind, _, words in badges] == [
        ("sure", "sure"),
        ("fairly-sure", "fairly sure"),
        ("unsure", "unsure: check this one"),
        ("sure", "sure"),
        ("failed", "failed"),
    ]
    assert badges[1][1] == ' title="30% likely to be as good as a person’s"'


def test_filter_with_counts(page, server):
    four(page, server)
    control = page.get("button_group")[0]
    assert control.options == ["All (5)", "To check (2)", "Sure (2)", "Failed (1)"]
    for state, expected in {
        "To check": ["12 by 20", "13 by 20"],
        "Sure": ["11 by 20", "14 by 20"],
        "Failed": [NO_IMAGE],
        "All": [*SURENESS, NO_IMAGE],
    }.items():
        page.get("button_group")[0].set_value(state).run()
        assert not page.exception and cells(page) == expected
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("As given", ["11 by 20", "12 by 20", "13 by 20", "14 by 20"]),
        ("Least sure first", ["This file", "13 by 20", "12 by 20", "14 by 20"]),
        ("By name", ["14 by 20", "12 by 20", "This file", "13 by 20"]),
    ],
)
def test_sorting(page, server, order, first):
    four(page, server)
    page.selectbox(key="order").set_value(order).run()
    found = zip(cells(page)[:4], first, strict=True)
    assert [text[: len(start)] for text, start in found] == first


def test_details_on_demand(page, server):
    four(page, server)
    assert not page.text_area and "imgcap-card" not in shown(page)
    details(page, 2).click().run()
    assert 'aria-label="b.jpg"' in shown(page) and alt_field(page).value == "12 by 20"
    alt_field(page).set_value("a navy bar").run()  # and the dialog closes
    assert not page.text_area and cells(page)[1] == "a navy bar"
    assert page.get("button_group")[0].options[1] == "To check (1)"
    assert shown(page).count("imgcap-edited") == 1


def test_a_failure_has_details_too(page, server):
    four(page, server)
    details(page, 5).click().run()
    assert f'role="alert">{NO_IMAGE}</p>' in shown(page)
    assert not page.text_area


def test_answers_fill_the_grid_as_they_come_and_nothing_is_asked_twice(server, monkeypatch):
    """The page is looked at while the server holds its answers back."""
    monkeypatch.setenv("IMGCAP_SERVER", server.target)
    page = AppTest.from_file(str(APP), default_timeout=2)
    server.slowed.clear()
    page.run()
    page.file_uploader[0].set_value([photo(width, 20) for width in range(20, 32)])
    with pytest.raises(RuntimeError, match="timed out"):
        page.run()
    wait_for(lambda: len(server.asked) == 2, seconds=5)
    server.slowed.set()
    page.default_timeout = 20
    page.run()
    assert cells(page) == [f"{width} by 20" for width in range(20, 32)]
    sent = [request.inputs["image_bytes"].string_val[0] for request in server.asked]
    assert len(sent) == len(set(sent)) == 12


def test_earlier_answers_are_kept(page, server):
    server.confidence = 0.125
    upload(page, photo(10, 20, "first.jpg"))
    upload(page, photo(30, 40, "second.jpg"))
    (earlier,) = (box for box in page.expander if box.label == "Earlier in this visit (1)")
    assert ">10 by 20<" in earlier.html[0].value
    assert "unsure: check this one" in earlier.html[0].value
    earlier.button[0].click().run()
    assert any('aria-label="first.jpg"' in each.value for each in page.html)


def test_fifty_photos_in_one_go(page, server):
    started = time.monotonic()
    upload(page, *(photo(width, 20) for width in range(100, 150)))
    assert len(server.asked) == len(cells(page)) == 50
    assert time.monotonic() - started < 15
