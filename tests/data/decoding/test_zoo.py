"""What people see is what is decoded, or it is refused by name."""

import collections
import io

import numpy as np
import pytest
import tensorflow as tf

from hierkeras.data.decoding import anything, graph, library, problems
from hierkeras.data.decoding.pixels import Pixels
from tests.conftest import ROOT

from . import zoo

# Of 255, on average; the inverse transform of JPEG aside.
TOLERANCE = 3
PIXELS = Pixels()


def decoded(files, decode):
    """What each file is decoded to: an image and a number, in one pass."""
    paths = tf.data.Dataset.from_tensor_slices(files)
    return [
        (image.numpy(), int(problem))
        for image, problem in paths.map(decode, tf.data.AUTOTUNE)
    ]


def in_graph(encoded):
    result = graph.decode(encoded, PIXELS)
    return result.image, result.problem


def for_training(encoded):
    result = anything._decode(encoded, PIXELS)
    return result.image, result.problem


def apart(animal, image):
    """How far an image is from what people see, on average; or its shape."""
    expected = animal.expected.astype(int)
    if image.shape != expected.shape:
        return f"{image.shape} for {expected.shape}"
    return np.abs(image.astype(int) - expected).mean()


def wrong(animals, images):
    found = {}
    for animal, image in zip(animals, images, strict=True):
        difference = apart(animal, image)
        if isinstance(difference, str) or difference > TOLERANCE:
            found[animal.name] = difference
    return found


@pytest.fixture(scope="module")
def files():
    return [animal.encoded for animal in zoo.all_files()]


def test_the_zoo_is_large_and_each_file_is_another(files):
    names = [animal.name for animal in zoo.all_files()]
    assert len(set(names)) == len(names) >= 150
    kinds = collections.Counter(name.split()[0] for name in names)
    assert min(kinds[k] for k in ("jpeg", "png", "bmp", "gif", "webp")) >= 20


def test_the_graph_shows_what_people_see_or_refuses_by_name(files):
    animals = zoo.all_files()
    rows = decoded(files, in_graph)
    refused = {
        animal.name
        for animal, (_, problem) in zip(animals, rows, strict=True)
        if problem
    }
    assert refused == {animal.name for animal in animals if animal.refused}
    by_name = {problem for _, problem in rows} - {problems.FINE}
    assert by_name <= set(problems.BY_LIBRARY)
    shown = [
        (animal, image)
        for animal, (image, problem) in zip(animals, rows, strict=True)
        if not problem
    ]
    assert wrong(*zip(*shown, strict=True)) == {}


def test_training_shows_what_people_see_of_every_file(files):
    animals = zoo.all_files()
    rows = decoded(files, for_training)
    assert wrong(animals, [image for image, _ in rows]) == {}
    for animal, (_, problem) in zip(animals, rows, strict=True):
        assert (problem < 0) == animal.refused, animal.name


def test_what_a_client_converts_is_decoded_to_the_very_pixels():
    animals = [animal for animal in zoo.all_files() if animal.refused]
    sent = [library.to_png(animal.encoded) for animal in animals]
    rows = decoded(sent, in_graph)
    for animal, (image, problem) in zip(animals, rows, strict=True):
        assert problem == problems.FINE
        trained_on = library.decode(animal.encoded, PIXELS)
        np.testing.assert_array_equal(image, trained_on, err_msg=animal.name)


@pytest.mark.parametrize("background", ["white", "grey", "black"])
def test_the_background_shows_through(background):
    clear = zoo.cut_out(zoo.picture(9, 9), hard=True)
    pixels = Pixels(background=background)
    for kind in ("PNG", "GIF", "WEBP"):
        encoded = zoo.encoded(clear, kind, lossless=True)
        image = graph.decode(tf.constant(encoded), pixels).image
        assert (image.numpy()[:, :3] == pixels.level).all(), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_too_many_pixels_are_named_not_decoded(kind):
    pixels = Pixels(max_pixels=99)
    encoded = zoo.encoded(zoo.picture(10, 10), kind)
    if kind == "TIFF":
        with pytest.raises(library.CannotDecode, match="more than 99 pixels"):
            library.decode(encoded, pixels)
    else:
        problem = graph.decode(tf.constant(encoded), pixels).problem
        assert problem == problems.TOO_LARGE
    fine = zoo.encoded(zoo.picture(11, 9), kind)
    if kind != "TIFF":
        assert graph.decode(tf.constant(fine), pixels).problem == 0


def test_a_deep_one_says_how_many_bits_it_uses():
    samples = np.full([4, 4, 1], 4095)
    encoded = tf.constant(zoo.deep_png(samples))
    assert graph.decode(encoded, PIXELS).bits == 12


def test_too_many_parts_are_refused():
    many = zoo.segment(0xFE, b"") * 10_001
    jpeg = zoo.encoded(zoo.picture(8, 8), "JPEG")
    app1 = zoo.segment(0xE1, b"Exif\0\0" + zoo.exif(6))
    encoded = tf.constant(zoo.with_segments(jpeg, many, app1))
    assert graph.decode(encoded, PIXELS).problem == problems.TOO_MANY_PARTS


ODD = ROOT.parent / "shared" / "data" / "odd_images"


@pytest.mark.skipif(not ODD.is_dir(), reason="the samples are not here")
def test_the_samples_show_their_picture():
    truth = zoo.by_pillow((ODD / "truth.png").read_bytes()).astype(int)
    for name in ("cmyk_im.jpg", "cmyk_noadobe.jpg", "exif6.jpg", "pal.bmp"):
        encoded = tf.constant((ODD / name).read_bytes())
        image = graph.decode(encoded, PIXELS).image.numpy()
        assert np.abs(image - truth).mean() < TOLERANCE, name


def test_heic_is_shown_where_its_plug_in_is():
    heif = pytest.importorskip("pillow_heif")
    image = zoo.picture(64, 48)
    file = io.BytesIO()
    heif.from_pillow(image).save(file, quality=95)
    shown = library.decode(file.getvalue(), PIXELS).astype(int)
    assert np.abs(shown - np.asarray(image)).mean() < TOLERANCE
