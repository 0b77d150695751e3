"""What a served tree answers for an image, wherever it runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

# What `serving_default` says of an image in a request.
_BAD_ROW = re.compile(r"row \d+ of the request ([^\]\n]*)")
_EMPTY = "is no image that the model can read"


@dataclasses.dataclass(frozen=True)
class Answer:
    """The best classes for one image.

    Args:
        classes: Their names, the best first; those of score 0 have none.
        scores: Their probabilities.
        path: The superclasses taken, as in `root/root.2`.
        version: The version of the model, where it has one.
    """

    classes: tuple[str, ...]
    scores: tuple[float, ...]
    path: str
    version: int | None = None


class BadImage(Exception):
    """An image that the model refuses.

    Args:
        reason: A sentence without its subject: `is no JPEG, ...`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Model(Protocol):
    """What can be asked about images."""

    def answer(self, images: Sequence[bytes]) -> list[Answer]:
        """Answers for a batch of encoded images.

        Args:
            images: Contents of image files, at least one.

        Raises:
            BadImage: If one of them is refused, and so all.
            UserError: If there is no answer for another reason.
        """
        ...


def ask(model: Model, images: Sequence[bytes]) -> Iterator[Answer | BadImage]:
    """Answers for each image; one that is refused spoils no other.

    A request that holds a bad image is divided until that image is alone. The
    number that the model gives is not relied on: a server that merges
    requests into batches counts the rows of all of them.

    Args:
        model: The model.
        images: Contents of image files, at least one.

    Raises:
        UserError: If there is no answer for another reason.
    """
    try:
        answers = model.answer(images)
    except BadImage as error:
        if len(images) == 1:
            yield error
            return
        half = len(images) // 2
        yield from ask(model, images[:half])
        yield from ask(model, images[half:])
        return
    for answer in answers:
        # A model exported with bad_images=empty.
        yield answer if answer.path else BadImage(_EMPTY)


def check_bad_image(message: str) -> None:
    """Recognises a model's complaint about an image.

    Args:
        message: What it said.

    Raises:
        BadImage: If that is of an image.
    """
    found = _BAD_ROW.search(message)
    if found:
        raise BadImage(found[1])
