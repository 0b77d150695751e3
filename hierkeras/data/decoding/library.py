"""What no graph decodes, decoded by Pillow to the same pixels.

TIFF, HEIC (with pillow-heif), AVIF, JPEG 2000, QOI, PNM, compressed BMP, and
GIFs whose first frame is smaller than they are. Needs no TensorFlow.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import warnings
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from hierkeras.data.decoding import formats
from hierkeras.data.decoding.pixels import Pixels

Array = npt.NDArray[np.uint8]

DECODES: Final = (
    *("TIFF", "HEIC", "AVIF", "JPEG 2000", "QOI", "PNM", "ICO"),
    *("BMP", "GIF", "WebP"),
)
_SHOWN_AS_THEY_ARE: Final = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_CLEAR: Final = ("LA", "La", "PA", "RGBA", "RGBa")
_DEPTHS: Final = (8, 10, 12, 14, 16)
_MOST_PIXELS: Final = 10**9
_SUBFILE, _BITS, _DNG_VERSION = 254, 258, 50706


class CannotDecode(Exception):
    """Why an image is not decoded, to be read after its name."""


def decode(encoded: bytes, pixels: Pixels) -> Array:
    """Decodes an image.

    Args:
        encoded: The file.
        pixels: What shows through where it is transparent, and how large it
            may be.

    Returns:
        uint8 array of shape (height, width, 3).

    Raises:
        CannotDecode: If it cannot be shown rightly.
    """
    image = _opened(encoded, pixels.max_pixels)
    return _over(image, pixels.level) if image.shape[-1] == 4 else image


def to_png(encoded: bytes) -> bytes:
    """An image as a PNG file, which a served graph decodes to the same.

    Opacity is kept, for the model knows over which background.

    Args:
        encoded: The file.

    Raises:
        CannotDecode: As `decode`.
    """
    file = io.BytesIO()
    Image.fromarray(_opened(encoded, _MOST_PIXELS)).save(file, "PNG")
    return file.getvalue()


def profile(encoded: bytes) -> str:
    """The name of an image's colour profile; empty if it is sRGB or none."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            icc = image.info.get("icc_profile")
        if not icc:
            return ""
        opened = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = ImageCms.getProfileDescription(opened).strip()
    except Exception:  # of a damaged profile as of a damaged image
        return "damaged"
    return "" if name.lower().startswith("srgb") else name or "nameless"


@functools.cache
def _takes_heic() -> bool:
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def _opened(encoded: bytes, max_pixels: int) -> Array:
    """uint8 array of shape (height, width, 3), or 4 with opacity."""
    kind = formats.kind_of(encoded[: formats.HEAD_BYTES])
    if kind not in DECODES:
        known = f"a {kind}" if kind else "no image"
        raise CannotDecode(f"is {known}, which is not decoded")
    if kind == "HEIC" and not _takes_heic():
        raise CannotDecode(
            "is a HEIC, for which a package is not installed: run "
            "pip install pillow-heif"
        )
    try:
        return _shown(encoded, kind, max_pixels)
    except CannotDecode:
        raise
    except Image.DecompressionBombError:
        raise CannotDecode(_too_large(max_pixels)) from None
    except Exception as error:  # Pillow's plug-ins raise what they like
        reason = " ".join(str(error).split())
        raise CannotDecode(f"is a damaged {kind} ({reason})") from None


def _too_large(max_pixels: int) -> str:
    return f"has more than {max_pixels} pixels"


def _shown(encoded: bytes, kind: str, max_pixels: int) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, and odd tags
        with Image.open(io.BytesIO(encoded)) as image:
            if image.width * image.height > max_pixels:
                raise CannotDecode(_too_large(max_pixels))
            _check_raw(image)
            image.load()
            return _coloured(ImageOps.exif_transpose(image), kind)


def _check_raw(image: Image.Image) -> None:
    """Refuses a camera's raw file, whose first image is but a thumbnail."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_SUBFILE, 0) & 1:
        raise CannotDecode("is a camera's raw file; develop it to JPEG")


def _coloured(image: Image.Image, kind: str) -> Array:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _of_deep(np.asarray(image), kind)
    if image.mode in _CLEAR or "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    if image.mode not in _SHOWN_AS_THEY_ARE:
        raise CannotDecode(f"has samples of kind {image.mode}; convert it")
    result = np.asarray(image.convert("RGB"))
    bits = getattr(image, "tag_v2", {}).get(_BITS, (8,))
    if max(bits) > 8 and result.max(initial=0) < 64:
        raise CannotDecode(
            "is dark, or uses fewer than the 16 bits that its samples have; "
            "convert it to 8 bits"
        )
    return result


def _of_deep(samples: npt.NDArray[np.generic], kind: str) -> Array:
    """Grey samples of up to 16 bits; see `blending.used_bits`."""
    wide = samples.astype(np.int64)
    if wide.size and (wide.min() < 0 or wide.max() >= 2**16):
        raise CannotDecode("has samples of more than 16 bits; convert it")
    # Pillow has scaled a PNM's already.
    fits = [d for d in _DEPTHS if wide.max(initial=0) < 2**d]
    most = 2 ** (16 if kind == "PNM" else fits[0]) - 1
    grey = ((wide * 255 + most // 2) // most).astype(np.uint8)
    return np.stack([grey] * 3, axis=-1)


def _over(image: Array, level: int) -> Array:
    """See `blending.over`."""
    wide = image.astype(np.int32)
    colours, opacity = wide[..., :3], wide[..., 3:]
    mixed = colours * opacity + level * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)
