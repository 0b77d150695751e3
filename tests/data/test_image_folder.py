import os
import pathlib
import random
import shutil
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierkeras._errors import UserError
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import check_enough


def open_folder(root, **config):
    return open_source(DataConfig(f"folder:{root}", **config))


def left_out(source):
    return {one.why: one.count for one in source.left_out}


def splits_by_content(catalogue):
    """Every image, by its bytes, to its class and split."""
    return {
        (catalogue.digest(i), int(catalogue.labels[i])): int(split)
        for i, split in enumerate(catalogue.splits)
    }


def test_class_folders_without_splits(write_photos):
    root = write_photos({"bee": 40, "Ant hill": 40})

    catalogue = open_folder(root).catalogue

    assert catalogue.class_names == ("Ant hill", "bee")
    assert catalogue.keys[0] == "Ant hill/000.png"
    assert catalogue.keys.tolist() == sorted(catalogue.keys.tolist())
    assert set(catalogue.splits.tolist()) == {0, 1, 2}
    check_enough(catalogue, catalogue.class_names)


@pytest.mark.parametrize("second", ["val", "validation", "test"])
def test_training_and_one_more_split(write_photos, second):
    root = write_photos({"train/ant": 30, f"{second}/ant": 5})

    catalogue = open_folder(root).catalogue

    assert catalogue.class_names == ("ant",)
    tested = catalogue.keys[catalogue.indices("test", ["ant"])]
    assert tested.tolist() == [f"{second}/ant/{i:03d}.png" for i in range(5)]
    assert catalogue.counts(["ant"])["ant"]["validation"] >= 1


def test_three_splits_are_kept(write_photos):
    root = write_photos({"train/ant": 3, "val/ant": 2, "test/ant": 1})

    assert open_folder(root).catalogue.counts(["ant"])["ant"] == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }


def test_a_class_may_be_called_train(write_photos):
    root = write_photos({"train": 3, "bus": 3})

    assert open_folder(root).catalogue.class_names == ("bus", "train")


def test_every_file_is_used_or_accounted_for(write_photos, encode):
    root = write_photos({"ant": 2, ".git": 1, "bee": 3, "__MACOSX/ant": 1})
    image = encode(colour=(1, 2, 3))
    (root / "ant" / "no_suffix").write_bytes(image)
    (root / "ant" / "b.JFIF").write_bytes(encode(colour=(1, 2, 4)))
    (root / "ant" / "c.jpg").write_bytes(b"<html>404</html>")
    (root / "ant" / "d.jpg").write_bytes(b"")
    (root / "ant" / "copy.png").write_bytes(image)
    (root / "ant" / "f.txt").write_text("some words on ants")
    (root / "ant" / "Thumbs.db").write_bytes(b"x")
    (root / "readme.md").write_text("x")
    (root / "beside.png").write_bytes(encode())
    (root / "notes" / "x").mkdir(parents=True)
    (root / "notes" / "x" / "y.xml").write_text("<a/>")

    source = open_folder(root)

    assert source.catalogue.class_names == ("ant", "bee")
    assert len(source.catalogue.keys) == 7
    assert left_out(source) == {
        "called images that are an HTML page": 1,
        "called images that are empty": 1,
        "the same picture twice in its class": 1,
        "no images (.txt)": 1,
        "no images (.md)": 1,
        "no images (.xml)": 1,
        "in no class folder": 1,
        "debris of Windows": 1,
        "debris of macOS": 1,
        "debris of git": 1,
    }
    files = sum(path.is_file() for path in root.rglob("*"))
    assert 7 + sum(left_out(source).values()) == files


def test_a_class_of_files_that_are_not_called_images(write_photos):
    root = write_photos({"ant": 3, "bee": 3, "scripts": 0})
    for path in (root / "bee").iterdir():
        path.rename(path.with_suffix(".jpg_original"))
    (root / "scripts" / "LICENSE").write_text("Permission is granted to ...")

    source = open_folder(root)

    assert source.catalogue.class_names == ("ant", "bee")
    assert source.catalogue.keys[3] == "bee/000.jpg_original"
    assert left_out(source) == {"no images (without a suffix)": 1}


TREES = st.dictionaries(
    st.sampled_from(
        [
            *("cat/1.jpg", "cat/2.png", "cat/3", "cat/sub/4.jpg", "dog/1.jpg"),
            *("dog/._1.jpg", "dog/x.txt", "train/a/1.jpg", "val/a/1.jpg"),
            *("test/1.jpg", "1.jpg", "README", ".git/x", "emu/Thumbs.db"),
            *("labels.csv", "emu/1.webp", "emu/2.webp"),
        ]
    ),
    st.sampled_from([b"", b"<html>", b"\xff\xd8\xffa", b"\xff\xd8\xffb"]),
    min_size=3,
)


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_files_of_any_tree_add_up_or_it_is_refused(tree):
    with tempfile.TemporaryDirectory() as root:
        for name, content in tree.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            source = open_folder(root)
        except UserError as error:
            assert "\n" not in str(error)
            return
        again = open_source(DataConfig(f"folder:{root}"), source.keep())

    assert len(source.catalogue.keys) + sum(left_out(source).values()) == len(
        tree
    )
    assert again.left_out == source.left_out
    assert again.catalogue.keys.tolist() == source.catalogue.keys.tolist()


@pytest.mark.parametrize("suffix", ["jpg", ""])
def test_renames_and_moves_are_no_change(write_photos, suffix):
    root = write_photos({"ant": 40, "bee": 40})
    before = open_folder(root).catalogue
    names = [f"{n}.{suffix}" for n in range(40)]
    random.Random(0).shuffle(names)
    for name, path in zip(names, sorted((root / "ant").iterdir()), strict=True):
        path.rename(root / "ant" / name)
    shutil.move(root, f"{root}_moved")

    after = open_folder(f"{root}_moved").catalogue

    assert splits_by_content(after) == splits_by_content(before)
    for classes in (["ant"], ["bee"], ["ant", "bee"]):
        assert after.fingerprint(classes) == before.fingerprint(classes)


def test_adding_files_moves_none(write_photos):
    root = write_photos({"ant": 80})
    before = splits_by_content(open_folder(root).catalogue)
    write_photos({"ant": 120, "bee": 5})

    after = splits_by_content(open_folder(root).catalogue)

    assert after.items() >= before.items()


def test_bad_files_leave_no_split_empty(write_photos):
    root = write_photos({"ant": 19})
    catalogue = open_folder(root).catalogue
    (chosen,) = catalogue.keys[catalogue.indices("validation", ["ant"])]
    whole = (root / chosen).read_bytes()

    (root / chosen).write_bytes(b"")
    source = open_folder(root)

    assert min(source.catalogue.counts(["ant"])["ant"].values()) >= 1
    assert left_out(source) == {"called images that are empty": 1}

    (root / chosen).write_bytes(whole)  # it comes back
    mended = open_source(DataConfig(f"folder:{root}"), source.keep())
    assert mended.catalogue.fingerprint(["ant"]) == catalogue.fingerprint(
        ["ant"]
    )
    assert mended.left_out == ()


def test_what_cannot_be_decoded_leaves_no_split_empty(write_photos):
    catalogue = open_folder(write_photos({"ant": 12})).catalogue
    for split in ("train", "validation", "test"):
        lost = catalogue.indices(split, ["ant"])[:10]

        counts = catalogue.lacking(lost).counts(["ant"])["ant"]

        assert sum(counts.values()) == 12 - len(lost)
        assert min(counts.values()) >= 1 or len(lost) == 10


def test_the_same_picture_counts_once_in_a_class(write_photos):
    root = write_photos({"train/ant": 5, "test/ant": 1, "train/bee": 5})
    shutil.copy(root / "test/ant/000.png", root / "train/ant/copy.png")
    shutil.copy(root / "test/ant/000.png", root / "train/bee/copy.png")

    source = open_folder(root)

    # What is tested on is not trained on; another class has its own.
    keys = source.catalogue.keys.tolist()
    assert "test/ant/000.png" in keys
    assert "train/bee/copy.png" in keys
    assert "train/ant/copy.png" not in keys
    assert left_out(source) == {"the same picture twice in its class": 1}


def test_a_class_of_one_picture_is_said(write_photos, encode):
    root = write_photos({"ant": 5, "bee": 1})
    for number in range(1, 19):
        shutil.copy(root / "bee" / "000.png", root / "bee" / f"{number}.png")

    assert open_folder(root).notes == (
        "class 'bee' has 19 image files, but only 1 different",
    )


class TestTablesBeside:
    """`images/` beside `labels.csv` is no class."""

    def labels(self, root, folders, label, name="labels.csv"):
        paths = [p for f in folders for p in sorted((root / f).iterdir())]
        lines = [f"{p.name},{label(n, p)}" for n, p in enumerate(paths)]
        (root / name).write_text("\n".join(["file,label", *lines]))

    def test_one_folder_is_refused(self, write_photos):
        root = write_photos({"images": 9})
        (root / "labels.csv").write_text("anything")

        with pytest.raises(UserError) as error:
            open_folder(root)

        assert str(error.value) == (
            f"The folder '{root}' can be read in two ways: every folder as a "
            "class, or the classes that labels.csv may list. Give "
            f"--dataset=csv:{root}/labels.csv for the second, or "
            "--class_depth=1 for the first."
        )
        assert open_folder(root, class_depth=1).catalogue.class_names == (
            "images",
        )

    @pytest.mark.parametrize("name", ["train.csv", "labels.txt"])
    def test_folders_whose_images_differ_in_label_are_refused(
        self, write_photos, name
    ):
        root = write_photos({"train_images": 9, "docs": 2})
        self.labels(root, ["train_images"], lambda n, _: "ab"[n % 2], name)

        with pytest.raises(UserError, match=f"{name} may list"):
            open_folder(root)

    def test_labels_that_are_the_folders_are_welcome(self, write_photos):
        root = write_photos({"ant": 3, "bee": 3})
        for path in [*root.glob("*/*")]:
            path.rename(path.with_name(f"{path.parent.name}{path.name}"))
        self.labels(root, ["ant", "bee"], lambda _, p: p.parent.name)

        assert open_folder(root).catalogue.class_names == ("ant", "bee")

    def test_other_tables_do_not_matter(self, write_photos):
        root = write_photos({"ant": 3, "bee": 3})
        (root / "sales.csv").write_text("month,sum\n1,20\n2,30\n3,20\n")
        (root / "notes.txt").write_text('an "open quote\nand, more')

        assert open_folder(root).catalogue.class_names == ("ant", "bee")


def test_layouts_are_said(write_photos):
    root = write_photos(
        {"Train/A/ant": 3, "Train/bee": 3, "Test/A/ant": 1, "Test/bee": 1}
    )

    assert open_folder(root).how == (
        "splits by the folders Test, Train, classes by folders 1 or 2 deep"
    )


def test_classes_off_the_list_are_accounted_for(write_photos):
    root = write_photos({"ant": 3, "bee": 4, "cat": 2})

    source = open_folder(root, class_list=("cat", "ant"))

    assert source.catalogue.class_names == ("cat", "ant")
    assert left_out(source) == {"of classes that are not on the list": 4}


def test_an_empty_class_folder_is_an_empty_class(write_photos):
    root = write_photos({"ant": 5, "bee": 0})

    catalogue = open_folder(root).catalogue

    assert catalogue.class_names == ("ant", "bee")
    with pytest.raises(UserError, match="'bee' has 0 images"):
        check_enough(catalogue, ["ant", "bee"])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no folder '.*gone'"):
        open_folder(tmp_path / "gone")


def test_a_folder_without_class_folders_is_refused(tmp_path, encode):
    (tmp_path / "a.png").write_bytes(encode())

    with pytest.raises(UserError, match="1 image in no class folders"):
        open_folder(tmp_path)


def test_the_digest_changes_with_the_content(write_photos, encode):
    root = write_photos({"ant": 4})
    before = open_folder(root).catalogue.fingerprint(["ant"])

    for path in (root / "ant").iterdir():
        path.write_bytes(encode(size=(60, 40)))

    assert open_folder(root).catalogue.fingerprint(["ant"]) != before


def test_reads_in_any_order(write_photos):
    root = write_photos({"ant": 3, "bee": 2})
    source = open_folder(root)

    contents = list(source.read(np.array([4, 0, 1])).as_numpy_iterator())

    keys = ["bee/001.png", "ant/000.png", "ant/001.png"]
    assert contents == [(root / key).read_bytes() for key in keys]


def test_a_name_that_is_no_utf_8(write_photos, encode):
    root = write_photos({"ant": 2})
    name = os.path.join(os.fsencode(root / "ant"), b"\xff.png")
    try:
        with open(name, "wb") as file:
            file.write(encode())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = open_folder(root)

    assert source.catalogue.fingerprint(["ant"])
    (content,) = source.read(np.array([2])).as_numpy_iterator()
    assert content == encode()
