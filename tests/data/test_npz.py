import zipfile

import numpy as np
import pytest

from hierkeras._errors import UserError
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig

RANDOM = np.random.default_rng(0)


def images(size, *shape):
    return RANDOM.integers(0, 256, (size, *(shape or (4, 5, 3))), np.uint8)


@pytest.fixture
def save(tmp_path):
    """A function that writes arrays and opens them as a source."""

    def save(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return open_source(DataConfig(f"npz:{tmp_path / 'data.npz'}"))

    return save


def test_images_and_labels(save):
    pictures = images(40)
    source = save(images=pictures, labels=np.arange(40) % 2 * 10)

    catalogue = source.catalogue

    assert catalogue.class_names == ("0", "10")
    assert catalogue.labels.tolist() == [0, 1] * 20
    assert catalogue.keys[3] == "images/00000003"
    assert set(catalogue.splits.tolist()) == {0, 1, 2}
    read = list(source.read(np.array([30, 2])).as_numpy_iterator())
    np.testing.assert_array_equal(read, pictures[[30, 2]])


def test_grey_images_become_colour(save):
    grey = images(4, 6, 6)
    source = save(images=grey, labels=[0, 1, 0, 1])

    (image,) = source.read(np.array([2])).as_numpy_iterator()

    np.testing.assert_array_equal(image, np.stack([grey[2]] * 3, axis=-1))


def test_four_arrays_keep_their_test_images(save):
    catalogue = save(
        x_train=images(20),
        y_train=np.zeros((20, 1), np.uint8),
        x_test=images(3),
        y_test=np.zeros(3, np.int64),
    ).catalogue

    assert catalogue.indices("test", ["0"]).tolist() == [20, 21, 22]
    assert catalogue.keys[20] == "test/00000000"
    assert catalogue.counts(["0"])["0"]["validation"] >= 1


def test_validation_of_its_own_is_kept(save):
    parts = {"train": 6, "test": 2, "val": 3}
    arrays = {f"x_{part}": images(size) for part, size in parts.items()}
    labels = {f"y_{part}": np.zeros(size, int) for part, size in parts.items()}

    source = save(**arrays, **labels)

    counts = {"train": 6, "validation": 3, "test": 2}
    assert source.catalogue.counts(["0"])["0"] == counts
    assert source.left_out == ()


def test_keras_names_and_arrays_that_are_not_used(save):
    source = save(x=images(4), y=[0, 1, 0, 1], masks=images(4))

    assert source.catalogue.class_names == ("0", "1")
    (one,) = source.left_out
    assert (one.why, one.example) == ("arrays of other names", "masks")


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["bee", "ant", "bee"], None, (("ant", "bee"), [1, 0, 1])),
        (["bee", "ant", "bee"], ["bee", "ant"], (("bee", "ant"), [0, 1, 0])),
        ([2, 0, 2], ["a", "b", "c"], (("a", "b", "c"), [2, 0, 2])),
    ],
)
def test_class_names(save, labels, names, expected):
    more = {} if names is None else {"class_names": names}

    catalogue = save(images=images(3), labels=labels, **more).catalogue

    assert (catalogue.class_names, catalogue.labels.tolist()) == expected


def test_the_digest_changes_with_a_pixel(save):
    pictures = images(9)
    before = save(images=pictures, labels=[0] * 9).catalogue.digests
    pictures[4, 0, 0, 0] ^= 1
    after = save(images=pictures, labels=[0] * 9).catalogue.digests

    assert np.flatnonzero(before != after).tolist() == [4]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"photos": images(2)}, "holds photos;.*expected images"),
        ({"images": images(2)}, "holds images;.*expected images, labels"),
        (
            {"images": np.zeros((2, 4, 4, 3)), "labels": [0, 1]},
            "to be uint8.*float64 of shape",
        ),
        ({"images": images(2, 4), "labels": [0, 1]}, r"shape \(2, 4\)"),
        ({"images": images(2), "labels": [0]}, "labels .* 2 integers"),
        ({"images": images(2), "labels": [0.5, 1]}, "float64"),
        (
            {"images": images(1), "labels": [3], "class_names": ["a"]},
            "hold 3, for which",
        ),
        (
            {"images": images(1), "labels": ["b"], "class_names": ["a"]},
            "hold 'b', for which",
        ),
        (
            {"images": images(1), "labels": [0], "class_names": ["a", "a"]},
            "not unique",
        ),
        (
            {
                "x_train": images(1),
                "y_train": [0],
                "x_test": images(1, 9, 9, 3),
                "y_test": [0],
            },
            "differ in size",
        ),
        (
            {"images": images(1), "labels": np.array([None])},
            "without arrays of objects",
        ),
    ],
)
def test_other_arrays_are_refused_in_one_line(save, arrays, message):
    with pytest.raises(UserError, match=message) as error:
        save(**arrays)

    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no file '.*gone\.npz'"):
        open_source(DataConfig(f"npz:{tmp_path / 'gone.npz'}"))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)

    with pytest.raises(UserError, match=r"is no \.npz file"):
        open_source(DataConfig(f"npz:{path}"))


def no_header(folder):
    """An array whose header is no Python, which is NumPy's format of it."""
    file = folder / "images.npy"
    np.save(file, images(2))
    header = file.read_bytes().replace(b"'descr': ", b"'descr'# ")
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        archive.writestr("images.npy", header)


def no_deflate(folder):
    """Compressed pixels with a hole in them."""
    path = folder / "data.npz"
    np.savez_compressed(path, images=images(9), labels=np.arange(9))
    raw = bytearray(path.read_bytes())
    raw[200:300] = bytes(100)
    path.write_bytes(raw)


@pytest.mark.parametrize("write", [no_header, no_deflate])
def test_an_array_that_cannot_be_read_is_refused(tmp_path, write):
    write(tmp_path)
    with pytest.raises(UserError, match=r"is no \.npz file"):
        open_source(DataConfig(f"npz:{tmp_path / 'data.npz'}"))


def test_a_single_array_is_refused(tmp_path):
    with open(tmp_path / "data.npz", "wb") as file:
        np.save(file, images(2))

    with pytest.raises(UserError, match=r"is no \.npz file"):
        open_source(DataConfig(f"npz:{tmp_path / 'data.npz'}"))
