import json
import pathlib
import shutil

import pytest

from hierkeras._errors import UserError
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig

# Beside the repository, where there is a copy.
GROCERIES = pathlib.Path(__file__).parents[3] / "shared/data/grocery_store"


def open_csv(file, **config):
    return open_source(DataConfig(f"csv:{file}", **config))


def left_out(source):
    return {one.why: (one.count, one.example) for one in source.left_out}


def by_path(source):
    """Path to class and split."""
    table = source.catalogue
    return {
        key: (table.class_names[label], int(split))
        for key, label, split in zip(
            table.keys, table.labels, table.splits, strict=True
        )
    }


@pytest.fixture
def photos(write_photos):
    """A folder with x/000.png to x/009.png, and others."""
    return write_photos({"x": 10, "y": 4})


@pytest.fixture
def write(photos):
    """A function that writes a list, and gives its path."""

    def write(lines, name="list.csv"):
        path = photos / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def listed(count=10, folder="x/"):
    """Lines of paths and two classes."""
    return [f"{folder}{n:03d}.png,{'ab'[n % 2]}" for n in range(count)]


def test_paths_and_labels(write):
    source = open_csv(write(["path,label", *listed()]))

    assert source.catalogue.class_names == ("a", "b")
    assert source.catalogue.keys[1] == "x/001.png"
    assert source.catalogue.labels.tolist() == [0, 1] * 5
    assert set(source.catalogue.splits.tolist()) == {0, 1, 2}
    assert source.how == (
        "paths in column path, labels in column label of list.csv"
    )
    assert source.left_out == ()


@pytest.mark.parametrize("mark", [";", "\t", " "])
def test_without_a_header(write, mark):
    lines = [line.replace(",", mark) for line in listed()]

    source = open_csv(write(lines, "list.txt"))

    assert len(source.catalogue.keys) == 10
    assert source.how.startswith("paths in column 0, labels in column 1")


def test_windows_paths_and_absolute_ones(write, photos):
    lines = [r"x\000.png,a", rf"{photos}/x/001.png,b", "./y/../x/002.png,b"]

    assert by_path(open_csv(write(lines))).keys() == {
        "x/000.png",
        "x/001.png",
        "x/002.png",
    }


def test_what_is_listed_and_cannot_be_used_is_accounted_for(write, photos):
    (photos / "x" / "009.png").write_bytes(b"<html>")
    lines = ["x/gone.png,a", *listed(), "y/000.png,", "x,a", ",a"]

    source = open_csv(write(lines))

    assert left_out(source) == {
        "listed and not there": (3, "x/gone.png"),
        "listed without a label": (1, "y/000.png"),
        "called images that are an HTML page": (1, "x/009.png"),
    }
    assert len(source.catalogue.keys) + 5 == len(lines)


def test_an_image_of_two_labels_is_refused(write):
    with pytest.raises(UserError, match=r"'x/000.png' as 'a' and as 'c'"):
        open_csv(write([*listed(), "./x/000.png,c"]))
    # The same label twice is the same image twice.
    source = open_csv(write([*listed(), "x/000.png,a"]))
    assert left_out(source) == {
        "the same picture twice in its class": (1, "x/000.png")
    }


def test_a_column_of_splits(write):
    splits = ["Training", "val", "test", "train"]
    lines = [f"{x},{splits[n % 4]}" for n, x in enumerate(listed(8))]

    found = by_path(open_csv(write(["path,label,split", *lines])))

    assert [split for _, split in found.values()] == [0, 1, 2, 0] * 2


@pytest.mark.parametrize(
    ("split", "message"),
    [("extra", "'x/001.png' in the split 'extra'; valid"), ("", "in no split")],
)
def test_other_splits_are_refused(write, split, message):
    lines = ["path,label,split", "x/000.png,a,train", f"x/001.png,b,{split}"]

    with pytest.raises(UserError, match=message):
        open_csv(write(lines))


def test_a_group_stays_together_whatever_its_images_are(write_photos):
    root = write_photos({"x": 200})
    lines = [
        f"x/{n:03d}.png,{'ab'[n % 2]},{'s' + str(n // 8) if n < 160 else ''}"
        for n in range(200)
    ]
    file = root / "list.csv"
    file.write_text("\n".join(["path,label,series", *lines]))

    config = {"label_column": "label", "test_fraction": 0.3}
    found = by_path(open_csv(file, group_column="series", **config))
    alone = by_path(open_csv(file, **config))

    splits = [split for _, split in found.values()]
    groups = [splits[i : i + 8] for i in range(0, 160, 8)]
    assert all(len(set(group)) == 1 for group in groups)
    assert set(splits[:160]) == {0, 1, 2}
    # Images without a group are divided by their content.
    expected = [split for _, split in alone.values()][160:]
    assert sum(a != b for a, b in zip(splits[160:], expected, strict=True)) < 4


@pytest.mark.parametrize(
    "names", [["ant", "bee"], ["number;name", "1;bee", "0;ant", "7;cow"]]
)
def test_names_of_labels(write, names):
    lines = [line.replace(",a", ",0").replace(",b", ",1") for line in listed()]
    file = write(names, "names.csv")

    source = open_csv(write(lines), label_names=str(file))

    assert source.catalogue.class_names == ("ant", "bee")
    assert source.how.endswith("of names.csv")
    with pytest.raises(UserError, match=r"--label_names: .*gone"):
        open_csv(write(lines), label_names=str(file) + ".gone")


def test_files_called_as_splits_are_the_splits(write):
    first = write(listed(6), "train.txt")
    write([line.replace("x/", "y/") for line in listed(2)], "valid.txt")

    for file in (first, first.with_name("valid.txt")):
        found = by_path(open_csv(file))
        assert [s for p, (_, s) in found.items() if p[0] == "y"] == [2, 2]
        assert len(found) == 8

    write(listed(2), "val.txt")
    with pytest.raises(UserError, match="two name one split"):
        open_csv(first)


def test_splits_with_other_columns_are_refused(write):
    first = write(["path,label", *listed(6)], "train.csv")
    write(["label,path", "a,y/000.png"], "test.csv")

    with pytest.raises(UserError, match=r"test\.csv has not the columns"):
        open_csv(first)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_as_of_hugging_face(write_photos, name):
    root = write_photos({"train": 6, "test": 2})
    for split, count in (("train", 6), ("test", 2)):
        rows = [
            {"file_name": f"{n:03d}.png", "label": "ab"[n % 2]}
            for n in range(count)
        ]
        text = "\n".join(map(json.dumps, rows))
        if name.endswith(".csv"):
            lines = (f"{row['file_name']},{row['label']}" for row in rows)
            text = "\n".join(["file_name,label", *lines])
        (root / split / name).write_text(text)

    source = open_csv(root / "train" / name)

    found = by_path(source)
    assert found["test/001.png"] == ("b", 2)
    assert found["train/001.png"][0] == "b"
    assert len(found) == 8
    assert source.how.endswith(f"of test/{name}, train/{name}")


def test_a_list_of_the_current_directory(write_photos, monkeypatch):
    root = write_photos({"train": 6, "test": 2})
    for split, count in (("train", 6), ("test", 2)):
        lines = [f"{n:03d}.png,{'ab'[n % 2]}" for n in range(count)]
        (root / split / "list.csv").write_text("\n".join(lines))
    monkeypatch.chdir(root / "train")

    for name in ("list.csv", "../test/list.csv"):
        assert len(by_path(open_csv(name))) == 8


def test_parquet(photos):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "image": [f"x/{n:03d}.png" for n in range(6)],
        "label": [0, 1] * 3,
    }
    parquet.write_table(pyarrow.table(columns), photos / "list.parquet")

    assert open_csv(photos / "list.parquet").catalogue.class_names == ("0", "1")


def test_paths_from_the_only_folder_that_has_them(write):
    lines = ["004.png,a", "005.png,b", "006.png,b"]

    source = open_csv(write(lines))

    assert by_path(source).keys() == {f"x/00{n}.png" for n in (4, 5, 6)}
    assert source.how.endswith("of list.csv, paths from x")
    with pytest.raises(UserError, match=r"2 ways: .*'x' and in 'y'"):
        open_csv(write(["000.png,a", "001.png,b"]))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["gone.png,a", "lost.png,b"], "is the path of a file from"),
        (["x/000.png,a", "x/001.png,a"], "2 images .* of 1 classes"),
        (["x/000.png", "x/001.png"], "no column of labels"),
        (["x/000.png,1,2", "x/001.png,2,1"], "--label_column"),
        ([], "cannot be read .it is empty."),
    ],
)
def test_other_lists_are_refused_in_one_line(write, lines, message):
    with pytest.raises(UserError, match=message) as error:
        open_csv(write(lines))

    assert "\n" not in str(error.value)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no file .*gone"):
        open_csv(tmp_path / "gone.csv")


def check_one_data_set(root, file, **config):
    """Checks that folders and list are the same data set."""
    folders = open_source(DataConfig(f"folder:{root}")).catalogue
    listed = open_csv(file, **config).catalogue

    assert folders.class_names == listed.class_names
    assert folders.keys.tolist() == listed.keys.tolist()
    assert folders.labels.tolist() == listed.labels.tolist()
    assert folders.splits.tolist() == listed.splits.tolist()
    assert folders.class_fingerprints(
        folders.class_names
    ) == listed.class_fingerprints(listed.class_names)


def test_groceries_made_up(write_photos):
    """Folders and lists as of the grocery store data set."""
    classes = ["Fruit/Apple/Pink", "Fruit/Apple/Red", "Fruit/Kiwi", "Veg/Leek"]
    root = write_photos(
        {f"{s}/{c}": n for c in classes for s, n in (("train", 9), ("val", 2))}
    )
    shutil.rmtree(root / "val" / classes[3])  # Not all are in both.
    coarse = [0, 0, 1, 2]
    for split in ("train", "val"):
        lines = [
            f"{path.relative_to(root)}, {label}, {coarse[label]}"
            for label, name in enumerate(classes)
            for path in sorted((root / split / name).glob("*"))
        ]
        (root / f"{split}.txt").write_text("\n".join(lines))
    (root / "classes.csv").write_text(
        "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse ID\n"
        "Pink,0,Apple,0\nRed,1,Apple,0\nKiwi,2,Kiwi,1\nLeek,3,Leek,2\n"
    )

    check_one_data_set(
        root,
        root / "train.txt",
        label_column="1",
        label_names=str(root / "classes.csv"),
    )


@pytest.mark.skipif(not GROCERIES.exists(), reason="groceries are not there")
def test_groceries():
    check_one_data_set(
        GROCERIES,
        GROCERIES / "train.txt",
        label_column="1",
        label_names=str(GROCERIES / "classes.csv"),
    )
