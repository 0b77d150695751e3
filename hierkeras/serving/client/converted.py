"""Asks about images of any format: converts those that a model refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hierkeras.data.decoding import formats, library
from hierkeras.data.decoding.library import CannotDecode
from hierkeras.serving.client import answers
from hierkeras.serving.client.answers import Answer, BadImage, Model


def ask(model: Model, images: Sequence[bytes]) -> Iterator[Answer | BadImage]:
    """Answers for each image, as `answers.ask`; sends some of them as PNG.

    Args:
        model: The model.
        images: Contents of image files, at least one.

    Raises:
        UserError: If there is no answer for another reason.
    """
    sendable = [_sendable(image) for image in images]
    fine = [each for each in sendable if isinstance(each, bytes)]
    asked = answers.ask(model, fine) if fine else iter(())
    for image, each in zip(images, sendable, strict=True):
        if isinstance(each, BadImage):
            yield each
            continue
        answer = next(asked)
        if isinstance(answer, BadImage) and each is image:
            answer = _again(model, image, answer)
        yield answer


def _sendable(image: bytes) -> bytes | BadImage:
    """What to send for an image, or why there is nothing to."""
    head = image[: formats.HEAD_BYTES]
    kind = formats.kind_of(head)
    if kind is None:
        what = formats.not_an_image(head)
        return BadImage(f"is {what}") if what else image
    if kind in formats.IN_GRAPH or kind not in library.DECODES:
        return image
    try:
        return library.to_png(image)
    except CannotDecode as error:
        return BadImage(str(error))


def _again(model: Model, image: bytes, refused: BadImage) -> Answer | BadImage:
    """Asks about what a model refused of a format that it decodes otherwise.

    Such as a compressed BMP.
    """
    kind = formats.kind_of(image[: formats.HEAD_BYTES])
    if kind not in library.DECODES or "pixels" in refused.reason:
        return refused
    try:
        (answer,) = answers.ask(model, [library.to_png(image)])
    except CannotDecode:
        return refused
    return answer
