import functools
import time

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from hierkeras.data.decoding.graph import decode_and_resize
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.problems import (
    BY_LIBRARY,
    DAMAGED,
    FINE,
    TOO_LARGE,
    TOO_MANY_PARTS,
)
from hierkeras.recipe import serving
from hierkeras.serving.checks import verification
from hierkeras.serving.graph import decoding
from hierkeras.tree.routing import Routing
from tests.serving.served_tree import save

from . import malformed

IMAGE_SIZE = 16
MAX_PIXELS = 50_000_000


@pytest.fixture(scope="module")
def decode():
    @functools.cache
    def limited(max_pixels):
        return tf.function(
            lambda encoded: decoding.decode_rows(
                encoded, IMAGE_SIZE, Pixels(max_pixels=max_pixels)
            ),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    return lambda encoded, most=MAX_PIXELS: limited(most)(encoded)


@pytest.fixture(scope="module")
def decode_for_training():
    """One image, by itself; None if it cannot be decoded."""

    def decode(image):
        try:
            return decode_and_resize(tf.constant(image), IMAGE_SIZE).numpy()
        except tf.errors.InvalidArgumentError:
            return None

    return decode


def problem(decode, image, max_pixels=MAX_PIXELS):
    return int(decode([image], max_pixels).problems[0])


class TestDecodeRows:
    def test_training_and_serving_agree_row_by_row(
        self, decode, decode_for_training
    ):
        whole, no_images = malformed.whole(), malformed.no_images()
        damaged, huge = malformed.damaged(), malformed.huge()
        lying = malformed.lying()
        refused = {
            **{f"huge {name}": image for name, image in huge.items()},
            **lying,
        }
        corpus = [*{**whole, **no_images, **damaged, **refused}.items()]
        assert len(damaged) + len(no_images) + len(refused) >= 200
        order = np.random.default_rng(1).permutation(len(corpus))
        good = 0

        for start in range(0, len(order), 40):
            names, images = zip(
                *(corpus[i] for i in order[start : start + 40]), strict=True
            )
            rows = decode(list(images))
            for name, image, pixels, found in zip(
                names, images, *(each.numpy() for each in rows), strict=True
            ):
                if name in refused or found == TOO_LARGE:
                    expected = None
                else:
                    expected = decode_for_training(image)
                good += expected is not None
                assert (found == FINE) == (expected is not None), name
                np.testing.assert_array_equal(
                    pixels,
                    0 if expected is None else expected,
                    err_msg=name,
                )

        assert good >= len(whole)

    @pytest.mark.parametrize("name", malformed.whole())
    def test_whole_images_are_served(self, decode, name):
        assert problem(decode, malformed.whole()[name]) == FINE

    @pytest.mark.parametrize("name", malformed.no_images())
    def test_what_is_no_image_is_refused(self, decode, name):
        found = problem(decode, malformed.no_images()[name])
        named = name in ("tiff", "ppm", "ico", "jpeg 2000")
        assert found in (BY_LIBRARY if named else [DAMAGED])

    @pytest.mark.parametrize("name", malformed.huge())
    def test_a_huge_promise_is_not_believed(self, decode, name):
        assert problem(decode, malformed.huge()[name]) == TOO_LARGE

    @pytest.mark.parametrize("name", malformed.lying())
    def test_what_misleads_the_decoder_is_refused(self, decode, name):
        found = problem(decode, malformed.lying()[name])
        assert found in (DAMAGED, *BY_LIBRARY)

    @pytest.mark.parametrize("kind", ["jpeg", "gif", "png"])
    def test_parts_are_bounded_by_the_bytes_that_they_have(self, decode, kind):
        few, many = (malformed.of_many_parts(n)[kind] for n in (100, 10_000))
        assert problem(decode, few) == FINE
        assert problem(decode, many) == TOO_MANY_PARTS
        began = time.process_time()
        decode([many] * 10)
        # Before they were bounded, 0.3 s each: minutes in one request.
        assert time.process_time() - began < 1

    @pytest.mark.slow
    def test_of_many_frames_only_the_first_is_decoded(self, decode):
        for name, image in malformed.of_many_frames().items():
            assert problem(decode, image, 4_000_000) == FINE, name

    @pytest.mark.slow
    @pytest.mark.parametrize("name", malformed.whole())
    def test_the_limit_is_exact(self, decode, name):
        image = malformed.whole()[name]
        width, height = (1, 1) if "1x1" in name else malformed.SIZE
        pixels = width * height

        assert problem(decode, image, pixels) == FINE
        assert problem(decode, image, pixels - 1) == TOO_LARGE

    def test_no_rows(self, decode):
        images, problems = decode(tf.constant([], tf.string))

        assert images.shape == (0, IMAGE_SIZE, IMAGE_SIZE, 3)
        assert problems.shape == (0,)

    def test_all_rows_bad(self, decode):
        images, problems = decode([b"", b"text", malformed.huge()["gif"]])

        assert problems.numpy().tolist() == [DAMAGED, DAMAGED, TOO_LARGE]
        assert not images.numpy().any()

    def test_exif_rotates(self, decode):
        images = malformed.whole()
        plain, rotated = decode(
            [images["jpeg"], images["jpeg rotated by EXIF"]]
        ).images.numpy()

        turned = np.rot90(plain, -1).astype(int)
        assert np.abs(turned - rotated).mean() < 8  # cropped elsewhere
        assert np.abs(plain.astype(int) - rotated).mean() > 16

    def test_the_first_frame_of_an_animation(self, decode):
        images = malformed.whole()
        still, moving = decode([images["gif"], images["gif animated"]]).images

        np.testing.assert_array_equal(still, moving)


@pytest.fixture(scope="module")
def folders(deep_tree, tmp_path_factory):
    """The same tree, exported with each way to treat bad images.

    What is answered with nothing has a limit of its own as well.
    """
    root = epath.Path(tmp_path_factory.mktemp("saved"))
    limits = {"error": MAX_PIXELS, "empty": 100_000}
    for name in serving.BAD_IMAGES:
        save(
            *(deep_tree, root / name, Routing("soft")),
            bad_images=name,
            max_pixels=limits[name],
        )
    return root


@pytest.fixture(scope="module")
def saved(folders):
    return {
        name: tf.saved_model.load(str(folders / name)).signatures
        for name in serving.BAD_IMAGES
    }


@pytest.fixture(scope="module")
def mixed():
    """Rows, good and bad, and the numbers of the good ones."""
    good, huge = malformed.whole(), malformed.huge()
    rows = [
        good["jpeg"],
        good["png of 16 bits"],
        huge["png"],
        good["gif animated"],
        b"text",
        good["jpeg CMYK"],
        good["bmp"][:-1],
        b"",
        good["png interlaced"],
        malformed.lying()["jpeg xl"],
    ]
    return rows, [0, 1, 3, 5, 8]


class TestSignature:
    def test_bad_rows_are_empty(self, saved, mixed):
        rows, good = mixed
        large = tf.io.encode_png(np.zeros((401, 250, 3), np.uint8)).numpy()
        rows = [*rows, large]  # for the limit of this export alone
        predict = saved["empty"]["serving_default"]
        bad = np.setdiff1d(np.arange(len(rows)), good)

        answer = predict(image_bytes=tf.constant(rows))

        assert (answer["classes"].numpy()[bad] == b"").all()
        assert not answer["scores"].numpy()[bad].any()
        assert (answer["path"].numpy()[bad] == b"").all()
        for row in good:
            alone = predict(image_bytes=tf.constant(rows[row : row + 1]))
            assert answer["path"][row] == alone["path"][0] != b""
            assert (answer["classes"][row] == alone["classes"][0]).numpy().all()
            np.testing.assert_allclose(
                answer["scores"][row], alone["scores"][0], atol=1e-5
            )

    @pytest.mark.slow
    def test_through_the_c_api_bit_for_bit(self, folders, saved, mixed):
        images = [*mixed[0], malformed.huge()["gif, its screen"]]
        rows = np.array(images, object)
        names = ["classes", "path", "scores"]
        signature = verification.read_meta_graph(folders / "empty")
        signature = signature.signature_def["serving_default"]

        (answer,) = verification.run_elsewhere(
            folders / "empty",
            [
                (
                    {signature.inputs["image_bytes"].name: rows},
                    [signature.outputs[name].name for name in names],
                )
            ],
        )

        here = saved["empty"]["serving_default"](image_bytes=tf.constant(rows))
        for name, values in zip(names, answer, strict=True):
            np.testing.assert_array_equal(values, here[name], err_msg=name)

    @pytest.mark.parametrize(
        ("first", "row", "reason"),
        [
            (0, 2, "has more than 50000000 pixels"),
            (3, 1, "is no "),
            (5, 1, "is no "),
            (7, 0, "is no "),
            (9, 0, "is a JPEG XL, which this model does not decode"),
        ],
    )
    def test_an_error_names_the_first_bad_row(
        self, saved, mixed, first, row, reason
    ):
        rows, _ = mixed

        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=f"row {row} of the request {reason}",
        ):
            saved["error"]["serving_default"](
                image_bytes=tf.constant(rows[first:])
            )

    def test_good_rows_raise_no_error(self, saved, mixed):
        rows, good = mixed
        images = tf.constant([rows[row] for row in good])

        strict = saved["error"]["serving_default"](image_bytes=images)
        lenient = saved["empty"]["serving_default"](image_bytes=images)

        np.testing.assert_array_equal(strict["scores"], lenient["scores"])

    @pytest.mark.slow
    def test_examples_are_treated_alike(self, saved, mixed):
        rows, _ = mixed
        # As a client makes them: the key is part of the contract.
        examples = [
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        "image/encoded": tf.train.Feature(
                            bytes_list=tf.train.BytesList(value=[row])
                        )
                    }
                )
            ).SerializeToString()
            for row in rows
        ]
        # And one without an image.
        examples.append(tf.train.Example().SerializeToString())

        answer = saved["empty"]["classify"](inputs=tf.constant(examples))
        images = saved["empty"]["serving_default"](
            image_bytes=tf.constant([*rows, b""])
        )

        for name in ("classes", "scores"):
            np.testing.assert_array_equal(answer[name], images[name])
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="row 0 of the request is no "
        ):
            saved["error"]["classify"](inputs=tf.constant(examples[-1:]))
