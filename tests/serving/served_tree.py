"""Versions of one small served tree, whose answers tell them apart."""

import contextlib
import functools
import io
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from hierkeras.recipe.serving import Serving as Options
from hierkeras.tree.routing import Routing
from tests import small_trees

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 8
CLASSES = ("ant", "bee", "cat", "dog")
TOP = 3
_TAG = b"v0000-"


def tag(version: int) -> str:
    """What every class of a version begins with."""
    return f"v{version:04}-"


@functools.cache
def _exported() -> tempfile.TemporaryDirectory:
    """The tree, exported once in this process."""
    import keras

    from hierkeras.serving.graph import signatures
    from hierkeras.serving.graph.composite import Composite
    from hierkeras.tree.nodes import Branch, Leaf, Tree

    def network(seed: int, num_classes: int) -> keras.Model:
        images = keras.Input((SIZE, SIZE, 3))
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
        logits = keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.RandomNormal(seed=seed),
            name="logits",
        )(x)
        return keras.Model(images, logits)

    classes = tuple(_TAG.decode() + name for name in CLASSES)
    leaves = (
        Leaf("root.1", classes[:2], "one"),
        Leaf("root.2", classes[2:], "two"),
    )
    models = {
        "all": network(0, 4),
        "one": network(1, 2),
        "two": network(2, 2),
    }
    tree = Tree(Branch("root", classes, "all", leaves))
    folder = tempfile.TemporaryDirectory()
    signatures.save(
        folder.name,
        Composite(tree, models, Routing("soft")),
        SIZE,
        Options(top=TOP),
    )
    return folder


def save(
    grown: small_trees.Grown,
    folder: Path,
    routing: Routing | None = None,
    **config: Any,
) -> epath.Path:
    """Writes a small tree as a SavedModel; hard routing if none is given."""
    from hierkeras.serving.graph import signatures
    from hierkeras.serving.graph.composite import Composite

    signatures.save(
        str(folder),
        Composite(grown.tree, grown.models, routing or Routing("hard")),
        grown.images.shape[1],
        Options(**config),
    )
    return epath.Path(folder)


def write(folder: Path, version: int) -> Path:
    """Writes a version, named by its number in four digits, into a folder."""
    shutil.copytree(_exported().name, folder)
    graph = folder / "saved_model.pb"
    content = graph.read_bytes()
    assert content.count(_TAG) >= len(CLASSES)
    graph.write_bytes(content.replace(_TAG, tag(version).encode()))
    return folder


def publish(base_path: Path, version: int) -> Path:
    """Publishes a version as the exporter does: by a rename."""
    written = write(base_path / f".tmp-{version}", version)
    return written.rename(base_path / str(version))


def versions_in(classes: np.ndarray) -> set[int]:
    """The versions that an answer's classes come from."""
    return {int(name[1:5]) for name in classes.ravel() if name}


def encoded(count: int, seed: int = 0, size: int = 12) -> list[bytes]:
    """Images, as the contents of PNG files."""
    from PIL import Image

    random = np.random.default_rng(seed)
    files = []
    for _ in range(count):
        file = io.BytesIO()
        pixels = random.integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files


def until(happened: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for something to happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    """A folder for versions."""
    folder = tmp_path / "serving"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A server in this process, with version 7 of the model `animals`."""
    from hierkeras.serving.local.server import Server

    folder = tmp_path_factory.mktemp("serving")
    publish(folder, 7)
    address = "127.0.0.1", 0
    running = Server(
        "animals", str(folder), *address, 4, lambda _: None, rest_port=0
    )
    running.start(0)
    yield running
    running.stop(0)


class Serving:
    """`python -m hierkeras.serve` in a process of its own."""

    def __init__(
        self, base_path: Path, *flags: str, env: dict[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "hierkeras.serve", f"--model_base_path={base_path}"),
                *("--model_name=animals", "--port=0"),
                "--file_system_poll_wait_seconds=0.1",
                *flags,
            ],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
        )
        self.said = ""

    def read_until(self, wanted: str, seconds: float = 60) -> str:
        """Reads what it says until it has said something."""
        end = time.monotonic() + seconds
        while not re.search(wanted, self.said):
            ready, _, _ = select.select(
                [self.process.stderr], [], [], end - time.monotonic()
            )
            assert ready, f"{wanted!r} was not said, but {self.said!r}"
            read = os.read(self.process.stderr.fileno(), 65536)
            assert read, f"it ended, and said {self.said!r}"
            self.said += read.decode()
        return self.said

    @property
    def address(self) -> str:
        """Where it listens."""
        said = self.read_until(r"listening on \S+:\d+\n")
        return re.search(r"listening on (\S+)\n", said)[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal, and reads the rest of what it says."""
        self.process.send_signal(number)
        try:
            rest = self.process.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            # It says where each of its threads stands.
            self.process.send_signal(signal.SIGABRT)
            rest = self.process.communicate(timeout=60)[1]
        self.said += rest.decode()
        assert self.process.returncode != -signal.SIGABRT, self.said
        return self.process.returncode


@contextlib.contextmanager
def serving(
    base_path: Path, *flags: str, env: dict[str, str] | None = None
) -> Iterator[Serving]:
    """Serves in a process of its own, which does not outlive the test."""
    running = Serving(base_path, *flags, env=env)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()
