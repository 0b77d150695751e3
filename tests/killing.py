"""Runs a binary that kills itself, as `kill -9` would, at a chosen event.

    python tests/killing.py EVENT increment --workdir=DIR [flag…]

An event is something about to happen in the work directory, as a regular
expression such as `os.rename models/.*`, and `#2` after it for the second time;
`-` is none. What happened goes, an event a line, to DIR.events. What C++ writes
is not announced: it is seen when it is there, as `see serving/.*`.
"""

import contextlib
import os
import re
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

# What TensorFlow's C++ writes.
_SEEN = (
    "tensorboard/*/events*",
    "serving/.tmp-*/variables/*",
    "serving/.tmp-*/saved_model.pb",
    "serving/.tmp-*/assets.extra/tf_serving_warmup_requests",
)
_EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


class Killer:
    """Notes what is about to happen, and kills the process before some of it.

    Args:
        event: What must not happen any more.
        workdir: Where.
    """

    def __init__(self, event: str, workdir: str) -> None:
        self._event, _, count = event.partition("#")
        self._left = int(count or 1)
        self._workdir = workdir
        self._log = os.open(
            f"{workdir}.events", os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )

    def hook(self, name: str, arguments: tuple) -> None:
        """Is told of each event that Python audits."""
        if name == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            ):
                return
        elif name in _EVENTS:
            # Of a rename, the name that appears.
            path = arguments[1 if name == "os.rename" else 0]
        else:
            return
        path = os.fsdecode(path)
        if not os.path.isabs(path) and arguments[-1] not in (-1, None):
            with contextlib.suppress(OSError):
                folder = os.readlink(f"/proc/self/fd/{arguments[-1]}")
                path = os.path.join(folder, path)
        if path == self._workdir or path.startswith(self._workdir + os.sep):
            self._happens(name, os.path.relpath(path, self._workdir))

    def watch(self) -> None:
        """Sees what is not announced; never returns."""
        while True:
            for pattern in _SEEN:
                for path in Path(self._workdir).glob(pattern):
                    self._happens("see", str(path.relative_to(self._workdir)))
            time.sleep(0.002)

    def _happens(self, name: str, path: str) -> None:
        # What differs between runs: random suffixes, processes and times.
        path = re.sub(r"(\.tmp-.*?)-[0-9a-f]{8}\b", r"\1", path)
        path = re.sub(r"events\.out.*", "events", path)
        event = f"{name} {path}"
        matches = re.fullmatch(self._event, event)
        if name != "see" or matches:
            os.write(self._log, f"{event}\n".encode())
        if matches:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Runs the binary."""
    event, binary, *flags = sys.argv[1:]
    (workdir,) = (
        os.path.abspath(flag.partition("=")[2])
        for flag in flags
        if flag.startswith("--workdir=")
    )
    killer = Killer(event, workdir)
    sys.addaudithook(killer.hook)
    if event.startswith("see "):
        threading.Thread(target=killer.watch, daemon=True).start()
    sys.argv[1:] = flags
    sys.path[0] = os.getcwd()
    runpy.run_module(f"hierkeras.{binary}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
