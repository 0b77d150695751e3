import os

import numpy as np
import pytest

from hierkeras._errors import UserError
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import check_enough


def open_folder(root, **config):
    return open_source(DataConfig(f"folder:{root}", **config))


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


def test_both_names_of_validation_are_refused(write_photos):
    root = write_photos({"train/a": 1, "val/a": 1, "validation/a": 1})

    with pytest.raises(UserError, match="both 'val' and 'validation'"):
        open_folder(root)


def test_only_visible_image_files_count(write_photos, encode):
    root = write_photos({"ant": 1, ".git": 1, "ant/thumbnails": 1})
    for name in ("b.JPG", "c.Jpeg", "d.bmp", "e.gif", "f.txt", ".g.png"):
        (root / "ant" / name).write_bytes(b"x")
    (root / "readme.png").write_bytes(b"x")

    catalogue = open_folder(root).catalogue

    assert catalogue.class_names == ("ant",)
    files = ["000.png", "b.JPG", "c.Jpeg", "d.bmp", "e.gif"]
    assert catalogue.keys.tolist() == [f"ant/{name}" for name in files]


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

    with pytest.raises(UserError, match="holds no class folders"):
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
