import csv
import json

import pytest

from hierkeras.data.files import table
from hierkeras.data.files.table import Table

ROWS = [["file", "label"], ["a b.jpg", "cat"], ["c.jpg", "dog, big"]]


@pytest.fixture
def read(tmp_path):
    """A function from text to a table."""

    def read(text, name="list.csv", **options):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return table.read(file, **options)

    return read


def lines(*rows):
    """A table of rows."""
    return Table([list(column) for column in zip(*rows, strict=True)])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_delimiters_quotes_and_line_ends(read, end, mark, bom):
    text = bom + end.join(mark.join(f'"{c}"' for c in row) for row in ROWS)

    assert read(text + end).columns == lines(*ROWS).columns


def test_blanks_divide_where_nothing_else_does(read):
    assert read("a.jpg 0\nb.jpg 12\n").columns == [
        ["a.jpg", "b.jpg"],
        ["0", "12"],
    ]
    assert read("a b.jpg,0 1\nc d.jpg,2 3\n").columns[0] == [
        "a b.jpg",
        "c d.jpg",
    ]


def test_empty_lines_and_missing_cells(read):
    found = read("file,label,split\n\na.jpg,cat\n , \nb.jpg,,train\n")

    assert found.columns == [
        ["file", "a.jpg", "b.jpg"],
        ["label", "cat", ""],
        ["split", "", "train"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"a.jpg,cat\nb.jpg,dog, big\n", "line 2 has 3 cells, and the first 2"),
        (b'a.jpg,cat\nb.jpg,"dog\nc.jpg,cat\n', "unexpected end of data"),
        (b"\xff\xfea\0", "utf-8"),
    ],
)
def test_what_is_no_table_is_an_error(read, text, message):
    with pytest.raises((csv.Error, UnicodeError), match=message):
        read(text)


def test_json_lines(read):
    text = "\n".join(
        json.dumps(row)
        for row in [{"file": "a.jpg", "n": 1}, {"n": None, "x": "é"}]
    )

    found = read(text, "metadata.jsonl")

    assert found.first == ["file", "n", "x"]
    assert [found.column(p) for p in range(3)] == [
        ["a.jpg", ""],
        ["1", ""],
        ["", "é"],
    ]
    with pytest.raises(csv.Error):
        read("[1]", "metadata.jsonl")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "list.parquet"
    columns = {
        "image": [{"bytes": b"", "path": "a.jpg"}, None],
        "label": [3, 1],
    }
    parquet.write_table(pyarrow.table(columns), file)

    found = table.read(file)

    assert found.first == ["image", "label"]
    assert found.column(0) == ["a.jpg", ""]
    assert found.column(1) == ["3", "1"]
    file.write_bytes(b"no parquet")
    with pytest.raises(csv.Error):
        table.read(file)


class TestHeader:
    @pytest.mark.parametrize(
        ("first", "expected"),
        [
            (["file", "label"], True),
            (["Bild", "Art"], True),
            (["0.JPG", "cat"], False),  # whether it is there or not
            (["d/0.jpg", "label"], False),
        ],
    )
    def test_is_what_names_no_file(self, first, expected):
        found = lines(first, ["a.jpg", "cat"], ["b.jpg", "dog"])

        assert found.with_header(0).has_header is expected

    def test_of_paths_without_suffixes_is_a_known_name(self):
        assert lines(["id", "x"], ["a", "b"]).with_header(0).has_header
        assert not lines(["a1", "x"], ["a2", "b"]).with_header(0).has_header
