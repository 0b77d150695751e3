"""How fast, and in how much memory, a folder of many files is opened.

    python tools/bench_files.py /tmp/many --files=180000

makes the files where they are not there, then opens them in a process of its
own each: cold (as far as the system forgets files when asked), and again when
nothing changed. Memory is the growth of the peak, beyond a data set of a few
files.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import time

_CLASSES = 200
_HEAD = b"\xff\xd8\xff\xe0" + bytes(16)


def main() -> None:
    """Measures, in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--files", type=int, default=180_000)
    parser.add_argument("--kilobytes", type=int, default=10)
    parser.add_argument("--open", action="store_true", help="in the process")
    asked = parser.parse_args()
    if asked.open:
        print(json.dumps(_open(asked.folder)))
        return
    many, few = asked.folder / "many", asked.folder / "few"
    _make(many, asked.files, asked.kilobytes << 10)
    _make(few, 2 * _CLASSES, 64)
    least = _in_a_process(few)["peak"]
    (asked.folder / "many.kept").unlink(missing_ok=True)
    _forget(many)
    for what in ("cold", "unchanged"):
        found = _in_a_process(many)
        print(
            f"{what}: {found['images']:,} images in {found['seconds']:.1f} s, "
            f"{(found['peak'] - least) / asked.files:.0f} bytes a file"
        )


def _make(folder: pathlib.Path, count: int, size: int) -> None:
    if folder.exists():
        return
    bits = random.Random(0)
    for number in range(count):
        path = folder / f"class_{number % _CLASSES:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_HEAD + bits.randbytes(size - len(_HEAD)))


def _forget(folder: pathlib.Path) -> None:
    """Asks the system to drop what it holds of the files in memory."""
    os.sync()
    for path in folder.rglob("*.jpg"):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def _in_a_process(folder: pathlib.Path) -> dict[str, float]:
    command = [sys.executable, __file__, str(folder), "--open"]
    return json.loads(subprocess.check_output(command))


def _open(folder: pathlib.Path) -> dict[str, float]:
    from hierkeras.data import image_folder  # noqa: F401
    from hierkeras.data.registry import open_source
    from hierkeras.data.source import DataConfig

    file = folder.with_suffix(".kept")
    start = time.perf_counter()
    before = file.read_bytes() if file.exists() else b""
    source = open_source(DataConfig(f"folder:{folder}"), before)
    source.catalogue.fingerprint(source.catalogue.class_names)
    seconds = time.perf_counter() - start
    file.write_bytes(source.keep() if source.keep else b"")
    # Not getrusage's, which begins with that of the process before it.
    status = pathlib.Path("/proc/self/status").read_text()
    peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
    images = len(source.catalogue.keys)
    return {"seconds": seconds, "peak": peak, "images": images}


if __name__ == "__main__":
    main()
