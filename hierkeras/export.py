"""Exports a tree of a work directory for TensorFlow Serving.

python -m hierkeras.export --workdir=runs/digits [--generation=2] [--force]
    [--litert=digits.tflite]
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from absl import flags

from hierkeras import (
    _common_flags,
    _export_flags,
    _generation_flag,
    _main,
    _routing_flags,
    _workdir_flag,
)
from hierkeras._errors import UsageError, UserError
from hierkeras.recipe import remembered
from hierkeras.serving.checks import manifest
from hierkeras.training import startup

_FORCE = flags.DEFINE_bool(
    "force",
    False,
    "Export also a generation whose error on the old classes grew by more "
    "than --max_old_class_regression.",
)

_LITERT = flags.DEFINE_string(
    "litert",
    None,
    "A file FILE.tflite to write as well, for LiteRT on phones; its classes "
    "are in FILE.txt.",
)

flags.adopt_module_key_flags(_common_flags)
flags.adopt_module_key_flags(_export_flags)
flags.adopt_module_key_flags(_generation_flag)
flags.adopt_module_key_flags(_routing_flags)


def main() -> None:
    """Exports a generation, unless it is there; and for LiteRT, if asked."""
    file = _litert_file()
    store = _workdir_flag.store()
    generation = _generation_flag.read(store)
    path = store.serving / str(generation.number)
    recorded = remembered.read(generation).recipe
    recipe = _routing_flags.changed(recorded, "serving")
    is_there = path.exists()
    other = manifest.differences(path, recipe.routing, recipe.serving)
    if is_there and not file:
        _print(
            {
                "version": generation.number,
                "path": str(path),
                "differs": other,
            },
            f"{path} is there already"
            + (f", made with {', '.join(other)}" if other else "")
            + "; remove it to export it again",
        )
        return
    if other:
        raise UserError(
            f"{path}, which --litert is compared with, was made with "
            f"{', '.join(other)}; remove it to export it again"
        )
    context = _generation_flag.open_context(store, generation)
    # TensorFlow takes seconds to start; mistakes have been found by now.
    startup.start_tensorflow()
    from hierkeras.serving import exporting, litert
    from hierkeras.training.predictor import Predictor

    predictor, lines = Predictor(context), []
    result: dict[str, Any] = {"version": generation.number, "path": str(path)}
    with store.lock():
        if not is_there:
            exported = exporting.export(
                generation,
                context,
                predictor,
                _export_flags.export_config(recipe, _FORCE.value),
            )
            result = dataclasses.asdict(exported)
            lines = [exporting.line(exported)]
        if file:
            converted = litert.convert(
                generation, context, predictor, recipe.routing, file
            )
            result["litert"] = dataclasses.asdict(converted)
            lines.append(litert.line(converted))
    _generation_flag.tell(generation, context)
    _print(result, "\n".join(lines))


def _litert_file() -> str:
    """The file to write for LiteRT; empty: none.

    Raises:
        UsageError: If its name is none of such a file, or its folder is not
            there.
    """
    file = os.path.expanduser(_LITERT.value or "")
    if file and not file.endswith(".tflite"):
        raise UsageError(
            f"--litert takes a file that ends in .tflite. Received: {file!r}"
        )
    # Not made absolute: a process may have no working directory any more.
    folder = os.path.dirname(file) or os.curdir
    if file and not os.path.isdir(folder):
        raise UsageError(f"--litert: there is no folder {folder!r}; make it")
    return file


def _print(result: dict[str, Any], text: str) -> None:
    is_json = _common_flags.FORMAT.value == "json"
    print(json.dumps(result, indent=1) if is_json else text)


if __name__ == "__main__":
    _main.run(main)
