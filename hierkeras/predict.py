"""Tells what is on photos: asks a server, or a SavedModel.

    python -m hierkeras.predict --server=localhost:8500 --model=digits \
        photo.jpg folder/
    python -m hierkeras.predict --saved_model=runs/digits/serving/2 photo.jpg

Folders are searched for image files. What the model does not decode, such as
TIFF and HEIC, is converted before it is sent. An image that cannot be answered
for is named on stderr, the others are answered all the same. Of an image whose
best class scores less than --min_score it says `none of these`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from hierkeras import _format_flag, _main, _trust_flag
from hierkeras._errors import UsageError, UserError
from hierkeras._float_flag import define_float
from hierkeras.data.decoding import formats
from hierkeras.serving.client import answers, converted
from hierkeras.serving.client.answers import Answer, BadImage
from hierkeras.training import startup
from hierkeras.tree.names import printable, shown

NONE = "none of these"

_SERVER = flags.DEFINE_string(
    "server", None, "HOST:PORT of TensorFlow Serving or hierkeras.serve."
)
_MODEL = flags.DEFINE_string(
    "model", None, "Name of the model on the server; default if not given."
)
_SAVED_MODEL = flags.DEFINE_string(
    "saved_model",
    None,
    "Folder of a SavedModel to run in this process instead, e.g. "
    "runs/digits/serving/2.",
)
_TIMEOUT = define_float(
    "timeout_seconds",
    30.0,
    "How long a request to the server may take.",
    lower_bound=0.001,
    upper_bound=86_400.0,
)
_IMAGES_PER_REQUEST = flags.DEFINE_integer(
    "images_per_request",
    32,
    "Most images in one request.",
    lower_bound=1,
    upper_bound=10_000,
)
_TOP = flags.DEFINE_integer(
    "top",
    1,
    "Most classes that are told of an image; a model answers with as many "
    "as it was exported for, at most.",
    lower_bound=1,
    upper_bound=10**6,
)
_MIN_SCORE = define_float(
    "min_score",
    0.0,
    "Least score of an image's best class; below it the image is answered "
    f"with '{NONE}'.",
    lower_bound=0.0,
    upper_bound=1.0,
)

flags.adopt_module_key_flags(_format_flag)
flags.adopt_module_key_flags(_trust_flag)


@dataclasses.dataclass
class _Results:
    """What was found out so far, by file."""

    answers: list[tuple[str, Answer]] = dataclasses.field(default_factory=list)
    failed: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def main(arguments: Sequence[str]) -> None:
    """Answers for image files and for those in folders."""
    if (_SERVER.value is None) == (_SAVED_MODEL.value is None):
        raise UsageError("give either --server=HOST:PORT or --saved_model=DIR")
    if _MODEL.value is not None and _SERVER.value is None:
        raise UsageError("--model names a model on a --server")
    if _trust_flag.TRUST.value and _SAVED_MODEL.value is None:
        raise UsageError("--trust is for a --saved_model; a server has its own")
    if not arguments:
        raise UsageError("no image given; name image files or folders of them")
    files = [file for name in arguments for file in _files(name)]
    model = _model()
    results = _Results()
    try:
        for start in range(0, len(files), _IMAGES_PER_REQUEST.value):
            _ask(
                model, files[start : start + _IMAGES_PER_REQUEST.value], results
            )
    finally:
        # What was answered before a failure is not lost.
        _print(results)
    if results.failed:
        sys.exit(1)


def _files(name: str) -> list[str]:
    """The file of that name, or the image files in the folder of that name."""
    path = Path(name)
    if not path.exists():
        raise UserError(f"there is no file or folder {name}")
    if not path.is_dir():
        return [name]
    found = sorted(
        str(file)
        for file in path.rglob("*")
        if not file.name.startswith(".") and file.is_file() and _is_image(file)
    )
    if not found:
        raise UserError(
            f"folder {name} holds no image; looked for files that begin as "
            "images do, or whose names end as those of images"
        )
    return found


def _is_image(file: Path) -> bool:
    """Whether it is an image, or is called as one; what it is, it is told."""
    if file.suffix.lower() in formats.SUFFIXES:
        return True
    try:
        with file.open("rb") as opened:
            return formats.kind_of(opened.read(formats.HEAD_BYTES)) is not None
    except OSError:
        return False


def _model() -> answers.Model:
    saved_model, server = _SAVED_MODEL.value, _SERVER.value
    if saved_model is not None:
        from hierkeras.serving.client.saved_model import LocalModel

        with startup.starting():
            return LocalModel(saved_model, _trust_flag.TRUST.value)
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise UserError(
            "--server needs a package that is not installed; run "
            "pip install tensorflow-serving-api"
        )
    startup.start_tensorflow()
    from hierkeras.serving.client.remote import RemoteModel

    return RemoteModel(server or "", _MODEL.value or "default", _TIMEOUT.value)


def _ask(model: answers.Model, files: list[str], results: _Results) -> None:
    contents = dict(_read(files, results))
    if not contents:
        return
    asked = converted.ask(model, list(contents.values()))
    for file, answer in zip(contents, asked, strict=True):
        if isinstance(answer, BadImage):
            _fail(file, f"{file} {answer.reason}", results)
        else:
            results.answers.append((file, answer))


def _read(files: list[str], results: _Results) -> Iterator[tuple[str, bytes]]:
    for file in files:
        try:
            yield file, Path(file).read_bytes()
        except OSError as error:
            _fail(file, f"{file} cannot be read: {error.strerror}", results)


def _fail(file: str, message: str, results: _Results) -> None:
    print(f"error: {printable(message)}", file=sys.stderr)
    results.failed.append((file, message))


def _print(results: _Results) -> None:
    if _format_flag.FORMAT.value == "json":
        print(json.dumps(_object(results), indent=1))
    elif results.answers:
        print(_table(results))


def _object(results: _Results) -> dict[str, object]:
    top = _TOP.value
    return {
        "answers": [
            {
                "file": file,
                "classes": answer.classes[:top],
                "scores": answer.scores[:top],
                "path": answer.path,
                "version": answer.version,
                "none_of_these": _is_none(answer),
            }
            for file, answer in results.answers
        ],
        "failed": [
            {"file": file, "error": message} for file, message in results.failed
        ],
    }


def _is_none(answer: Answer) -> bool:
    """Whether even the best class is too uncertain."""
    return _best(answer) < _MIN_SCORE.value


def _best(answer: Answer) -> float:
    """The score of the best class; 0 where there is none."""
    return max(answer.scores, default=0.0)


def _table(results: _Results) -> str:
    rows = [("file", "class", "score", "path")]
    for file, answer in results.answers:
        if _is_none(answer):
            rows.append((printable(file), NONE, f"{_best(answer):.4f}", "-"))
            continue
        best = zip(answer.classes, answer.scores, strict=True)
        rows += [
            (printable(file), shown(name), f"{score:.4f}", shown(answer.path))
            for name, score in list(best)[: _TOP.value]
        ]
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(
        f"{file:{first}}  {name:{second}}  {score:>6}  {path}"
        for file, name, score, path in rows
    )


if __name__ == "__main__":
    _main.run(main)
