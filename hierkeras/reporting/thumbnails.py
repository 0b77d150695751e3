"""Small photos inside the page, a bounded number of them."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from hierkeras.data.images import Images

# Sides in pixels where photos are few, and many.
_FEW, _LARGE, _SMALL = 700, 112, 64
_QUALITY = 68
_BATCH = 64


class Thumbnails:
    """Numbers photos as they are asked for, and makes them all at once.

    Args:
        most: How many there may be: what is asked for beyond is left out.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._numbers: dict[int, int] = {}

    def number(self, index: int) -> int | None:
        """The place of a photo in `made`; None: there are enough.

        Args:
            index: An example of the catalogue.
        """
        if index not in self._numbers and len(self._numbers) >= self.most:
            return None
        return self._numbers.setdefault(index, len(self._numbers))

    def numbers(self, indices: npt.NDArray[np.int64], most: int) -> list[int]:
        """The places of the first few of some photos."""
        found = [self.number(int(index)) for index in indices[:most]]
        return [number for number in found if number is not None]

    @property
    def indices(self) -> list[int]:
        """The photos that were asked for, in their order."""
        return list(self._numbers)

    def made(self, images: Images) -> list[str]:
        """Every photo, as the network sees it, as the URI of a JPEG file.

        Args:
            images: The photos.

        Returns:
            A text a photo; empty: it cannot be read.
        """
        side = _LARGE if len(self._numbers) <= _FEW else _SMALL
        order = np.array(sorted(self._numbers), np.int64)
        bad = [image.index for image in images.prepare(order)]
        order = np.setdiff1d(order, bad)
        found = dict.fromkeys(self._numbers, "")
        start = 0
        if order.size:
            for batch in images.evaluation_batches(order, _BATCH):
                for pixels in batch.numpy():
                    found[int(order[start])] = uri(pixels, side)
                    start += 1
        return list(found.values())


def uri(pixels: npt.NDArray[np.floating], side: int) -> str:
    """A photo as the URI of a JPEG file.

    Args:
        pixels: Float array of shape (n, n, 3) in 0..255.
        side: Of the file, in pixels, where n is not smaller.
    """
    image = Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))
    # What is smaller the browser enlarges.
    if image.width > side:
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    encoded = base64.b64encode(file.getvalue()).decode()
    return f"data:image/jpeg;base64,{encoded}"
