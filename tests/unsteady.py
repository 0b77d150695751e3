"""Runs programs on a system that misbehaves: `unsteady.c`, preloaded.

system = unsteady.System(folder)
system.run("increment", "--workdir=…", fault="write EIO /models/")
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_SOURCE = ROOT / "tests" / "unsteady.c"


class System:
    """A system that misbehaves, made in a folder.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc")
        if compiler is None or not sys.platform.startswith("linux"):
            pytest.skip("there is no gcc, or no Linux, to make a system with")
        self._library = folder / "unsteady.so"
        subprocess.run(
            [
                *(compiler, "-O1", "-shared", "-fPIC", "-o"),
                *(str(self._library), str(_SOURCE), "-ldl"),
            ],
            check=True,
        )

    def environment(self, **how: object) -> dict[str, str]:
        """The environment of a process that it is to misbehave for.

        Args:
            **how: As `unsteady.c` has it, in lower case; errors by name.
        """
        told = {name: str(value) for name, value in how.items()}
        if "fault" in told:
            call, name, part = told["fault"].split()
            told["fault"] = f"{call} {getattr(errno, name)} {part}"
        return {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            **{f"UNSTEADY_{name.upper()}": v for name, v in told.items()},
        }

    def run(
        self, binary: str, *flags: str, **how: object
    ) -> subprocess.CompletedProcess[str]:
        """Runs `python -m hierkeras.BINARY` on it."""
        return subprocess.run(
            [sys.executable, "-m", f"hierkeras.{binary}", *flags],
            cwd=ROOT,
            env=self.environment(**how),
            capture_output=True,
            text=True,
            timeout=600,
        )
