"""Why an image is not decoded, as numbers that a graph can hand on.

The served graph refuses what it cannot show rightly, by name; training and
the client decode by a library what `BY_LIBRARY` lists.
"""

from __future__ import annotations

from typing import Final

from hierkeras.data.decoding.pixels import Pixels

# Nothing is said yet of one that is not plain: others decode it.
NOT_PLAIN: Final = -1
# DAMAGED: a decoder failed, or nobody knows what it is.
FINE, DAMAGED, TOO_LARGE, TOO_MANY_PARTS = range(4)
OTHER_FORMATS: Final = (
    "TIFF",
    "HEIC",
    "AVIF",
    "JPEG 2000",
    "JPEG XL",
    "QOI",
    "PNM",
    "ICO",
    "PSD",
    "compressed or unusual BMP",
    "GIF whose first frame does not fill it",
)
_FIRST: Final = TOO_MANY_PARTS + 1
UNUSUAL_BMP: Final = _FIRST + OTHER_FORMATS.index("compressed or unusual BMP")
PARTIAL_GIF: Final = UNUSUAL_BMP + 1
BY_LIBRARY: Final = range(TOO_MANY_PARTS, _FIRST + len(OTHER_FORMATS))


def number_of(kind: str) -> int:
    """The problem that an image of a format is, which no graph decodes."""
    return _FIRST + OTHER_FORMATS.index(kind)


def reasons(pixels: Pixels) -> list[str]:
    """What to say of each problem, after the name of the image.

    Args:
        pixels: How images are decoded.
    """
    return [
        "",
        "is no JPEG, PNG, GIF, BMP or WebP image, or is cut off or damaged",
        f"has more than {pixels.max_pixels} pixels",
        "has too many parts",
        *(
            f"is a {kind}, which this model does not decode; convert it to "
            "JPEG or PNG"
            for kind in OTHER_FORMATS
        ),
    ]
