"""Runs binaries on a small disk that fails at a given moment.

    unshare --user --map-root-user --mount python tests/failing_disk.py FOLDER

FOLDER becomes the disk, which only this process sees. Commands come on stdin
and answers go to stdout, one JSON object a line:

    {"do": "mount", "copy": FOLDER or null}   a new, empty disk, or a copy
    {"do": "run", "binary": NAME, "flags": […], "fault": null or
        {"event": AUDIT EVENT, "pattern": REGEX, "kind": "full" or "read-only",
         "room": BYTES}}                       at the first event that fits
    {"do": "mend"}                            space again, and writable

A disk that is full was filled for real, up to `room` bytes.
"""

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from unittest import mock

from absl.testing import flagsaver

SIZE = "32m"


class FailingDisk:
    def __init__(self, folder):
        self.folder = folder
        self.fault = None
        self.is_failing = False
        sys.addaudithook(self._watch)

    def mount(self, copy):
        self._unmount()
        self._call("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs")
        if copy:
            subprocess.run(["cp", "-a", f"{copy}/.", self.folder], check=True)
        return {}

    def mend(self):
        if self.is_failing == "read-only":
            subprocess.run(["umount", "--lazy", self.folder], check=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self._filler)
        self.is_failing = False
        return {}

    def run(self, binary, flags, fault):
        from hierkeras import _main

        module = importlib.import_module(f"hierkeras.{binary}")
        self.fault = fault
        status = 0
        with (
            _captured() as said,
            flagsaver.flagsaver(),
            mock.patch.object(sys, "argv", [module.__file__, *flags]),
        ):
            try:
                _main.run(module.main)
            except SystemExit as end:
                status = end.code or 0
            except BaseException:
                traceback.print_exc()
                status = 1
        self.fault = None
        return {"status": status, "failed": bool(self.is_failing), **said}

    def _watch(self, event, arguments):
        if self.fault is None or event != self.fault["event"]:
            return
        if not re.search(self.fault["pattern"], " ".join(map(str, arguments))):
            return
        fault, self.fault = self.fault, None
        self.is_failing = fault["kind"]
        if fault["kind"] == "full":
            self._fill(fault.get("room", 0))
        else:
            # A disk with an open file, the lock, cannot be remounted.
            self._call("mount", "--bind", self.folder)
            self._call("mount", "-o", "remount,bind,ro")

    def _fill(self, room):
        disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize - room
        with open(self._filler, "wb", buffering=0) as file:
            file.write(bytes(max(0, free)))

    @property
    def _filler(self):
        return os.path.join(self.folder, "filler")

    def _call(self, *command):
        subprocess.run([*command, self.folder], check=True)

    def _unmount(self):
        while os.path.ismount(self.folder):
            self._call("umount", "--lazy")
        self.is_failing = False


@contextlib.contextmanager
def _captured():
    """What is written to stdout and stderr, also by C++."""
    said = {}
    sys.stdout.flush()
    kept = {1: os.dup(1), 2: os.dup(2)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            for name, file in (("stdout", out), ("stderr", err)):
                file.seek(0)
                said[name] = file.read().decode()


def main():
    disk = FailingDisk(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(disk, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)
    # How TensorFlow takes itself apart, which may last, is not tested here.
    os._exit(0)


if __name__ == "__main__":
    main()
