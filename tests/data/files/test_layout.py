import pytest

from hierkeras._errors import UserError
from hierkeras.data.files import layout


def read(class_depth=0, **counts):
    """The layout of folders, given as {path with __ for /: images}."""
    folders = {tuple(k.split("__")) if k else (): n for k, n in counts.items()}
    return layout.read("photos", folders, class_depth)


def classes(read):
    """Folder to split and class."""
    return {
        "/".join(folder): (place.split, read.class_names[place.path])
        for folder, place in read.places.items()
    }


def refused(class_depth=0, **counts):
    with pytest.raises(UserError) as error:
        read(class_depth, **counts)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_class_folders():
    assert classes(read(bee=3, ant=1)) == {
        "bee": ("", "bee"),
        "ant": ("", "ant"),
    }


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize(
    ("other", "split"),
    [
        ("val", "validation"),
        ("valid", "validation"),
        ("Validation", "validation"),
        ("dev", "validation"),
        ("Test", "test"),
        ("testing", "test"),
    ],
)
def test_splits_by_their_names(train, other, split):
    counts = {f"{train}__ant": 3, f"{other}__ant": 1}

    assert classes(read(**counts)) == {
        f"{train}/ant": ("train", "ant"),
        f"{other}/ant": (split, "ant"),
    }


def test_a_class_may_be_called_train():
    assert classes(read(train=3, bus=3, car=3)) == {
        "train": ("", "train"),
        "bus": ("", "bus"),
        "car": ("", "car"),
    }


def test_both_readings_of_a_split_beside_classes_are_told():
    assert refused(train__ant=30, train__bee=20, cat=10) == (
        "The folder 'photos' can be read in two ways: 'train' as a split: 2 "
        "classes of 50 images, without the 10 images beside it; or every "
        "folder as a class: 2 classes of 60 images. Move one of them "
        "elsewhere, or give --class_depth=1 for the second."
    )


def test_a_flat_test_folder_beside_classes_is_refused():
    told = refused(ant=30, bee=20, test=1)

    assert "'test' as images without a class: 1 image left out of 51" in told
    assert "every folder as a class: 3 classes of 51 images" in told


def test_class_depth_makes_a_class_of_each():
    assert set(read(1, ant=3, bee=2, test=1).class_names.values()) == {
        "ant",
        "bee",
        "test",
    }
    assert set(read(1, train=3, test=2).class_names.values()) == {
        "train",
        "test",
    }


def test_flat_images_of_a_split_are_left_out():
    found = read(**{"train__a": 3, "val__a": 1, "test": 5, "": 2})

    assert found.left_out == {
        ("test",): "in no class folder of test",
        (): "beside the splits",
    }
    assert found.splits == ("test", "train", "val")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train__a": 1, "val__a": 1, "valid__a": 1}, "'val' and 'valid'"),
        ({"train__a": 1, "Train__b": 1}, "'Train' and 'train', which both"),
        ({"val__a": 1, "test__a": 1}, "but no 'train'"),
        ({"train": 9, "test": 9}, "no class folders.*csv:FILE"),
        ({"": 3}, "3 images in no class folders.*csv:FILE"),
        ({"data__train__a": 1, "data__val__a": 1}, "folder:photos/data"),
        (
            {"x__data__train__a": 1, "x__data__val__a": 1, "x__cat": 4},
            "folder:photos/x/data",
        ),
        ({"cat__train": 5, "cat__test": 1, "dog__train": 5}, "class_depth=1"),
        ({"cat__train": 5, "cat__test": 1, "cat__new": 5}, "class_depth=1"),
    ],
)
def test_other_places_of_splits_are_refused(counts, message):
    with pytest.raises(UserError, match=message):
        read(**counts)


def test_nested_folders_are_classes_by_their_last_part():
    assert classes(
        read(Fruit__Apple__Pink=2, Fruit__Apple__Red=2, Fruit__Kiwi=3)
    ) == {
        "Fruit/Apple/Pink": ("", "Pink"),
        "Fruit/Apple/Red": ("", "Red"),
        "Fruit/Kiwi": ("", "Kiwi"),
    }


def test_by_their_path_where_the_last_part_is_not_unique():
    found = read(Apple__Red=2, Pepper__Red=2, Apple__Pink=1, Kiwi=1, Plum=1)

    assert set(found.class_names.values()) == {
        "Apple/Red",
        "Pepper/Red",
        "Pink",
        "Kiwi",
        "Plum",
    }


def test_one_class_of_a_name_in_both_splits():
    found = read(train__Fruit__Kiwi=2, val__Fruit__Kiwi=2, train__Fig=1)

    assert sorted(found.class_names.values()) == ["Fig", "Kiwi"]


def test_folders_that_all_classes_have_are_refused_with_both_readings():
    assert refused(n01__images=500, n02__images=400) == (
        "The folder 'photos' can be read in two ways: 2 classes of 900 "
        "images, one for each folder, 'n01/images' first; or 2 classes, for "
        "folders like 'images' are below several of them. Give "
        "--class_depth=2 for the first, or --class_depth=1 for the second."
    )
    assert classes(read(1, n01__images=500, n02__images=400)) == {
        "n01/images": ("", "n01"),
        "n02/images": ("", "n02"),
    }


def test_such_a_folder_may_be_a_class_in_another_split():
    told = refused(train__a__images=5, train__b__images=5, val__images=4)

    assert told.endswith(
        "--class_depth=2 for the first, or --class_depth=1 for the second."
    )


def test_images_above_other_classes_are_refused_with_both_readings():
    assert refused(cat=10, cat__sub=3, dog=5) == (
        "The folder 'photos' can be read in two ways: 'cat' holds 10 images "
        "of its own, and 'cat/sub' below it 3, which may be of the same class "
        "or of one of their own. Give --class_depth=1 for the first, or move "
        "images that are of neither."
    )


def test_what_is_above_the_classes_is_left_out():
    found = read(2, A__x=1, A__y__z=1, B=4)

    assert classes(found) == {"A/x": ("", "x"), "A/y/z": ("", "y")}
    assert found.left_out == {("B",): "above the classes of --class_depth=2"}


def test_an_empty_folder_beside_classes_is_one():
    assert classes(read(ant=2, bee=0))["bee"] == ("", "bee")
    assert set(classes(read(train__ant=2, test__ant=1, train__bee=0))) == {
        "train/ant",
        "test/ant",
        "train/bee",
    }
    assert set(classes(read(ant=2, bee=1, other__deep=0))) == {"ant", "bee"}
