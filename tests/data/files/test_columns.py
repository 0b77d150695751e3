import pytest

from hierkeras._errors import UserError
from hierkeras.data.files import columns
from hierkeras.data.files.columns import Asked, Columns
from hierkeras.data.files.table import Table


def lines(*rows):
    """A table of rows."""
    return Table([list(column) for column in zip(*rows, strict=True)])


class TestColumns:
    HEADER = ("id", "file", "split", "class", "breed")
    ROW = ("7", "a.jpg", "val", "cat", "tabby")

    def find(self, *asked, rows=None):
        rows = rows or [self.HEADER, self.ROW]
        found = lines(*rows).with_header(1)
        return columns.find_columns(found, Asked(*asked), 1)

    def test_are_found_by_their_names(self):
        assert self.find() == Columns(1, 3, 2, None)

    def test_are_asked_for_by_name_or_number(self):
        assert self.find("breed", "", "id") == Columns(1, 4, 2, 0)
        assert self.find("4", "", "0") == Columns(1, 4, 2, 0)

    def test_unknown_ones_are_answered_with_those_there_are(self):
        with pytest.raises(UserError, match=r"'kind'; there are id, file, .*4"):
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
            columns.find_columns(lines(["a.jpg"], ["b.jpg"]), Asked(), 0)

    def test_numbers_of_folds_are_no_splits(self):
        rows = [["fold", "file", "label"], ["3", "a.jpg", "cat"]]

        assert self.find(rows=rows) == Columns(1, 2)

    def test_values_are_no_names_of_columns(self):
        rows = [["label", "a.jpg", "x"], ["cat", "b.jpg", "y"]]

        with pytest.raises(UserError, match=r"several columns: 0 .*; 2 "):
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
        names, column = columns.names_of(
            self.CLASSES, {"0", "1", "2", "3", ""}, "classes.csv"
        )

        expected = {"0": "Granny", "1": "Pink", "2": "Kiwi", "3": "Lemon"}
        assert (names, column) == (expected, "column Name")

    def test_ids_of_groups_are_named_by_groups(self):
        names, column = columns.names_of(
            self.CLASSES, {"0", "1", "2"}, "classes.csv"
        )

        assert names == {"0": "Apple", "1": "Kiwi", "2": "Lemon"}
        assert column == "column Coarse name"

    def test_ids_that_may_be_of_two_columns_are_refused(self):
        with pytest.raises(UserError, match=r"several columns.*ID, Coarse ID"):
            columns.names_of(self.CLASSES, {"0", "1"}, "classes.csv")

    def test_by_lines(self):
        read = lines(["ant"], ["bee"])

        assert columns.names_of(read, {"0", "1"}, "names.txt")[0] == {
            "0": "ant",
            "1": "bee",
        }
        with pytest.raises(UserError, match="no name for the label '2'"):
            columns.names_of(read, {"1", "2"}, "names.txt")

    def test_without_a_header(self):
        read = lines(["n01", "ant"], ["n02", "bee"])

        assert columns.names_of(read, {"n01", "n02"}, "names.txt")[0] == {
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
            columns.names_of(read, labels, "names.csv")
