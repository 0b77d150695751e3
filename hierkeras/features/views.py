"""Random crops of an image: more to learn from, each with features of its own.

A crop is a function of what the image is and of the crop's number, so that
its features can be kept as those of the image can.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import numpy.typing as npt

from hierkeras.features.shards import Keys

# Of the image, as in Inception's crops (Szegedy et al. 2015, section 6), but
# less of it is left out: one crop in many would show nothing of the class.
_LEAST_AREA = 0.4


@dataclasses.dataclass(frozen=True)
class View:
    """A view of an image.

    Args:
        number: Of the crop, from 1; 0: the whole image.
        is_mirrored: Whether half of the crops are mirrored.
    """

    number: int = 0
    is_mirrored: bool = False

    @property
    def name(self) -> str:
        """A name for folders."""
        if not self.number:
            return "whole"
        return f"{'turned' if self.is_mirrored else 'crop'}-{self.number}"

    def boxes(self, keys: Keys) -> npt.NDArray[np.float32] | None:
        """Where crops lie, as `tf.image.crop_and_resize` takes them.

        Args:
            keys: Array of shape (n,): what the images are.

        Returns:
            float32 array of shape (n, 4): top, left, bottom and right in
            [0, 1]; in a mirrored crop, left is greater than right. None for
            whole images.
        """
        if not self.number:
            return None
        area, down, across, turn = _uniform(keys, self.number).T
        side = np.sqrt(_LEAST_AREA + (1 - _LEAST_AREA) * area)
        top, left = (1 - side) * down, (1 - side) * across
        found = np.stack([top, left, top + side, left + side], axis=1)
        if self.is_mirrored:
            turned = turn < 0.5
            found[turned] = found[turned][:, [0, 3, 2, 1]]
        return found.astype(np.float32)


WHOLE = View()


def _uniform(keys: Keys, view: int) -> npt.NDArray[np.float64]:
    """Four numbers in [0, 1) of each image."""
    digests = [
        hashlib.blake2b(key + view.to_bytes(4), digest_size=16).digest()
        for key in keys.astype("S16").tolist()
    ]
    numbers = np.frombuffer(b"".join(digests), "<u4").reshape(-1, 4)
    return numbers / 2.0**32
