"""Writes the list of ImageNet's animal classes that the paper learns.

    python tools/select_imagenet_animals.py --images=ILSVRC2012/train \
        --is_a=wordnet.is_a.txt --output=imagenet_1k_animal.txt

`hierkeras.increment --class_list=imagenet_1k_animal.txt` then learns these and
no others. The rules are those of `hierkeras.data.wordnet.select_classes`.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import app, flags

from hierkeras._errors import UsageError, UserError
from hierkeras.data import wordnet

_IMAGES = flags.DEFINE_string(
    "images", "", "Folder that holds the synset folders, nXXXXXXXX/*.JPEG."
)
_IS_A = flags.DEFINE_string(
    "is_a", "", "ImageNet's wordnet.is_a.txt: a parent and a child a line."
)
_OUTPUT = flags.DEFINE_string(
    "output", "", "File to write the classes to, one synset a line."
)
_AMBIGUOUS = flags.DEFINE_string(
    "ambiguous",
    "",
    "File to write the images to that lie under two classes, a path a line; "
    "remove them from the folder to learn without them.",
)
_ROOT = flags.DEFINE_string(
    "root", wordnet.ANIMAL, "Synset below which to choose; animal by default."
)
_MIN_IMAGES = flags.DEFINE_integer(
    "min_images", 100, "Fewest images of a class.", lower_bound=1
)


def main(argv: Sequence[str]) -> int:
    """Selects the classes, writes them and says what was left out."""
    try:
        _check_usage(argv)
        _run()
    except UserError as error:
        print(f"{Path(argv[0]).name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _check_usage(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise UsageError(f"Expected flags only; received {argv[1]!r}.")
    for flag in (_IMAGES, _IS_A, _OUTPUT):
        if not flag.value:
            raise UsageError(f"--{flag.name} is needed; see --help.")


def _run() -> None:
    selection = wordnet.select_classes(
        Path(_IMAGES.value),
        Path(_IS_A.value),
        root=_ROOT.value,
        min_images=_MIN_IMAGES.value,
    )
    summary = (
        f"{len(selection.kept)} classes kept; left out: "
        f"{len(selection.inner)} inner synsets, {len(selection.too_small)} "
        f"with fewer than {_MIN_IMAGES.value} images; "
        f"{len(selection.ambiguous)} ambiguous images"
    )
    if not selection.kept:
        raise UserError(f"{summary}; nothing to write: lower --min_images.")
    _write(_OUTPUT.value, selection.kept)
    if _AMBIGUOUS.value:
        _write(_AMBIGUOUS.value, selection.ambiguous)
    print(summary)


def _write(path: str, lines: Iterable[object]) -> None:
    try:
        Path(path).write_text("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from error


if __name__ == "__main__":
    app.run(main)
