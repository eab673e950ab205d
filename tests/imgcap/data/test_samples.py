"""The sample photographs: small, named with their licence, and without metadata."""

import re

from PIL import Image

from imgcap.data.samples import find_samples


def test_photographs_are_small_and_say_nothing_of_their_makers_camera():
    samples = find_samples()
    assert 4 <= len(samples) <= 6
    for path in samples.values():
        assert path.stat().st_size <= 60_000
        with Image.open(path) as photo:
            assert photo.format == "JPEG" and not photo.getexif()
            assert set(photo.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_each_is_named_with_author_source_and_a_free_licence():
    folder = next(iter(find_samples().values())).parent
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    entries = re.split(r"^(\w+\.jpg)$", notice, flags=re.MULTILINE)[1:]
    texts = dict(zip(entries[::2], entries[1::2], strict=True))
    files = {path.name for path in folder.glob("*.jpg")}
    assert set(texts) == files == {path.name for path in find_samples().values()}
    for text in texts.values():
        assert all(f"    {field}:" in text for field in ("Title", "Author", "Source"))
        assert re.search(r'    Licence:  (CC0|public domain) \(".+"\)', text, re.DOTALL)
