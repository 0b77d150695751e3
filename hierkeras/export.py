"""Exports a tree of a work directory for TensorFlow Serving.

python -m hierkeras.export --workdir=runs/digits [--generation=2] [--force]
"""

from __future__ import annotations

import dataclasses
import json
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
from hierkeras.recipe import remembered
from hierkeras.serving.checks import manifest
from hierkeras.training import startup

_FORCE = flags.DEFINE_bool(
    "force",
    False,
    "Export also a generation whose error on the old classes grew by more "
    "than --max_old_class_regression.",
)

flags.adopt_module_key_flags(_common_flags)
flags.adopt_module_key_flags(_export_flags)
flags.adopt_module_key_flags(_generation_flag)
flags.adopt_module_key_flags(_routing_flags)


def main() -> None:
    """Exports a generation, unless it is there."""
    store = _workdir_flag.store()
    generation = _generation_flag.read(store)
    path = store.serving / str(generation.number)
    recorded = remembered.read(generation).recipe
    recipe = _routing_flags.changed(recorded, "serving")
    if path.exists():
        other = manifest.differences(path, recipe.routing, recipe.serving)
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
    context = _generation_flag.open_context(store, generation)
    # TensorFlow takes seconds to start; mistakes have been found by now.
    startup.start_tensorflow()
    from hierkeras.serving import exporting
    from hierkeras.training.predictor import Predictor

    with store.lock():
        exported = exporting.export(
            generation,
            context,
            Predictor(context),
            _export_flags.export_config(recipe, _FORCE.value),
        )
    _generation_flag.tell(generation, context)
    _print(dataclasses.asdict(exported), exporting.line(exported))


def _print(result: dict[str, Any], text: str) -> None:
    is_json = _common_flags.FORMAT.value == "json"
    print(json.dumps(result, indent=1) if is_json else text)


if __name__ == "__main__":
    _main.run(main)
