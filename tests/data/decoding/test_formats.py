import io

import pytest
from PIL import Image

from hierkeras.data.decoding import formats
from hierkeras.data.decoding.formats import kind_of, not_an_image


@pytest.mark.parametrize(
    ("pillow", "kind"),
    [
        ("JPEG", "JPEG"),
        ("MPO", "JPEG"),
        ("PNG", "PNG"),
        ("GIF", "GIF"),
        ("BMP", "BMP"),
        ("WEBP", "WebP"),
        ("TIFF", "TIFF"),
        ("JPEG2000", "JPEG 2000"),
        ("AVIF", "AVIF"),
        ("PPM", "PNM"),
        ("ICO", "ICO"),
        ("QOI", "QOI"),
    ],
)
def test_an_image_is_known_by_its_first_bytes(pillow, kind):
    file = io.BytesIO()
    Image.new("RGB", (32, 24), "red").save(file, pillow)
    encoded = file.getvalue()
    assert kind_of(encoded) == kind
    assert kind_of(encoded[: formats.HEAD_BYTES]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x20ftypXYZ1\0\0\0\0mif1avif" + b"\0" * 40, "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", None),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"\xff\x0a", "JPEG XL"),
        (b"BMX is a word", None),
        (b"", None),
        (b"\0" * 200, None),
        (b'<?xml version="1.0"?><svg xmlns="">', "SVG"),
    ],
)
def test_what_pillow_does_not_write_is_known_too(head, kind):
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"", "empty"),
        (b"\0" * 60, "zeros"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html>", "HTML"),
        (b"<HTML>", "HTML"),
        (b'{"error": "not found"}', "JSON"),
        (b"Access denied, sign in first.", "text"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "film"),
    ],
)
def test_what_is_no_image_is_told(head, what):
    assert kind_of(head) is None
    assert what in not_an_image(head)


def test_bytes_that_say_nothing_are_nothing():
    assert not_an_image(bytes(range(128, 250))) is None
