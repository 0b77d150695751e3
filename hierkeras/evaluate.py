"""Evaluates the latest tree of a work directory on its test images.

python -m hierkeras.evaluate --workdir=runs/digits [--format=json]
"""

from __future__ import annotations

import dataclasses
import json

from absl import flags

from hierkeras import (
    _common_flags,
    _generation_flag,
    _main,
    _routing_flags,
    _workdir_flag,
)
from hierkeras.growth import summary
from hierkeras.recipe import remembered
from hierkeras.training import startup

_SPLIT = flags.DEFINE_enum(
    "split",
    "test",
    ["test", "validation", "train"],
    "Images to evaluate on. Everything was chosen on validation: only test "
    "tells how good the tree is.",
)

flags.adopt_module_key_flags(_common_flags)
flags.adopt_module_key_flags(_generation_flag)
flags.adopt_module_key_flags(_routing_flags)


def main() -> None:
    """Evaluates a tree and prints the result."""
    store = _workdir_flag.store()
    generation = _generation_flag.read(store)
    recorded = remembered.read(generation)
    routing = _routing_flags.changed(recorded.recipe).routing
    context = _generation_flag.open_context(store, generation)
    # TensorFlow takes seconds to start; mistakes have been found by now.
    startup.start_tensorflow()
    from hierkeras.analysis import evaluation, tables
    from hierkeras.training.predictor import Predictor

    evaluated = evaluation.evaluate(
        generation,
        tuple(map(summary.step_object, store.history(generation))),
        context,
        Predictor(context),
        routing,
        _SPLIT.value,
    )
    data = _generation_flag.tell(generation, context)
    if _common_flags.FORMAT.value == "json":
        print(json.dumps(dataclasses.asdict(evaluated) | data, indent=1))
    else:
        print(tables.text(evaluated))


if __name__ == "__main__":
    _main.run(main)
