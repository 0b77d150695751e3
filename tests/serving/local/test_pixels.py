"""What images promise is told as Pillow tells it, from their heads alone."""

import io

import pytest
from PIL import Image

from hierkeras.serving.local import pixels
from hierkeras.serving.local.pixels import MOST, promised

SIZE = 300, 200
# By Pillow's mode, its options; each writes another kind of head.
WRITTEN = [
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"progressive": True, "comment": b"\xff\xc0" * 9000}),
    ("JPEG", "CMYK", {"icc_profile": b"x" * 200_000}),
    ("JPEG", "L", {"exif": b"Exif\0\0" + b"\xff\xc0\0\x11" * 50}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("GIF", "P", {}),
    ("GIF", "P", {"comment": b",\xff\xff\xff" * 200}),
    ("BMP", "RGB", {}),
    ("WEBP", "RGB", {"lossless": False}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {"exif": b"Exif\0\0MM", "icc_profile": b"x" * 5000}),
]


def written(kind, mode, options, size=SIZE):
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "mode", "options"), WRITTEN)
def test_every_format_promises_what_it_holds(kind, mode, options):
    image = written(kind, mode, options)
    assert promised(image) == SIZE[0] * SIZE[1]
    for end in range(0, min(len(image), 1000), 7):
        assert 0 <= promised(image[:end]) <= MOST


def test_nothing_is_promised_by_what_is_no_image():
    for other in b"", b"x" * 100, b"II*\0" + b"\xff" * 100:
        assert promised(other) == 0


def test_no_image_costs_more_than_it_may():
    assert promised(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\xff" * 8) == MOST


def test_a_frame_larger_than_its_gif_counts():
    image = bytearray(written("GIF", "P", {}))
    frame = image.index(b",", 13)
    image[frame + 5 : frame + 9] = b"\x88\x13\x88\x13"  # 5000 x 5000
    image[6:10] = b"\1\0\1\0"
    assert promised(bytes(image)) == 25_000_000


@pytest.mark.parametrize(
    ("kind", "mode", "part"),
    [("JPEG", "RGB", b"\xff\xfe\0\2"), ("GIF", "P", b"\x21\xfe\0")],
)
def test_who_hides_it_behind_parts_pays_for_it(kind, mode, part):
    image = written(kind, mode, {})
    head = 2 if kind == "JPEG" else image.index(b",", 13)
    few = image[:head] + part * 50 + image[head:]
    many = image[:head] + part * 5000 + image[head:]
    assert promised(few) == SIZE[0] * SIZE[1]
    assert promised(many) == MOST


def test_what_a_decoder_passes_over_hides_nothing():
    image = written("JPEG", "RGB", {})
    hidden = image[:2] + b"abc\xff\x01\xff\xd0" + image[2:]
    assert promised(hidden) == SIZE[0] * SIZE[1]


def test_it_is_the_export_that_has_the_same_most():
    from hierkeras.data.decoding.pixels import DEFAULT

    assert DEFAULT.max_pixels == pixels.MOST
