"""Writes a page about the latest tree of a work directory.

    python -m hierkeras.report --workdir=runs/photos

The tree with sample photos, what it takes for what, how it grew and what that
cost, in one file that a browser opens without a network.
"""

from __future__ import annotations

import json

from absl import flags

from hierkeras import (
    _common_flags,
    _generation_flag,
    _main,
    _routing_flags,
    _workdir_flag,
)
from hierkeras._errors import UserError
from hierkeras.recipe import remembered
from hierkeras.training import startup
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

_AGAINST = flags.DEFINE_integer(
    "against",
    None,
    "An earlier generation to compare with; without it the one that the last "
    "step began with; 0: none.",
    lower_bound=0,
)

flags.adopt_module_key_flags(_common_flags)
flags.adopt_module_key_flags(_generation_flag)
flags.adopt_module_key_flags(_routing_flags)


def main() -> None:
    """Writes the report, and says where it is."""
    store = _workdir_flag.store()
    generation = _generation_flag.read(store)
    against = _against(store, generation)
    recorded = remembered.read(generation)
    routing = _routing_flags.changed(recorded.recipe).routing
    context = _generation_flag.open_context(store, generation)
    # TensorFlow takes seconds to start; mistakes have been found by now.
    startup.start_tensorflow()
    from hierkeras.reporting import report
    from hierkeras.training.predictor import Predictor

    data = _generation_flag.tell(generation, context)
    predictor = Predictor(context)
    path = report.write(generation, against, context, predictor, routing)
    if _common_flags.FORMAT.value == "json":
        print(json.dumps({"report": str(path), **data}, indent=1))
    else:
        print(f"report: {path}")


def _against(store: Store, generation: Generation) -> Generation | None:
    """The generation to compare with; None: none.

    Raises:
        UserError: If it is not there, or is the same.
    """
    number = _AGAINST.value
    if number is None:
        number = generation.parent or 0
    if not number:
        return None
    if number == generation.number:
        raise UserError(
            f"--against={number}: that is the generation that the report is "
            "about; give another"
        )
    return _generation_flag.numbered(store, number, "against")


if __name__ == "__main__":
    _main.run(main)
