"""A folder of files as people have them, trained on."""

import io

import numpy as np
import pytest
from PIL import Image

from hierkeras.data import registry
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.images import Images
from hierkeras.data.source import DataConfig
from tests.data.decoding import zoo

SIZE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One picture in many files; all are called .jpg."""
    root = tmp_path_factory.mktemp("odd")
    image = zoo.picture(24, 24)
    sideways = image.rotate(90)  # which orientation 6 turns back
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 16
    deep[-1, -1] = 4095
    files = {
        "plain": zoo.encoded(image, "PNG"),
        "turned": zoo.with_chunk(
            zoo.encoded(sideways, "PNG"),
            zoo.chunk(b"eXIf", zoo.exif(6)),
            b"IDAT",
        ),
        "tiff": zoo.encoded(image, "TIFF"),
        "bmp": zoo.encoded(image, "BMP"),
        "deep": zoo.encoded(Image.fromarray(deep), "PNG"),
        "large": zoo.encoded(zoo.picture(40, 40), "PNG"),
        "large tiff": zoo.encoded(zoo.picture(40, 40), "TIFF"),
        "html": b"<!DOCTYPE html><html></html>",
        "empty": b"",
        "jpeg xl": b"\xff\x0a" + bytes(40),
    }
    (root / "a").mkdir()
    for name, content in files.items():
        (root / "a" / f"{name}.jpg").write_bytes(content)
    return root


@pytest.fixture(
    params=[
        pytest.param("memory", marks=pytest.mark.slow),
        "none",
    ]
)
def images(folder, request):
    source = registry.open_source(DataConfig(f"folder:{folder}"))
    return Images(source, SIZE, Pixels(max_pixels=1000), cache=request.param)


def rows(images, *names):
    keys = images.source.catalogue.keys.tolist()
    return np.sort([keys.index(f"a/{name}.jpg") for name in names])


def test_what_people_see_is_trained_on(images):
    shown = rows(images, "plain", "turned", "tiff", "bmp")
    (batch,) = images.evaluation_batches(shown, 8)
    assert (batch == batch[0]).numpy().all()
    hashes = images.hashes(shown)
    assert len(set(hashes.tolist())) == 1
    labels = np.zeros(len(shown), np.int32)
    training = images.training_batches(
        shown, labels, batch_size=4, seed=0, augment="none"
    )
    for pixels, _ in training.take(1):
        assert (pixels == batch[0]).numpy().all()


def test_what_an_export_would_refuse_is_named_before_anything_trains(images):
    everything = np.arange(len(images.source.catalogue.keys))
    bad = {entry.key: entry.reason for entry in images.prepare(everything)}
    assert bad == {
        "a/large.jpg": "has more than 1000 pixels",
        "a/large tiff.jpg": "has more than 1000 pixels",
        "a/jpeg xl.jpg": "is a JPEG XL, which is not decoded",
    }
    # What is no image at all was left out before.
    assert {(one.why, one.example) for one in images.source.left_out} == {
        ("called images that are an HTML page", "a/html.jpg"),
        ("called images that are empty", "a/empty.jpg"),
    }


def test_what_may_surprise_is_told(images):
    everything = np.arange(len(images.source.catalogue.keys))
    assert images.notes(everything) == {
        "16-bit samples that use 12 bits": ["a/deep.jpg"],
        "of a kind that a served model refuses by name": ["a/tiff.jpg"],
    }


def test_a_colour_profile_is_told(tmp_path):
    from PIL import ImageCms

    (tmp_path / "a").mkdir()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (("lab", lab), ("srgb", srgb)):
        for kind in ("JPEG", "PNG", "WEBP"):
            file = io.BytesIO()
            zoo.picture(9, 9).save(file, kind, icc_profile=profile)
            place = tmp_path / "a" / f"{name}_{kind}.jpg"
            place.write_bytes(file.getvalue())
    source = registry.open_source(DataConfig(f"folder:{tmp_path}"))
    notes = Images(source, SIZE).notes(np.arange(6))
    ((note, keys),) = notes.items()
    assert "colour profile" in note and "not applied" in note
    assert sorted(keys) == [f"a/lab_{k}.jpg" for k in ("JPEG", "PNG", "WEBP")]
