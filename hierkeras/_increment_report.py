"""What an increment tells: what it would do, and what it did."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from hierkeras import _common_flags, _terminal
from hierkeras.data import told
from hierkeras.data.source import Source
from hierkeras.growth import changes, summary
from hierkeras.recipe import compose
from hierkeras.tree.generation import Generation

if TYPE_CHECKING:
    from etils import epath

    from hierkeras.serving.exporting import Exported  # imports TensorFlow


@dataclasses.dataclass(frozen=True)
class Pending:
    """What a run would do.

    Args:
        batches: The new classes of each step.
        relearnt: What it would train again after them; None: nothing.
        exports: Whether it would export the tree then.
    """

    batches: Sequence[tuple[str, ...]]
    relearnt: changes.Changes | None
    exports: bool

    def lines(self) -> list[str]:
        """The same in words."""
        lines = summary.pending_lines(self.batches)
        if self.relearnt:
            names = self.relearnt.class_names
            classes = summary.counted(len(names), "class", "classes")
            lines += [f"pending: training again what knows {classes}"]
        if self.exports:
            lines += ["pending: the export"]
        return lines or ["nothing is pending"]

    def as_object(self) -> dict[str, Any]:
        """The same for programs."""
        changed = self.relearnt.class_names if self.relearnt else ()
        return {
            "pending": [list(batch) for batch in self.batches],
            "relearns": list(changed),
            "exports": self.exports,
        }


def show(
    composed: compose.Composed,
    latest: Generation | None,
    pending: Pending,
    source: Source,
) -> None:
    """Prints the recipe, the tree so far, and what is pending.

    Args:
        composed: The recipe, and where its fields come from.
        latest: The tree; None: there is none.
        pending: What is pending.
        source: The data set.
    """
    if _common_flags.FORMAT.value == "json":
        shown = {
            "preset": composed.preset,
            "recipe": msgspec.to_builtins(composed.recipe),
            "sources": dict(composed.sources),
            "chosen": composed.chosen,
            "generation": latest.number if latest else None,
            "classes": list(latest.tree.classes) if latest else [],
            **pending.as_object(),
            "data": told.as_object(source),
        }
        print(json.dumps(shown, indent=1))
        return
    lines = compose.lines(composed)
    if composed.chosen:
        lines += ["", composed.chosen]
    lines += ["", *told.lines(source)]
    lines += ["", *(summary.tree_lines(latest.tree) if latest else ["no tree"])]
    lines += pending.lines()
    print("\n".join(lines))


@dataclasses.dataclass(frozen=True)
class Report:
    """Tells what a run did.

    Args:
        before: The generation that it began with.
        changed: The classes whose images had changed by then.
        relearns: Whether what changed was to be learnt again.
        source: The data set.
    """

    before: Generation | None
    changed: changes.Changes
    relearns: bool
    source: Source

    def print(
        self,
        done: list[Generation],
        exported: Exported | None,
        page: epath.Path | None = None,
    ) -> None:
        """Prints the result.

        Args:
            done: The new generations.
            exported: The new version, if there is one.
            page: The report, if one was written.
        """
        if _common_flags.FORMAT.value == "json":
            told = self._object(done, exported)
            told["report"] = str(page) if page else None
            print(json.dumps(told, indent=1))
            return
        began = [self.before, *done]
        watched = _terminal.is_watched()
        for before, generation in zip(began, done, strict=False):
            print("\n".join(summary.step_lines(generation, before)))
            if watched:
                _terminal.draw(generation)
        latest = began[-1]
        if latest is not None and watched:
            _terminal.draw_tree(latest.tree)
        elif latest is not None:
            print("\n".join(summary.tree_lines(latest.tree)))
        if exported:
            from hierkeras.serving import exporting

            print(exporting.line(exported))
        if page:
            print(f"report: {page}")
        print(self._message(done))

    def _object(
        self, done: list[Generation], exported: Exported | None
    ) -> dict[str, Any]:
        began = [self.before, *done]
        latest = began[-1]
        return {
            "message": self._message(done),
            "generation": latest.number if latest else None,
            "steps": [
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
            ],
            "changed_classes": [
                dataclasses.asdict(one) for one in self.changed.classes
            ],
            "data": told.as_object(self.source),
            "exported": dataclasses.asdict(exported) if exported else None,
        }

    def _message(self, done: list[Generation]) -> str:
        if done:
            return f"{summary.counted(len(done), 'step')} done"
        nothing = "nothing new: the tree knows every class asked for"
        if not self.changed.leaves:
            return nothing
        if self.relearns:
            return f"{nothing}, and all that changed are unreadable images"
        return f"{nothing}; {summary.relearnable(self.changed)}"
