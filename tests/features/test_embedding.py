"""Features of images: each image goes through the trunk once in its life."""

import dataclasses
import io
import subprocess
import sys

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf
from etils import epath

from hierkeras import _progress
from hierkeras._errors import UserError
from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.images import Images
from hierkeras.features import embedding, shards
from hierkeras.features.embedding import Embedding, keys_of
from hierkeras.features.views import View
from tests import small_trunks
from tests.conftest import ROOT

SIZE, COUNT = 16, 20
EVERY = np.arange(COUNT)


def pixels_of(count=COUNT, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def images_of(pixels):
    count = len(pixels)
    catalogue = Catalogue(
        ("a",),
        np.array([f"k{number}" for number in range(count)]),
        np.zeros(count, np.int32),
        np.zeros(count, np.int8),
        np.arange(count),
    )
    catalogue = dataclasses.replace(catalogue, digests=checksums(pixels))
    return Images(ArraySource("pixels", "npz", catalogue, pixels), SIZE)


class Counting:
    """Loads a real trunk, and counts the images that go through it.

    Attributes:
        loads: How often it was loaded.
        images: How many images it was given.
    """

    def __init__(self, fails_at=None):
        self.loads, self.images, self.fails_at = 0, 0, fails_at

    def __call__(self):
        self.loads += 1
        network = small_trunks.network(SIZE)
        images = keras.Input((SIZE, SIZE, 3))
        return keras.Model(images, network(_Counted(self)(images)))

    def note(self, count):
        if self.fails_at is not None and self.images >= self.fails_at:
            raise KeyboardInterrupt
        self.images += int(count)
        return np.int32(0)


class _Counted(keras.layers.Layer):
    def __init__(self, counting):
        super().__init__()
        self._counting = counting

    def call(self, images):
        if isinstance(images, keras.KerasTensor):
            return images
        note = tf.numpy_function(
            self._counting.note, [tf.shape(images)[0]], tf.int32
        )
        with tf.control_dependencies([note]):
            return tf.identity(images)

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.fixture
def folder(tmp_path):
    return epath.Path(tmp_path) / "features"


@pytest.fixture
def embed(folder):
    """Makes an embedding of some pixels, in batches of 8."""

    def embed(pixels, trunk, **options):
        options = {"batch_size": 8, "progress": "none"} | options
        return Embedding(folder, trunk, images_of(pixels), **options)

    return embed


def expected(pixels):
    network = small_trunks.network(SIZE)
    return network(pixels.astype(np.float32), training=False).numpy()


def test_features_are_the_trunks(embed):
    pixels, trunk = pixels_of(), Counting()
    found = embed(pixels, trunk).of(EVERY)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected(pixels), rtol=1e-3, atol=1e-4)
    assert (trunk.loads, trunk.images) == (1, COUNT)


def test_an_image_goes_through_the_trunk_once_in_its_life(embed, folder):
    pixels, trunk = pixels_of(), Counting()
    ours = embed(pixels, trunk)
    first = ours.of(EVERY[:12])
    every = ours.of(EVERY)
    np.testing.assert_array_equal(every[:12], first)
    assert (trunk.loads, trunk.images) == (1, COUNT)
    # In another process nothing is new, so the trunk is not even loaded.
    later = Counting()
    order = np.random.default_rng(1).permutation(COUNT)
    found = embed(pixels, later).of(order)
    np.testing.assert_array_equal(found, every[order])
    assert later.loads == 0
    # Other images beside the old ones, elsewhere in the data set.
    more = np.concatenate([pixels_of(3, seed=5), pixels])
    found = embed(more, later).of(np.arange(COUNT + 3))
    np.testing.assert_array_equal(found[3:], every)
    assert later.images == 3


def test_what_another_process_embedded_meanwhile_is_seen(embed):
    pixels, trunk, other = pixels_of(), Counting(), Counting()
    ours = embed(pixels, trunk)
    ours.of(EVERY[:4])
    embed(pixels, other).of(EVERY)
    ours.of(EVERY)
    assert (trunk.images, other.images) == (4, COUNT - 4)


def test_two_files_of_the_same_content_are_one_image(embed):
    pixels = pixels_of()
    pixels[7] = pixels[13] = pixels[2]
    trunk = Counting()
    found = embed(pixels, trunk).of(EVERY)
    assert trunk.images == COUNT - 2
    np.testing.assert_array_equal(found[7], found[2])
    np.testing.assert_allclose(found, expected(pixels), rtol=1e-3, atol=1e-4)


def test_cut_off_between_shards_it_goes_on(embed, folder, monkeypatch):
    monkeypatch.setattr(embedding, "_FIRST_SHARD", 8)
    monkeypatch.setattr(embedding, "_LARGEST_SHARD", 8)
    pixels, trunk = pixels_of(), Counting(fails_at=16)
    with pytest.raises(BaseException):  # noqa: B017 - TensorFlow wraps it
        embed(pixels, trunk).of(EVERY)
    assert len(list((folder / "whole").iterdir())) == 2
    again = Counting()
    found = embed(pixels, again).of(EVERY)
    assert again.images == COUNT - 16
    np.testing.assert_allclose(found, expected(pixels), rtol=1e-3, atol=1e-4)


def test_a_removed_shard_is_embedded_again(embed, folder):
    pixels = pixels_of()
    embed(pixels, Counting()).of(EVERY[:5])
    whole = embed(pixels, Counting()).of(EVERY)
    for shard in (folder / "whole").iterdir():
        (shard / "features.npy").write_bytes(b"damaged")
        with pytest.raises(UserError, match="remove that folder"):
            embed(pixels, Counting()).of(EVERY)
        shard.rmtree()
        np.testing.assert_array_equal(
            embed(pixels, Counting()).of(EVERY), whole
        )


def test_each_view_has_features_of_its_own(embed):
    pixels, trunk = pixels_of(), Counting()
    ours = embed(pixels, trunk)
    views = [View(), View(1), View(2), View(1, is_mirrored=True)]
    found = [ours.of(EVERY, view) for view in views]
    assert (trunk.loads, trunk.images) == (1, 4 * COUNT)
    for number, one in enumerate(found[:3]):
        for other in found[:number]:
            assert (one != other).any(axis=1).all()
    # Those that are not mirrored are the same crops.
    is_same = (found[1] == found[3]).all(axis=1)
    keys = keys_of(images_of(pixels).source.catalogue, EVERY)
    boxes = views[3].boxes(keys)
    np.testing.assert_array_equal(is_same, boxes[:, 1] < boxes[:, 3])
    assert 0 < is_same.sum() < COUNT


def test_a_crop_is_of_its_place(embed):
    pixels = pixels_of()
    found = embed(pixels, Counting()).of(EVERY, View(1))
    boxes = View(1).boxes(keys_of(images_of(pixels).source.catalogue, EVERY))
    crops = tf.image.crop_and_resize(
        pixels.astype(np.float32), boxes, np.arange(COUNT), (SIZE, SIZE)
    ).numpy()
    np.testing.assert_allclose(found, expected(crops), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_no_numbers_are_one_line(embed, folder, value):
    def trunk():
        images = keras.Input((SIZE, SIZE, 3))
        pooled = keras.layers.GlobalAveragePooling2D()(images)
        return keras.Model(images, keras.layers.Rescaling(value)(pooled))

    with pytest.raises(UserError, match="no number; the trunk"):
        embed(pixels_of(), trunk).of(EVERY)
    assert shards.find(folder / "whole").has(np.array([b"x"])).tolist() == [
        False
    ]


def test_how_far_it_is_is_told_a_line_a_shard(embed, monkeypatch, capsys):
    monkeypatch.setattr(embedding, "_FIRST_SHARD", 12)
    ours = embed(pixels_of(), Counting(), progress="lines")
    ours.of(EVERY)
    ours.of(EVERY, View(1))
    first, second, crops, _ = capsys.readouterr().err.splitlines()
    assert first.startswith("[features] 12 of 20 images, ")
    assert first.endswith(" s left")
    assert second.startswith("[features] 20 of 20 images, ")
    assert second.endswith(" a second")
    assert crops.startswith("[features] 12 of 20 crops, ")
    embed(pixels_of(seed=1), Counting()).of(EVERY)
    assert capsys.readouterr().err == ""


def test_a_terminal_is_shown_a_bar(embed, monkeypatch, capsys):
    seen = io.StringIO()
    console = rich.console.Console(file=seen, force_terminal=True, width=120)
    monkeypatch.setattr(_progress, "Console", lambda stderr: console)
    embed(pixels_of(), Counting(), progress="bar").of(EVERY, View(1))
    assert capsys.readouterr().err == ""
    for part in ("[features]", "100%", "crops/s"):
        assert part in seen.getvalue(), part


def test_keys_of_digests_that_are_text_are_as_long_and_differ():
    catalogue = images_of(pixels_of()).source.catalogue
    keys = keys_of(catalogue, EVERY)
    assert keys.itemsize == 16
    assert len(np.unique(keys)) == COUNT
    np.testing.assert_array_equal(keys_of(catalogue, EVERY[5:]), keys[5:])


def test_keys_of_digests_of_16_bytes_are_these():
    raw = (
        np.random.default_rng(0).integers(0, 256, (COUNT, 16)).astype(np.uint8)
    )
    raw[3, -4:] = 0
    digests = raw.view("V16")[:, 0]
    catalogue = dataclasses.replace(
        images_of(pixels_of()).source.catalogue, digests=digests
    )
    keys = keys_of(catalogue, EVERY)
    assert keys.tobytes() == raw.tobytes()


@pytest.mark.slow
def test_another_process_computes_the_same(folder, tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from etils import epath\n"
        "from hierkeras.features.views import View\n"
        "from tests.features import test_embedding as t\n"
        "ours = t.Embedding(epath.Path(sys.argv[1]), t.Counting(),"
        " t.images_of(t.pixels_of()), 8, True)\n"
        "np.save(sys.argv[2], ours.of(t.EVERY, View(1, True)))\n"
    )
    found = []
    for name in ("one", "other"):
        file = tmp_path / f"{name}.npy"
        subprocess.run(
            [sys.executable, "-c", code, str(folder / name), str(file)],
            cwd=ROOT,
            check=True,
        )
        found.append(np.load(file))
    np.testing.assert_array_equal(*found)
