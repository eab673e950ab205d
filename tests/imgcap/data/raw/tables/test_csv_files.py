"""The reader of CSV tables: every way of writing one that people have, and every broken one."""

from pathlib import Path

import pytest

from imgcap.data.raw.example import Row, Source
from imgcap.data.raw.tables import csv_files
from imgcap.errors import DataError

TWO = [Row("1.jpg", ("A dog, running",)), Row("2.jpg", ("A cat",))]


def read(folder: Path, content: str | bytes, name: str = "captions.csv", **columns: str):
    """Writes a table and reads it, with the columns that are named."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = Source("csv", (str(path),), (str(folder),), {}, **columns)
    return list(csv_files.rows(str(path), source))


@pytest.mark.parametrize(
    "content",
    [
        'image,caption\n1.jpg,"A dog, running"\n2.jpg,A cat\n',
        # Without the end of the last line, with blanks around cells and with an empty line.
        'image, caption\n1.jpg , "A dog, running"\n\n2.jpg,  A cat ',
        "image;caption\n1.jpg;A dog, running\n2.jpg;A cat\n",
        "image\tcaption\n1.jpg\tA dog, running\n2.jpg\tA cat\n",
        "image| caption\n1.jpg| A dog, running\n2.jpg| A cat\n",
        '"image";"caption"\r\n"1.jpg";"A dog, running"\r\n"2.jpg";"A cat"\r\n',
        "\ufeffImage;Caption\r\n1.jpg;A dog, running\r\n2.jpg;A cat\r\n",
        "image;caption\r1.jpg;A dog, running\r2.jpg;A cat\r",
        "File Name;Text\n1.jpg;A dog, running\n2.jpg;A cat\n",
        "id;filepath;tags;description\n1;1.jpg;a;A dog, running\n2;2.jpg;b;A cat\n",
        # Spreadsheets add empty columns and rows.
        "image;caption;;\n1.jpg;A dog, running;;\n2.jpg;A cat;;\n;;;\n",
        "image;caption\n1.jpg;A dog, running;\n2.jpg;A cat\n;;\n",
        # Without a header.
        "1.jpg;A dog, running\n2.jpg;A cat\n",
        'A dog, running;"1.jpg"\nA cat;"2.jpg"\n',
        # No row but the header has both signs, nor do all rows.
        "image;caption, by people\n1.jpg;A dog, running\n2.jpg;A cat\n",
    ],
)
def test_ways_to_write_two_rows(tmp_path: Path, content: str) -> None:
    columns = {"caption_column": "caption, by people"} if "by people" in content else {}
    assert read(tmp_path, content, **columns) == TWO


def test_utf_16_of_spreadsheets_is_read(tmp_path: Path) -> None:
    content = "image\tcaption\r\n1.jpg\tA dog, running\r\n2.jpg\tA cat\r\n"
    assert read(tmp_path, content.encode("utf-16"), "unicode.txt") == TWO


def test_captions_of_several_columns_rows_and_lists(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "image,caption_0,caption_1,caption_2\n"
        "1.jpg,a,b,\n"
        '1.jpg,"line one\nline two",,"say ""hi"""\n'
        '2.jpg,"[""x"", ""y""]",[unclear],z\n'
        "3.jpg,,,\n",
    )
    assert rows == [
        Row("1.jpg", ("a", "b")),
        Row("1.jpg", ("line one\nline two", 'say "hi"')),
        Row("2.jpg", ("x", "y", "[unclear]", "z")),
        Row("3.jpg", ()),
    ]


def test_fifty_captions_an_image(tmp_path: Path) -> None:
    header = ",".join(["image", *(f"caption {number}" for number in range(50))])
    cells = [f"dog {number}" for number in range(50)]
    assert read(tmp_path, f"{header}\n1.jpg,{','.join(cells)}\n") == [Row("1.jpg", tuple(cells))]


def test_columns_of_one_name_belong_together(tmp_path: Path) -> None:
    assert read(tmp_path, "image,caption,caption\n1.jpg,a,b\n") == [Row("1.jpg", ("a", "b"))]


def test_columns_by_flags(tmp_path: Path) -> None:
    content = "Foto;Satz;image;caption;Teil\n1.jpg;a;x;y;val\n2.jpg;b;x;y;\n"
    flags = {"image_column": "Foto", "caption_column": "satz, caption", "split_column": "Teil"}
    assert read(tmp_path, content, **flags) == [
        Row("1.jpg", ("a", "y"), "dev"),
        Row("2.jpg", ("b", "y"), ""),
    ]


def test_splits_of_a_column(tmp_path: Path) -> None:
    content = "split,image,caption\n" + "".join(
        f"{split},{split}.jpg,x\n" for split in ("train", "restval", "VAL", "dev", "Test")
    )
    assert [row.split for row in read(tmp_path, content)] == [
        *("train", "train", "dev", "dev", "test")
    ]


def test_paths_of_all_kinds_are_rows(tmp_path: Path) -> None:
    names = ["a/1.jpg", "/x/2.jpg", "../3.jpg", r"a\b\4.jpg", r"caf\xe9.jpg", "gs://b/5.jpg"]
    rows = read(tmp_path, "image,caption\n" + "".join(f"{name},x\n" for name in names))
    assert [row.image for row in rows] == [
        *("a/1.jpg", "/x/2.jpg", "../3.jpg", "a/b/4.jpg", r"caf\xe9.jpg", "gs://b/5.jpg")
    ]


def test_names_may_be_bytes_that_are_no_text(tmp_path: Path) -> None:
    [row] = read(tmp_path, b"image,caption\ncaf\xe9.jpg,x\n")
    assert row == Row("caf\udce9.jpg", ("x",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "captions.csv is empty: write a line such as image,caption"),
        ("image\n1.jpg\n", r"captions.csv:1: 'image' is one column: put a comma, a semicolon"),
        ("a;b,c\n1;2,3\n", r":1: 'a;b,c': a comma or a semicolon could be between the columns"),
        ("image;a,b\n1.jpg,a;b,c;d\n", ":1: 'image;a,b': a comma or a semicolon could be"),
        (
            "Foto,Satz\n1.jpg,a\n",
            r":1: no column is known as images among 'Foto', 'Satz': name "
            "it by --image_column",
        ),
        (
            "image,Satz\n1.jpg,a\n",
            r":1: no column is known as captions among 'image', 'Satz': "
            "name it by --caption_column",
        ),
        ("image,path,text\n1.jpg,a,b\n", ":1: several columns could be images among 'image', 'p"),
        ("image,text,caption\n1.jpg,a,b\n", ":1: several columns could be captions among"),
        ("image,text,split,Split\n1.jpg,a,b,c\n", ":1: several columns could be splits among"),
        ("1.jpg,a,b\n", ":1: 3 columns without names: add a first row with them"),
        (
            "image,caption\n1.jpg,a dog, unquoted\n",
            ":2: 3 columns, not 2: put quotes around captions that hold a comma",
        ),
        (
            "image;caption;n\n1.jpg;a\n",
            ":2: 2 columns, not 3: write a semicolon before each col",
        ),
        ("image,caption\n\n1.jpg,a\n,b\n", ':4: the image is "", not a text'),
        ('image,caption\n1.jpg,a\n2.jpg,"never closed\n3.jpg,b\n', r":3: broken CSV row \(unexp"),
        ('image,caption\n1.jpg,"A" dog\n', ":2: broken CSV row .*: mend its quotes"),
        ("image,caption,split\n1.jpg,a,holdout\n", ":2: 'holdout' is no split"),
        (b"image,caption\n1.jpg,a\n2.jpg,caf\xe9\n", ":3: the caption is not UTF-8 text: convert"),
    ],
)
def test_broken_tables(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_the_line_of_an_error_counts_breaks_inside_quotes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="captions.csv:4: 1 columns, not 2"):
        read(tmp_path, 'image,caption\r\n1.jpg,"one\r\ntwo"\r\nbroken\r\n')


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_column": "Foto"}, ":1: no column Foto among 'image', 'caption': give one of the"),
        ({"caption_column": "caption,b"}, ":1: no column b among 'image', 'caption'"),
        ({"split_column": "Teil"}, ":1: no column Teil among"),
    ],
)
def test_flags_that_name_no_column(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "image,caption\n1.jpg,x\n", **columns)
    with pytest.raises(DataError, match=":1: the first row is an image, so columns have no names"):
        read(tmp_path, "1.jpg,x\n", **columns)


def find(folder: Path) -> Source:
    source = csv_files.find(str(folder))
    assert source is not None
    return source


def put(path: Path, content: str = "x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def test_finding_a_table_and_its_images(tmp_path: Path) -> None:
    assert csv_files.find(str(tmp_path)) is None
    table = put(tmp_path / "list of photos.tsv", "path\ttext\n1.jpg\tA dog\n2.jpg\tA cat\n")
    put(tmp_path / "README.txt", "Photos, taken by me.\n")
    put(tmp_path / "licences.csv", "image,licence\n1.jpg,free\n")
    put(tmp_path / ".hidden.csv", "image,caption\n1.jpg,x\n")
    assert find(tmp_path) == Source("csv", (table,), (str(tmp_path),))
    put(tmp_path / "2021" / "spring" / "2.jpg")
    assert find(tmp_path) == Source("csv", (table,), (str(tmp_path / "2021" / "spring"),))
    put(tmp_path / "2022" / "1.jpg")  # The images of one table are in two folders.
    assert find(tmp_path) == Source("csv", (table,), (str(tmp_path),))


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        put(tmp_path / f"{name}.csv", f"image,caption\n{name}/1.jpg,x\n")
        put(tmp_path / name / "1.jpg")
    source = find(tmp_path)
    assert source.image_roots == (str(tmp_path),)
    assert [row for file in source.captions_files for row in csv_files.rows(file, source)] == [
        Row("test/1.jpg", ("x",), "test"),
        Row("train/1.jpg", ("x",), "train"),
        Row("val/1.jpg", ("x",), "dev"),
    ]


def test_tables_beside_the_images_of_each_split(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        put(tmp_path / name / "captions.csv", "image,caption\n1.jpg,x\n")
        put(tmp_path / name / "1.jpg")
    source = find(tmp_path)
    assert source.image_roots == (str(tmp_path),)
    assert [row for file in source.captions_files for row in csv_files.rows(file, source)] == [
        Row("train/1.jpg", ("x",), "train"),
        Row("valid/1.jpg", ("x",), "dev"),
    ]


def test_parts_of_one_table(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"part-{number}.csv", f"image,caption\n{number}.jpg,x\n")
    source = find(tmp_path)
    rows = [row for file in source.captions_files for row in csv_files.rows(file, source)]
    assert [row.image for row in rows] == ["0.jpg", "1.jpg", "2.jpg"]


def test_several_tables_must_be_chosen(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "image,caption\n1.jpg,x\n")
    put(tmp_path / "b.csv", "image,caption\n1.jpg,x\n")
    with pytest.raises(DataError, match=r"several files .*a.csv, .*b.csv\): choose by --captions"):
        csv_files.find(str(tmp_path))


def test_the_only_table_says_itself_what_it_lacks(tmp_path: Path) -> None:
    table = put(tmp_path / "fotos.csv", "Foto,Satz\n1.jpg,x\n")
    assert find(tmp_path) == Source("csv", (table,), (str(tmp_path),))
    put(tmp_path / "preise.csv", "Foto,Preis\n1.jpg,3\n")
    assert csv_files.find(str(tmp_path)) is None


def test_a_table_longer_than_its_head(tmp_path: Path) -> None:
    rows = [f'{number}.jpg,"A dog,\n{"runs " * 40}"' for number in range(1000)]
    table = put(tmp_path / "long.csv", "\n".join(["image,caption", *rows]))
    assert len(rows[0]) * 1000 > 3 * 65536
    source = find(tmp_path)
    assert [row.image for row in csv_files.rows(table, source)] == [f"{n}.jpg" for n in range(1000)]
