"""Work directories without any training."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hierkeras.tree.generation import Generation, Step
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.store import Store

_ROOT = Path(__file__).resolve().parents[2]
# Holds the lock, halfway through writing a job, until its stdin ends.
_HOLDER = """
import sys
from hierkeras.tree.store import Store

store = Store(sys.argv[1])
with store.lock(), store.new_job("abc") as folder:
    (folder / "half").write_text("written")
    print("holding", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(store: Store) -> Iterator[subprocess.Popen]:
    """A process that holds a work directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(store.root)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "holding\n"
        yield process


def generation(number: int, parent: int | None = None) -> Generation:
    """A generation whose only job is nowhere."""
    leaf = Leaf("root", tuple(f"class {i}" for i in range(number)), "job")
    step = Step(
        new_classes=leaf.classes,
        decisions=(),
        jobs=(),
        scratch=None,
        unreadable_images={},
        old_error_before=None,
        old_error_after=None,
        # With another last digit it would be the same number.
        error_after=0.30000000000000004,
        seconds=1.0,
    )
    return Generation(number, {}, Tree(leaf), step, parent)
