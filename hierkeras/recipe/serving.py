"""What a served tree answers, and when it may be served."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from hierkeras._option import option
from hierkeras.data.decoding.pixels import MAX_PIXELS

BadImages = Literal["error", "empty"]
BAD_IMAGES: tuple[BadImages, ...] = get_args(BadImages)


class Serving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a served tree answers, and when it may be served."""

    top: Annotated[
        int, option("Most classes in a served answer.", 1, 10**6)
    ] = 5
    max_pixels: Annotated[
        int,
        option(
            "Most pixels of an image that training and a server decode.",
            1,
            10**9,
        ),
    ] = MAX_PIXELS
    bad_images: Annotated[
        BadImages,
        option(
            "What a server answers to a request with an image that cannot be "
            "decoded: an error that names the row, or an empty class of score "
            "0 in that row."
        ),
    ] = "error"
    max_old_class_regression: Annotated[
        float,
        option(
            "A generation is not exported if its validation error on the old "
            "classes, in [0, 1], grew by more.",
            0.0,
            1.0,
            flag="max_old_class_regression",
        ),
    ] = 0.05
