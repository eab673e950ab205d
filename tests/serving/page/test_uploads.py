"""What visitors give: files, folders and archives, within limits; and what is kept of it."""

import zipfile

import grpc
import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from serving.page.options import MAX_ARCHIVE_ENTRIES, MAX_PHOTO_MB, MAX_PHOTOS
from serving.page.photos import intake
from serving.page.photos.intake import take_in
from serving.page.photos.photo import File, file_of, last_part, name_apart
from tests.serving.page.visits import (
    JPEG,
    alt_field,
    archive,
    cells,
    draw_jpeg,
    photo,
    shown,
    upload,
)

ZIP = "application/zip"
FIRST, SECOND = draw_jpeg(10, 20), draw_jpeg(20, 10)


def refused(*files: File) -> list[str]:
    """What is said of files of which none is taken."""
    taken = take_in(files)
    assert not taken.photos
    return taken.refused


def test_too_large_and_too_many(page, server):
    upload(page, ("huge.jpg", b"x" * (MAX_PHOTO_MB * 2**20 + 600_000), JPEG))
    assert "huge.jpg is too large: 21 MB, and the limit is 20 MB" in shown(page)
    assert not server.asked
    upload(page, *(photo(width, 10) for width in range(10, 12 + MAX_PHOTOS)))
    assert "202 photographs are too many at once: the first 200 are taken." in shown(page)
    assert len(server.asked) == len(cells(page)) == MAX_PHOTOS


def test_too_much_together(monkeypatch):
    monkeypatch.setattr(intake, "MAX_TOTAL_MB", 2)
    files = [file_of(f"{number}.jpg", bytes([number]) * 2**20) for number in range(3)]
    taken = take_in(files)
    assert len(taken.photos) == 2
    assert taken.refused == ["2.jpg was left out: photographs may have 2 MB together at most."]


def test_many_refusals_are_summed_up(page):
    upload(page, ("a.zip", archive({f"{n}.zip": b"" for n in range(8)}), ZIP))
    assert shown(page).count("it is an archive inside an archive.") == 5
    assert "And 3 more like that." in shown(page)


def test_photos_of_an_archive(page, server):
    content = archive(
        {
            "holiday/one.jpg": FIRST,
            "holiday/.two.jpg": b"hidden",
            "__MACOSX/holiday/._one.jpg": b"macOS",
            "holiday/": b"",
            "holiday/diary.txt": b"text",
            "films\\two.JPG": SECOND,
        },
        zipfile.ZIP_DEFLATED,
    )
    upload(page, ("all.zip", content, ZIP))
    assert cells(page) == ["10 by 20", "20 by 10"]
    assert cells(page, "imgcap-cell-name") == ["one.jpg", "two.JPG"]
    sent = {request.inputs["image_bytes"].string_val[0] for request in server.asked}
    assert sent == {FIRST, SECOND}
    assert "all.zip holds 1 other file, which was left out." in shown(page)


def encrypted() -> bytes:
    """An archive whose one entry says that it is encrypted."""
    content = bytearray(archive({"a.jpg": FIRST}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def damaged() -> bytes:
    """An archive whose one entry does not fit its checksum."""
    return archive({"a.jpg": FIRST}).replace(FIRST[:20], bytes(20), 1)


def understated() -> bytes:
    """An archive whose one entry unpacks to more than it says."""
    content = bytearray(archive({"a.jpg": bytes(100_000)}, zipfile.ZIP_DEFLATED))
    place = content.index(b"PK\x01\x02")
    for size in (22, place + 24):
        content[size : size + 4] = (50).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (encrypted(), "a.jpg in x.zip was left out: it is encrypted."),
        (damaged(), "a.jpg in x.zip was left out: it is damaged."),
        (understated(), "a.jpg in x.zip was left out: it is damaged."),
        (
            archive({"a.jpg": FIRST}, zipfile.ZIP_BZIP2),
            "a.jpg in x.zip was left out: it is compressed in a way that this page does not read.",
        ),
        (
            archive({"in/b.zip": archive({"a.jpg": FIRST})}),
            "b.zip in x.zip was left out: it is an archive inside an archive.",
        ),
        (b"no archive", "x.zip was left out: it can’t be read as a zip archive."),
        (b"", "x.zip was left out: it can’t be read as a zip archive."),
        (archive({}), "x.zip holds no photographs."),
        (
            archive({f"{number}.txt": b"" for number in range(MAX_ARCHIVE_ENTRIES + 1)}),
            "x.zip was left out: an archive may hold 2,000 files at most.",
        ),
        (
            archive({"a.jpg": bytes(21 * 2**20)}, zipfile.ZIP_DEFLATED),
            "a.jpg is too large: 21 MB, and the limit is 20 MB for a photograph.",
        ),
        (
            archive({f"{n}.jpg": bytes(11 * 2**20) for n in range(2)}, zipfile.ZIP_DEFLATED),
            "x.zip was left out: its files are more than 100 times as large as it.",
        ),
    ],
    ids=[
        "encrypted",
        "damaged",
        "understated",
        "bzip2",
        "nested",
        "no archive",
        "empty file",
        "empty archive",
        "entries",
        "large entry",
        "bomb",
    ],
)
def test_archives_that_are_refused(content, sentence):
    assert refused(file_of("folder/x.zip", content)) == [sentence]


def test_an_archive_that_is_too_large():
    never = File("x.zip", 201 * 2**20, lambda: pytest.fail("it was read"))
    assert refused(never) == ["x.zip is too large: 201 MB, and the limit is 200 MB for an archive."]


def test_entries_that_share_their_bytes_count_each(monkeypatch):
    """The entries of a zip bomb overlap; what is unpacked is what counts."""
    monkeypatch.setattr(intake, "MAX_TOTAL_MB", 1)
    content = archive({f"{n}.jpg": bytes(400_000) + bytes([n]) for n in range(4)}, 8)
    taken = take_in([file_of("bomb.zip", content)])
    assert len(taken.photos) == 2 and len(taken.refused) == 2


def test_an_archive_leaves_nothing_on_the_disk(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *arguments, **options: pytest.fail("a file"))
    assert len(take_in([file_of("x.zip", archive({"../../etc/a.jpg": FIRST}))]).photos) == 1


@pytest.mark.parametrize(
    ("path", "taken", "name"),
    [
        ("a.jpg", [], "a.jpg"),
        ("one/a.jpg", [], "a.jpg"),
        ("one/a.jpg", ["a.jpg"], "one/a.jpg"),
        ("top\\one\\a.jpg", ["a.jpg"], "one/a.jpg"),
        ("one/a.jpg", ["a.jpg", "one/a.jpg"], "a.jpg (2)"),
        ("a.jpg", ["a.jpg", "a.jpg (2)"], "a.jpg (3)"),
        ("/etc/passwd/", [], "photo"),
    ],
)
def test_names_are_kept_apart(path, taken, name):
    assert name_apart(path, taken) == name


def test_names_are_short():
    assert len(last_part("a" * 300 + ".jpg")) == 100


def test_photos_of_one_name_are_told_apart(page):
    upload(page, photo(10, 20, "one/a.jpg"), photo(20, 10, "two/a.jpg"), photo(20, 20, "a.jpg"))
    assert cells(page, "imgcap-cell-name") == ["a.jpg", "two/a.jpg", "a.jpg (2)"]


def test_a_folder(page, server):
    page.run()
    assert page.file_uploader[0].allowed_type[-1] == ".zip"
    page.toggle(key="folder_on").set_value(True).run()
    (uploader,) = page.file_uploader
    assert uploader.accept_directory and ".zip" not in uploader.allowed_type
    uploader.set_value([photo(10, 20, "trip/a.jpg"), photo(20, 10, "trip/day/b.jpg")]).run()
    assert cells(page, "imgcap-cell-name") == ["a.jpg", "b.jpg"] and len(server.asked) == 2


def kept(page) -> list[bytes]:
    """What the visit still has of the files as they came."""
    return [file.read() for file in page.session_state.visit.originals.values()]


def test_originals_leave_once_they_are_captioned(page, server):
    large = FIRST + bytes(10**6)  # a picture with a tail: the thumbnail is smaller
    upload(page, ("large.jpg", large, JPEG), ("a.zip", archive({"b.jpg": SECOND}), ZIP))
    assert len(server.asked) == 2 and kept(page) == []
    (first, second) = page.session_state.visit.results.values()
    assert len(first.thumbnails.sent_again) < 10_000 and second.thumbnails.sent_again == SECOND
    assert not page.file_uploader[0].value  # it is empty, and ready for more


def test_streamlit_keeps_no_upload(page, monkeypatch):
    held = {}
    add, remove = MemoryUploadedFileManager.add_file, MemoryUploadedFileManager.remove_file

    def note_added(self, session_id, file):
        held[file.file_id] = len(file.data)
        add(self, session_id, file)

    def note_removed(self, session_id, file_id):
        held.pop(file_id, None)
        remove(self, session_id, file_id)

    monkeypatch.setattr(MemoryUploadedFileManager, "add_file", note_added)
    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", note_removed)
    page.run()
    page.file_uploader[0].set_value([photo(10, 20), photo(20, 10)])
    page.run()
    assert cells(page) == ["10 by 20", "20 by 10"] and held == {}
    assert "uploads 0" not in page.session_state and "uploads 1" in page.session_state


def test_files_that_are_gone_are_not_taken_again(page, monkeypatch):
    """As when a click ends the run in which they were taken."""
    monkeypatch.setattr(
        MemoryUploadedFileManager, "get_files", lambda self, session_id, file_ids: []
    )
    page.run()
    page.file_uploader[0].set_value([photo(10, 20), photo(20, 10)])
    page.run()
    assert not page.exception and not page.session_state.visit.photos


def test_originals_stay_until_they_are_captioned(page, server, monkeypatch):
    server.code = grpc.StatusCode.RESOURCE_EXHAUSTED
    upload(page, photo(10, 20, "waits.jpg"))
    assert kept(page) == [FIRST]
    server.code = None
    upload(page, photo(20, 10))
    assert cells(page) == ["20 by 10", "The server is busy. Try again in a moment."]
    page.button(key="ask again").click().run()
    assert cells(page) == ["20 by 10", "10 by 20"] and kept(page) == []


def test_of_many_failures_the_originals_go(page, server, monkeypatch):
    monkeypatch.setattr("serving.page.answers.results.MAX_FAILED_MB", 1)
    server.code = grpc.StatusCode.RESOURCE_EXHAUSTED
    files = [(f"{n}.jpg", draw_jpeg(10 + n, 20) + bytes(600_000), JPEG) for n in range(3)]
    upload(page, *files)
    assert len(kept(page)) == 1
    server.code = None
    page.button(key="ask again").click().run()
    assert cells(page) == ["10 by 20", "11 by 20", "12 by 20"]


def test_answers_are_bounded(page, monkeypatch):
    monkeypatch.setattr("serving.page.answers.results.MAX_RESULTS", 5)
    for start in (10, 20, 30):
        upload(page, photo(start, 20), photo(start + 1, 20), photo(start + 2, 20))
    visit = page.session_state.visit
    assert len(visit.results) == 5 and len(visit._names) == 5
    assert cells(page)[:3] == ["30 by 20", "31 by 20", "32 by 20"]


def test_clear_forgets_everything(page, server):
    upload(page, photo())
    alt_field(page).set_value("mine").run()
    page.button(key="clear").click().run()
    visit = page.session_state.visit
    assert not (visit.photos or visit.results or visit.edits or visit.originals)
    assert "imgcap-card" not in shown(page) and not page.get("download_button")
    upload(page, photo())
    assert len(server.asked) == 2 and page.code[0].value == 'alt="64 by 48"'


def test_a_photo_that_is_given_again_is_shown_at_once(page, server):
    upload(page, photo(10, 20), photo(20, 10))
    upload(page, photo(20, 10))
    assert page.code[0].value == 'alt="20 by 10"' and len(server.asked) == 2
