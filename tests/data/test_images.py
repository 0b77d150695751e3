import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hierkeras.data.decoding.graph import decode_and_resize
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.images import Images, Unreadable
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig


@pytest.fixture
def rewritten_graphs():
    """TensorFlow rewrites graphs, as it does outside tests."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": False}
    )
    yield
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
    )


def resized(image, size):
    return decode_and_resize(tf.constant(image), size).numpy()


class TestDecodeAndResize:
    @pytest.mark.parametrize(
        ("mode", "image_format"),
        [
            ("RGB", "PNG"),
            ("RGB", "JPEG"),
            ("RGB", "BMP"),
            ("RGB", "GIF"),
            ("P", "PNG"),
            ("RGBA", "PNG"),
            ("RGBA", "BMP"),
            ("CMYK", "JPEG"),
        ],
    )
    def test_formats_in_colour(self, encode, mode, image_format):
        image = resized(encode(mode, image_format, colour=(255, 0, 0)), 2)

        assert image.dtype == np.uint8
        np.testing.assert_allclose(
            image, np.full((2, 2, 3), [255, 0, 0]), atol=2
        )

    @pytest.mark.parametrize(
        ("mode", "image_format"),
        [
            ("L", "PNG"),
            ("LA", "PNG"),
            ("L", "JPEG"),
            ("L", "BMP"),
            ("L", "GIF"),
        ],
    )
    def test_formats_in_grey(self, encode, mode, image_format):
        image = resized(encode(mode, image_format, colour=(90, 90, 90)), 2)

        np.testing.assert_allclose(image, np.full((2, 2, 3), 90), atol=1)

    def test_the_first_frame_of_an_animation(self):
        buffer = io.BytesIO()
        frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
        frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])

        image = resized(buffer.getvalue(), 4)

        assert (image == [255, 0, 0]).all()

    def test_the_centre_is_cropped(self):
        wide = np.zeros((2, 5, 3), np.uint8)
        wide[:] = np.array([10, 20, 30, 40, 50])[None, :, None]

        # A margin of 3 columns leaves 1 on the left and 2 on the right.
        assert resized(wide, 2)[0, :, 0].tolist() == [20, 30]
        assert resized(wide.transpose(1, 0, 2), 2)[:, 0, 0].tolist() == [20, 30]

    def test_shrinking_averages(self):
        stripes = np.zeros((8, 8, 3), np.uint8)
        stripes[:, ::2] = 200

        # Without antialiasing, a stripe that is hit gives 0 or 200.
        assert (abs(resized(stripes, 2).astype(int) - 100) <= 25).all()

    def test_growing_is_bilinear_and_rounds(self):
        image = np.zeros((2, 2, 1), np.uint8)
        image[:, 1] = 101

        # Centres of the new pixels lie at -1/4, 1/4, 3/4 and 5/4.
        assert resized(image, 4)[0, :, 0].tolist() == [0, 25, 76, 101]

    def test_the_same_size_changes_nothing(self):
        image = np.random.default_rng(0).integers(0, 256, (7, 7, 3), np.uint8)

        np.testing.assert_array_equal(resized(image, 7), image)

    @pytest.mark.usefixtures("rewritten_graphs")
    def test_a_traced_graph_gives_the_same_pixels(self):
        # TensorFlow's constant folding once made a corner of a traced image.
        generator = np.random.default_rng(0)
        encoded = [
            tf.io.encode_png(
                generator.integers(0, 256, (*shape, 3)).astype(np.uint8)
            )
            for shape in ((12, 12), (8, 8), (8, 20), (30, 9))
        ]
        # Both are traced for all of them: that is what takes its time.
        traced = tf.function(
            lambda one: decode_and_resize(one, 8),
            input_signature=[tf.TensorSpec([], tf.string)],
        )
        mapped = tf.data.Dataset.from_tensor_slices(encoded).map(
            lambda one: decode_and_resize(one, 8)
        )

        for one, square in zip(encoded, mapped, strict=True):
            expected = decode_and_resize(one, 8)
            np.testing.assert_array_equal(traced(one), expected)
            np.testing.assert_array_equal(square, expected)

    @pytest.mark.parametrize("shape", [(12, 12), (8, 8), (8, 20), (30, 9)])
    @pytest.mark.usefixtures("rewritten_graphs")
    def test_a_graph_can_know_the_size_of_its_images(self, shape):
        generator = np.random.default_rng(0)
        image = generator.integers(0, 256, (*shape, 1)).astype(np.uint8)
        dataset = tf.data.Dataset.from_tensors(image).map(
            lambda one: decode_and_resize(one, 8)
        )

        assert dataset.element_spec.shape == (8, 8, 3)
        (mapped,) = dataset.as_numpy_iterator()
        encoded = tf.io.encode_png(image)
        np.testing.assert_array_equal(mapped, decode_and_resize(encoded, 8))

    def test_arrays_are_as_good_as_tensors(self):
        image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)

        for size in (5, 7):
            given = decode_and_resize(image, size)
            assert isinstance(given, tf.Tensor)
            np.testing.assert_array_equal(given, resized(image, size))

    def test_a_fourth_channel_is_opacity_over_white(self):
        image = np.zeros((1, 3, 4), np.uint8)
        image[0, :, 3] = 0, 100, 255

        pixels = Pixels(resize="stretch")
        shown = decode_and_resize(image.repeat(3, axis=0), 3, pixels).numpy()

        assert (shown == np.array([255, 155, 0])[:, None]).all()

    @pytest.mark.parametrize(
        "spec",
        [
            tf.TensorSpec([], tf.string),
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([None, None, 1], tf.uint8),
        ],
    )
    def test_a_traced_graph_has_a_static_shape_and_no_state(self, spec):
        function = tf.function(lambda image: decode_and_resize(image, 5))

        graph = function.get_concrete_function(spec)

        assert graph.output_shapes == (5, 5, 3)
        variables = list(graph.graph.variables)
        random = [
            operation.type
            for operation in graph.graph.get_operations()
            if "Random" in operation.type or "Assign" in operation.type
        ]
        assert not variables and not random


@pytest.fixture
def broken_folder(write_photos, encode):
    """Class `good` with 3 images, class `bad` with 6, of which 5 are bad."""
    root: pathlib.Path = write_photos({"good": 3, "bad": 1})
    jpeg = encode(image_format="JPEG", size=(64, 64))
    damaged = {
        "empty.png": b"",
        "gone.png": b"removed below",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": encode(size=(64, 64))[:60],
        "text.jpg": b"These are not the pixels you are looking for.",
    }
    for number, name in enumerate(damaged):
        (root / "bad" / name).write_bytes(encode(colour=(9, 9, number)))
    source = open_source(DataConfig(f"folder:{root}"))
    # What is no image by its first bytes would be left out before.
    for name, content in damaged.items():
        (root / "bad" / name).write_bytes(content)
    (root / "bad" / "gone.png").unlink()
    return source


@pytest.fixture(params=["memory", "none"])
def images(request, broken_folder):
    return Images(broken_folder, 4, cache=request.param)


def of_class(source, name):
    catalogue = source.catalogue
    return np.flatnonzero(catalogue.labels == catalogue.class_names.index(name))


class TestUnreadable:
    def test_are_listed_with_a_reason_in_one_line(self, images):
        bad = images.prepare(of_class(images.source, "bad"))

        assert all(isinstance(entry, Unreadable) for entry in bad)
        keys = images.source.catalogue.keys
        assert [entry.key for entry in bad] == [keys[e.index] for e in bad]
        reasons = {entry.key: entry.reason for entry in bad}
        expected = {
            "bad/empty.png": "is empty",
            "bad/gone.png": "No such file",
            "bad/half.jpg": "Invalid JPEG data",
            "bad/half.png": "PNG",
            "bad/text.jpg": "is text",
        }
        assert reasons.keys() == expected.keys()
        for key, words in expected.items():
            assert words in reasons[key]
            assert "\n" not in reasons[key]
            assert "{{" not in reasons[key] and "[Op:" not in reasons[key]

    def test_are_listed_again(self, images):
        everything = np.arange(len(images.source.catalogue.keys))
        first = images.prepare(everything)

        assert images.prepare(everything[::-1]) == first
        assert images.prepare(of_class(images.source, "good")) == []
        assert images.prepare(np.array([], np.int64)) == []

    def test_are_never_delivered(self, images):
        everything = np.arange(len(images.source.catalogue.keys))
        labels = everything.astype(np.int32)

        batches = images.training_batches(
            everything, labels, batch_size=4, seed=0, augment="none"
        ).take(2)

        delivered = [int(label) for _, label in batches.unbatch()]
        bad = {entry.index for entry in images.prepare(everything)}
        assert len(bad) == 5
        assert delivered[:4] != delivered[4:]
        for epoch in (delivered[:4], delivered[4:]):
            assert sorted(epoch) == sorted({*everything.tolist()} - bad)

    def test_are_refused_where_the_order_counts(self, images):
        with pytest.raises(ValueError, match=r"bad/empty\.png"):
            images.evaluation_batches(of_class(images.source, "bad"), 2)

    def test_of_another_class_are_never_read(self, images, monkeypatch):
        good = of_class(images.source, "good")
        seen = []
        read = images.source.read

        def spy(indices):
            seen.append(indices)
            return read(indices)

        monkeypatch.setattr(images.source, "read", spy)

        batches = images.training_batches(
            good, np.arange(3), batch_size=3, seed=0, augment="none"
        ).take(1)

        assert sum(len(labels) for _, labels in batches) == 3
        eager = [i for i in seen if isinstance(i, np.ndarray)]
        assert {*np.concatenate(eager).tolist()} == {*good.tolist()}


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_hashes_are_equal_where_the_pixels_are(tmp_path, encode, cache):
    root = tmp_path
    for name in ("ant", "bee"):
        (root / name).mkdir()
        for number in range(2):
            content = encode(colour=(number, 0, 0))
            (root / name / f"{number:03d}.png").write_bytes(content)
    # The same pixels in another file format, and at another size.
    for size in ((6, 4), (12, 8)):
        content = encode("RGB", "BMP", (1, 0, 0), size)
        (root / "bee" / f"{size[0]}.bmp").write_bytes(content)
    source = open_source(DataConfig(f"folder:{root}"))

    hashes = Images(source, 4, cache=cache).hashes(np.arange(6))

    assert hashes.dtype == np.uint64
    by_key = dict(zip(source.catalogue.keys.tolist(), hashes, strict=True))
    assert by_key["ant/000.png"] == by_key["bee/000.png"]
    same = ("ant/001.png", "bee/001.png", "bee/6.bmp", "bee/12.bmp")
    assert len({by_key[key] for key in same}) == 1
    assert len(set(hashes.tolist())) == 2
