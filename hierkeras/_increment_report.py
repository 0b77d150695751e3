"""What an increment tells when it is done."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import msgspec

from hierkeras import _common_flags, _growth_flags
from hierkeras.growth import changes, summary
from hierkeras.tree.generation import Generation

if TYPE_CHECKING:
    from hierkeras.serving.exporting import Exported  # imports TensorFlow


@dataclasses.dataclass(frozen=True)
class Report:
    """Tells what a run did.

    Args:
        before: The generation that it began with.
        changed: The classes whose images had changed by then.
    """

    before: Generation | None
    changed: changes.Changes

    def print(self, done: list[Generation], exported: Exported | None) -> None:
        """Prints the result.

        Args:
            done: The new generations.
            exported: The new version, if there is one.
        """
        began = [self.before, *done]
        latest = began[-1]
        if _common_flags.FORMAT.value == "json":
            steps_done = [
                {
                    **summary.step_object(generation),
                    "unreadable_images": summary.new_unreadable(
                        generation, before
                    ),
                    "duplicates": msgspec.to_builtins(
                        generation.step.duplicates
                    ),
                }
                for before, generation in zip(began, done, strict=False)
            ]
            result: dict[str, Any] = {
                "message": self._message(done),
                "generation": latest.number if latest else None,
                "steps": steps_done,
                "changed_classes": [
                    dataclasses.asdict(one) for one in self.changed.classes
                ],
                "exported": dataclasses.asdict(exported) if exported else None,
            }
            print(json.dumps(result, indent=1))
            return
        for before, generation in zip(began, done, strict=False):
            print("\n".join(summary.step_lines(generation, before)))
        if latest is not None:
            print("\n".join(summary.tree_lines(latest.tree)))
        if exported:
            from hierkeras.serving import exporting

            print(exporting.line(exported))
        print(self._message(done))

    def _message(self, done: list[Generation]) -> str:
        if done:
            return f"{summary.counted(len(done), 'step')} done"
        nothing = "nothing new: the tree knows every class asked for"
        if not self.changed.leaves:
            return nothing
        if _growth_flags.RELEARN.value:
            return f"{nothing}, and all that changed are unreadable images"
        return f"{nothing}; {summary.relearnable(self.changed)}"
