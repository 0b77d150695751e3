"""What a file is, told from its first bytes; without TensorFlow.

A name proves nothing: photos are called .jpg that are HEIC, and pages of
errors that are HTML.
"""

from __future__ import annotations

import re
from typing import Final

# As many bytes as `kind_of` and `not_an_image` look at.
HEAD_BYTES: Final = 132

# What the served graph decodes by itself.
IN_GRAPH: Final = ("JPEG", "PNG", "GIF", "BMP", "WebP")
# Names of image files end so, in any case. Of what is a container of other
# things (.ico, .psd, .svg, .dcm) none is listed: it is no photo of a class.
SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    *(".png", ".apng", ".gif", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".avifs"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jxl"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".qoi"),
)

_BEGINNINGS: Final = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("BMP", rb"BM.{8}.{4}[\x0c-\xff]\0\0\0"),
    ("WebP", rb"RIFF.{4}WEBP"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    ("QOI", rb"qoif"),
    ("PNM", rb"P[1-6][\s#]"),
    ("ICO", rb"\0\0[\x01\x02]\0[^\0]"),
    ("PSD", rb"8BPS\0[\x01\x02]"),
    ("DDS", rb"DDS \x7c\0\0\0"),
    ("OpenEXR", rb"\x76\x2f\x31\x01"),
    ("Radiance HDR", rb"#\?(RADIANCE|RGBE)"),
    ("DICOM", rb".{128}DICM"),
    ("SVG", rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg|<svg)"),
)
_KINDS: Final = tuple(
    (kind, re.compile(beginning, re.DOTALL)) for kind, beginning in _BEGINNINGS
)
# ISO 14496-12, 4.3: a box `ftyp`, its major brand, a number, other brands.
_FTYP: Final = re.compile(rb"\0\0(..)ftyp", re.DOTALL)
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEIC: Final = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
)
# They say that it is a HEIF file, and not of which codec.
_HEIF: Final = frozenset({b"mif1", b"mif2", b"msf1"})

_OTHERS: Final = (
    ("a Git LFS pointer, not the file: git lfs pull", rb"version https://git-"),
    ("an HTML page", rb"\s*<(!doctype html|html|head|body)"),
    ("an XML document", rb"\s*<\?xml"),
    ("a PDF", rb"%PDF"),
    ("a ZIP archive", rb"PK\x03\x04"),
    ("a gzip archive", rb"\x1f\x8b"),
    ("a RAR archive", rb"Rar!"),
    ("a film", rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI "),
    ("macOS's notes on another file", rb"\0\x05\x16\x07"),
    ("JSON", rb"\s*[{\[]\s*[\"{\[]"),
    ("text", rb"[\t\n\r\x20-\x7e]{16,}\Z"),
)
_NOT_IMAGES: Final = tuple(
    (what, re.compile(beginning, re.DOTALL | re.IGNORECASE))
    for what, beginning in _OTHERS
)


def kind_of(head: bytes) -> str | None:
    """The format of an image.

    Args:
        head: Its first bytes, `HEAD_BYTES` of them where it has as many.

    Returns:
        A name such as "JPEG", "HEIC" or "TIFF", of `IN_GRAPH` or another
        format of images; None if it is none that is known.
    """
    head = head[:HEAD_BYTES]
    for kind, beginning in _KINDS:
        if beginning.match(head):
            return kind
    if box := _FTYP.match(head):
        length = min(int.from_bytes(box[1]), len(head))
        return _of_brands({head[i : i + 4] for i in range(8, length, 4)})
    return None


def _of_brands(brands: set[bytes]) -> str | None:
    """The format of a HEIF container by its brands."""
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & (_HEIC | _HEIF) else None


def not_an_image(head: bytes) -> str | None:
    """What a file is that is no image, as in "is an HTML page".

    Args:
        head: As of `kind_of`, for which it gives None.

    Returns:
        What it is; None if nobody can tell.
    """
    head = head[:HEAD_BYTES]
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "nothing but zeros"
    for what, beginning in _NOT_IMAGES:
        if beginning.match(head):
            return what
    return None
