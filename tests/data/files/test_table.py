import csv
import json

import pytest

from hierkeras._errors import UserError
from hierkeras.data.files import table
from hierkeras.data.files.table import Asked, Columns, Table

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


class TestColumns:
    HEADER = ["id", "file", "split", "class", "breed"]
    ROW = ["7", "a.jpg", "val", "cat", "tabby"]

    def find(self, *asked, rows=None):
        rows = rows or [self.HEADER, self.ROW]
        found = lines(*rows).with_header(1)
        return table.find_columns(found, Asked(*asked), 1)

    def test_are_found_by_their_names(self):
        assert self.find() == Columns(1, 3, 2, None)

    def test_are_asked_for_by_name_or_number(self):
        assert self.find("breed", "", "id") == Columns(1, 4, 2, 0)
        assert self.find("4", "", "0") == Columns(1, 4, 2, 0)

    def test_unknown_ones_are_answered_with_those_there_are(self):
        with pytest.raises(UserError, match="'kind'; there are id, file, .*4"):
            self.find("kind")
        with pytest.raises(UserError, match="no column '5'"):
            self.find("5")

    def test_one_beside_the_paths_holds_the_labels(self):
        rows = [["x", "file"], ["tabby", "a.jpg"]]

        assert self.find(rows=rows) == Columns(1, 0)

    def test_several_are_refused(self):
        rows = [["x", "file", "y"], ["tabby", "a.jpg", "3"]]

        with pytest.raises(UserError) as error:
            self.find(rows=rows)

        assert str(error.value) == (
            "The labels may be in any of several columns: x (1 different, "
            "such as 'tabby'); y (1 different, such as '3'). Give "
            "--label_column with the name or number of one."
        )

    def test_none_is_refused(self):
        with pytest.raises(UserError, match="no column of labels"):
            table.find_columns(lines(["a.jpg"], ["b.jpg"]), Asked(), 0)

    def test_numbers_of_folds_are_no_splits(self):
        rows = [["fold", "file", "label"], ["3", "a.jpg", "cat"]]

        assert self.find(rows=rows) == Columns(1, 2)

    def test_values_are_no_names_of_columns(self):
        rows = [["label", "a.jpg", "x"], ["cat", "b.jpg", "y"]]

        with pytest.raises(UserError, match="several columns: 0 .*; 2 "):
            self.find(rows=rows)

    def test_in_words(self):
        found = Columns(1, 0, 2)

        assert found.told(None) == (
            "paths in column 1, labels in column 0, splits in column 2"
        )
        assert found.told(["a", "b", "c"]).startswith("paths in column b,")


class TestNames:
    # Of groceries' classes.csv: ids of classes, and of groups of them.
    CLASSES = lines(
        ["Name", "ID", "Coarse name", "Coarse ID"],
        ["Granny", "0", "Apple", "0"],
        ["Pink", "1", "Apple", "0"],
        ["Kiwi", "2", "Kiwi", "1"],
        ["Lemon", "3", "Lemon", "2"],
    )

    def test_by_a_table(self):
        names, column = table.names_of(
            self.CLASSES, {"0", "1", "2", "3", ""}, "classes.csv"
        )

        expected = {"0": "Granny", "1": "Pink", "2": "Kiwi", "3": "Lemon"}
        assert (names, column) == (expected, "column Name")

    def test_ids_of_groups_are_named_by_groups(self):
        names, column = table.names_of(
            self.CLASSES, {"0", "1", "2"}, "classes.csv"
        )

        assert names == {"0": "Apple", "1": "Kiwi", "2": "Lemon"}
        assert column == "column Coarse name"

    def test_ids_that_may_be_of_two_columns_are_refused(self):
        with pytest.raises(UserError, match="several columns.*ID, Coarse ID"):
            table.names_of(self.CLASSES, {"0", "1"}, "classes.csv")

    def test_by_lines(self):
        read = lines(["ant"], ["bee"])

        assert table.names_of(read, {"0", "1"}, "names.txt")[0] == {
            "0": "ant",
            "1": "bee",
        }
        with pytest.raises(UserError, match="no name for the label '2'"):
            table.names_of(read, {"1", "2"}, "names.txt")

    def test_without_a_header(self):
        read = lines(["n01", "ant"], ["n02", "bee"])

        assert table.names_of(read, {"n01", "n02"}, "names.txt")[0] == {
            "n01": "ant",
            "n02": "bee",
        }

    @pytest.mark.parametrize(
        ("labels", "message"),
        [({"0", "9"}, "'0' first"), (set("012"), "no|No column .* different")],
    )
    def test_what_does_not_name_them_is_refused(self, labels, message):
        read = lines(["id", "name"], ["0", "x"], ["1", "x"], ["2", "y"])

        with pytest.raises(UserError, match=message):
            table.names_of(read, labels, "names.csv")
