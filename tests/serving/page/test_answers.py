"""One photo's answer: its card, how far to trust it, and its alternative text."""

import pytest

from tests.serving.page.visits import alt_field, photo, shown, upload


def test_caption_with_all_that_belongs_to_it(page):
    upload(page, photo())
    text = shown(page)
    assert ">64<" in text and "score -0.50" in text and "model version 4" in text and " ms " in text
    assert "second" in text and "width: 78%" in text  # exp(-0.75 + 0.5)
    assert 'title="78% sure"' in text  # exp(-0.25)
    assert [code.value for code in page.code] == ['alt="64 by 48"']
    assert "photo.jpg" in text
    assert 'class="imgcap-photo" alt="64 by 48"' in text


def test_where_the_model_looks(page, server):
    server.attention = [0.25] * 24
    upload(page, photo(200, 100))
    text = shown(page)
    assert text.count('type="radio"') == text.count('class="imgcap-overlay') == 3
    assert len(server.asked) == 1 and not page.exception


def test_model_without_attention_has_no_choice_of_words(page):
    upload(page, photo())
    assert 'type="radio"' not in shown(page) and "imgcap-overlay" not in shown(page)


@pytest.mark.parametrize(
    "confidence, words, ready",
    [
        (1.0, "100%:sure", True),
        (0.5, "50%:sure", True),
        (0.49, "49%:fairly sure", False),
        (0.25, "25%:fairly sure", False),
        (0.125, "12%:unsure: check this one", False),
    ],
)
def test_confidence_is_said_in_words(page, server, confidence, words, ready):
    server.confidence = confidence
    upload(page, photo())
    number, said = words.split(":", 1)
    title = f'<summary title="{number} likely to be as good as a person’s">'
    assert f"{title}{said}</summary>" in shown(page)
    drafts = [field for field in page.text_area if field.label.startswith("Draft")]
    if ready:
        assert [code.value for code in page.code] == ['alt="64 by 48"'] and not drafts
        assert "ready to copy" in shown(page) and alt_field(page).value == "64 by 48"
    else:
        assert [field.value for field in drafts] == ["64 by 48"] and not page.code
        assert "ready to copy" not in shown(page) and "Check this one" in shown(page)


def test_a_model_without_confidence_is_taken_as_before(page):
    upload(page, photo())
    text = shown(page)
    assert "likely to be" not in text and "ready to copy" in text
    assert [code.value for code in page.code] == ['alt="64 by 48"']


def test_a_draft_becomes_an_alt_text_by_editing(page, server):
    server.confidence = 0.1
    upload(page, photo())
    alt_field(page).set_value("  A navy\nrectangle & more ").run()
    assert [code.value for code in page.code] == ['alt="A navy rectangle &amp; more"']
    assert '<span class="imgcap-edited">edited</span>' in shown(page)
    alt_field(page).set_value(" ").run()
    assert not page.code and alt_field(page).value == "64 by 48"
    assert "imgcap-edited" not in shown(page) and len(server.asked) == 1


def test_a_draft_may_be_right_as_it_is(page, server):
    server.confidence = 0.1
    upload(page, photo())
    (right,) = (button for button in page.button if button.label == "It is right")
    right.click().run()
    assert [code.value for code in page.code] == ['alt="64 by 48"']
    assert "imgcap-edited" not in shown(page)


def test_edits_belong_to_a_picture_not_to_its_name(page):
    first, second = photo(10, 20, "same.jpg"), photo(20, 10, "same.jpg")
    upload(page, first)
    alt_field(page).set_value("mine").run()
    upload(page, second)
    assert page.code[0].value == 'alt="20 by 10"'
    upload(page, (first[0].replace("same", "other"), *first[1:]))
    assert page.code[0].value == 'alt="mine"' and alt_field(page).value == "mine"


def test_an_edit_outlives_another_caption(page, server):
    upload(page, photo())
    alt_field(page).set_value("mine").run()
    server.text = "something new"
    server.states = {4: "END", 5: "AVAILABLE"}
    page.run()
    assert page.code[0].value == 'alt="mine"' and ">something<" in shown(page)


def test_alt_text_can_be_pasted_into_a_page(page, server):
    server.text = 'a sign that says "stop" & <go>'
    upload(page, photo())
    assert page.code[0].value == 'alt="a sign that says &quot;stop&quot; &amp; &lt;go&gt;"'
    assert page.code[0].proto.wrap_lines


def test_a_cut_off_file_says_so_after_a_change_of_search(page, server):
    server.missing = 0.25
    upload(page, photo())
    assert "The file is cut off: the lower 25% is missing." in shown(page)
