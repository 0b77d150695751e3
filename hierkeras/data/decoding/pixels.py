"""How an image becomes a square, beside the square's size."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, get_args

Resize = Literal["crop", "pad", "stretch"]
RESIZES: Final[tuple[Resize, ...]] = get_args(Resize)
Background = Literal["white", "grey", "black"]
# The level of each of the three colours, in 0..255.
BACKGROUNDS: Final[dict[Background, int]] = {
    "white": 255,
    "grey": 128,
    "black": 0,
}
MAX_PIXELS: Final = 50_000_000


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How an image becomes a square, beside the square's size.

    Args:
        resize: `crop` keeps the central square, `pad` adds background to the
            shorter sides, `stretch` changes the proportions.
        background: What shows where an image is transparent, or padded.
        max_pixels: Most pixels that an image's header may promise; one that
            promises more is not decoded.
    """

    resize: Resize = "crop"
    background: Background = "white"
    max_pixels: int = MAX_PIXELS

    @property
    def level(self) -> int:
        """The background's red, green and blue, in 0..255."""
        return BACKGROUNDS[self.background]


DEFAULT: Final = Pixels()
