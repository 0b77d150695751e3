"""Classes that are mirror images of each other are found, others are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from hierkeras.data import mirroring, registry
from hierkeras.data.source import DataConfig


def arrow(random, to_the_left):
    """A bright arrow somewhere on a dark ground."""
    colours = random.integers(
        (0, 0, 0, 130, 130, 130), (99, 99, 99, *[255] * 3)
    )
    image = Image.new("RGB", (64, 64), tuple(colours[:3].tolist()))
    draw = ImageDraw.Draw(image)
    y, left, right = random.integers((20, 4, 48), (44, 16, 60)).tolist()
    colour = tuple(colours[3:].tolist())
    draw.line((left, y, right, y), fill=colour, width=6)
    tip, back = (left, 12) if to_the_left else (right, -12)
    draw.polygon(
        [(tip, y), (tip + back, y - 10), (tip + back, y + 10)], fill=colour
    )
    return image


def write(folder, number, *, upright=False):
    """Arrows to the left and to the right; or up and down."""
    random = np.random.default_rng(0)
    for name in ("one way", "the other"):
        (folder / name).mkdir(parents=True)
        for index in range(number):
            image = arrow(random, name == "one way")
            image = image.rotate(90) if upright else image
            image.save(folder / name / f"{index}.png")
    return registry.open_source(DataConfig(f"folder:{folder}"))


@pytest.mark.parametrize("number", [16, 40])
def test_arrows_to_the_left_are_those_to_the_right_mirrored(tmp_path, number):
    found = mirroring.look(write(tmp_path, number))

    assert {found.name, found.other} == {"one way", "the other"}
    assert number / 3 < found.closer <= found.looked_at < number
    assert f"{found.closer} of {found.looked_at} images of" in str(found)


def test_arrows_up_and_down_may_be_mirrored(tmp_path):
    assert mirroring.look(write(tmp_path, 40, upright=True)) is None


def test_series_of_a_subject_are_no_sign(tmp_path):
    """An image is like its neighbours of a series, mirrored it is not."""
    random = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / name).mkdir()
        for index in range(30):
            if index % 5 == 0:
                scene = random.integers(0, 256, (16, 16, 3))
            noisy = scene + random.integers(-8, 9, scene.shape)
            image = np.clip(noisy, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{index}.png")

    source = registry.open_source(DataConfig(f"folder:{tmp_path}"))
    assert mirroring.look(source) is None


def test_chance_is_no_sign():
    random = np.random.default_rng(0)
    for _ in range(50):
        images = random.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
        labels = np.repeat(np.arange(3), 20).astype(np.int32)
        assert mirroring.find(images, labels, ("a", "b", "c")) is None


def test_one_class_has_no_other():
    images = load_digits().images[:20, :, :, None].repeat(3, 3).astype(np.uint8)
    labels = np.zeros(20, np.int32)
    assert mirroring.find(images, labels, ("a",)) is None


def test_an_image_that_cannot_be_read_is_not_looked_at(tmp_path):
    source = write(tmp_path, 12)
    for file in sorted(tmp_path.rglob("*.png"))[::5]:
        file.write_bytes(b"no image")

    rows = np.arange(24)
    seen, images = source.thumbnails(rows, 4)
    assert len(seen) == len(images) == 24 - 5
    assert images.shape[1:] == (4, 4, 3)


def test_arrays_are_looked_at_as_files_are():
    source = registry.open_source(DataConfig("digits"))
    seen, images = source.thumbnails(np.array([3, 5]), 8)
    grey = source._images[[3, 5]]
    np.testing.assert_array_equal(seen, [3, 5])
    np.testing.assert_array_equal(images, np.stack([grey] * 3, axis=3))
