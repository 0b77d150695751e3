"""The work directory.

    WORKDIR/
      models/<job id>/          one finished job, never rewritten
      generations/000002.json   a tree, with what each decision rested on
      LATEST                    "000002"
      features/<trunk id>/      a trunk, and its features of images
      checkpoints/              how far each unfinished job is
      contents                  what is in the files of the data set
      serving/2/                an exported version
      tensorboard/              one run a job and one a step
      report/index.html         a page about the latest tree
      LOCK, LOCK.holder         while an increment runs

Nothing is ever rewritten but checkpoints, `contents`, which only saves time,
the report, which can be made again, and the pointer `LATEST`, which is
replaced last: a reader sees whole generations only, and rolling back is
pointing `LATEST` at an older one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator

import filelock
import msgspec
from etils import epath

from hierkeras._errors import UserError
from hierkeras.tree import atomic, generation, numbering

# What is in a work directory that holds nothing.
_NOTHING = {"LOCK", "contents"}


class Store:
    """Reads and writes a work directory; makes nothing before it writes.

    Args:
        root: The work directory, any path that `etils.epath` takes.
    """

    def __init__(self, root: epath.PathLike) -> None:
        self.root = epath.Path(root)
        self.models = self.root / "models"
        self.generations = self.root / "generations"
        self.checkpoints = self.root / "checkpoints"
        self.serving = self.root / "serving"
        self.tensorboard = self.root / "tensorboard"
        self.report = self.root / "report"
        self._latest = self.root / "LATEST"
        self._contents = self.root / "contents"
        self._holder = self.root / "LOCK.holder"

    @property
    def advice(self) -> str:
        """What to do where a file of the work directory is damaged."""
        return (
            f"python -m hierkeras.doctor --workdir={self.root} tells what to do"
        )

    def latest(self) -> generation.Generation | None:
        """The generation that `LATEST` points at; None in a new directory.

        Raises:
            UserError: If the pointer or its generation is damaged.
        """
        try:
            number = self.pointer()
        except ValueError as error:
            raise UserError(
                f"{self._latest} is damaged: {error}; {self.advice}"
            ) from None
        return None if number is None else self.read(number)

    def pointer(self) -> int | None:
        """The number in `LATEST`; None if there is no such file.

        Raises:
            UserError: If the work directory is no folder.
            OSError: If it cannot be read.
            ValueError: If it holds no number.
        """
        try:
            return numbering.read_pointer(self._latest.read_bytes())
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise UserError(
                f"work directory {self.root} is no folder; give another "
                "--workdir"
            ) from None

    def history(
        self, last: generation.Generation
    ) -> tuple[generation.Generation, ...]:
        """The generations that led to `last`, the first one first.

        Raises:
            UserError: If one is missing or damaged.
        """
        found = [last]
        while (parent := found[-1].parent) is not None:
            found.append(self.read(parent))
        return tuple(reversed(found))

    def numbers(self) -> numbering.Numbers:
        """The generations that are there, also later ones than the latest."""
        try:
            latest = self.pointer() or 0
        except (OSError, ValueError):
            latest = 0  # what is wrong with it, `latest` tells
        if not self.generations.exists():
            return numbering.find(())
        names = [path.name for path in self.generations.iterdir()]
        return numbering.find(names, latest)

    def next_number(self) -> int:
        """A number that no generation has had, also after a roll-back.

        Raises:
            UserError: If there is none left.
        """
        number = self.numbers().following
        if number > numbering.LARGEST:
            raise UserError(
                f"{self.generations} holds generation {numbering.LARGEST}, "
                "after which there are no numbers; grow a new tree in another "
                "--workdir"
            )
        return number

    def numbered(self, new: generation.Generation) -> generation.Generation:
        """Gives a generation its number.

        A writer that was killed just before `LATEST` has left the same
        generation: then it is that one.

        Args:
            new: A generation of any number.
        """
        number = self.next_number()
        with contextlib.suppress(UserError):  # it may be damaged
            left = self.read(number - 1)
            if _timeless(left, number) == _timeless(new, number):
                return left
        return msgspec.structs.replace(new, number=number)

    def read(self, number: int) -> generation.Generation:
        """Reads one generation.

        Raises:
            UserError: If it is missing or damaged.
        """
        path = self._generation_path(number)
        try:
            found = generation.from_json(path.read_bytes())
            generation.check(found)
        except FileNotFoundError:
            raise UserError(f"{path} is missing; {self.advice}") from None
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); {self.advice}"
            ) from None
        except (msgspec.DecodeError, ValueError) as error:
            raise UserError(
                f"{path} is damaged ({error}); {self.advice}"
            ) from None
        if found.number != number:
            raise UserError(
                f"{path} is damaged: it says that it is generation "
                f"{found.number}; {self.advice}"
            )
        return found

    def publish(self, new: generation.Generation) -> None:
        """Writes a generation, then points `LATEST` at it.

        Its jobs are finished: the checkpoints that are left are of jobs that
        other flags would have had.

        Raises:
            OSError: If the disk does not take it. Then the generation is not
                there, so that its number is free.
        """
        self.generations.mkdir(parents=True, exist_ok=True)
        path = self._generation_path(new.number)
        atomic.write_file(path, generation.to_json(new))
        try:
            atomic.write_file(self._latest, f"{new.number:06d}\n".encode())
        except BaseException:
            # The first error counts.
            with contextlib.suppress(OSError, ValueError):
                if self.pointer() != new.number:
                    path.unlink()
            raise
        if self.checkpoints.exists():
            self.checkpoints.rmtree()

    def contents(self) -> bytes:
        """What an earlier run found in the files of the data set, if any."""
        try:
            return bytes(self._contents.read_bytes())
        except OSError:
            return b""

    def keep_contents(self, found: bytes) -> None:
        """Keeps that for later runs; without it they read the files again."""
        if found != self.contents():
            atomic.write_file(self._contents, found, wait_for_disk=False)

    def job_folder(self, job: str) -> epath.Path:
        """Where the result of a job is, or will be."""
        return self.models / job

    def features(self, trunk: str) -> epath.Path:
        """Where features of a trunk are, or will be."""
        return self.root / "features" / trunk

    def trunk(self, trunk: str) -> epath.Path:
        """Where a trunk itself is."""
        return self.features(trunk) / "trunk"

    def trunks(self) -> list[epath.Path]:
        """Where there are features, a folder a trunk."""
        return atomic.whole(self.root / "features")

    def views(self, trunk: str) -> list[epath.Path]:
        """Where features of a trunk are, a folder a view of an image."""
        own = self.trunk(trunk)
        return [p for p in atomic.whole(self.features(trunk)) if p != own]

    def written_folders(self) -> Iterator[epath.Path]:
        """Where things appear whole, beside the debris of killed writers."""
        yield self.root
        yield self.models
        yield self.generations
        yield self.checkpoints
        yield self.serving
        yield self.report
        for trunk in self.trunks():
            yield trunk
            yield from self.views(trunk.name)

    def checkpoint(self, job: str) -> epath.Path:
        """Where an unfinished job notes how far it is."""
        return self.checkpoints / f"{job}.checkpoint"

    def has_job(self, job: str) -> bool:
        """Whether a job is finished."""
        return bool(self.job_folder(job).exists())

    @contextlib.contextmanager
    def new_job(self, job: str) -> Iterator[epath.Path]:
        """A folder for a job's result, which appears when the block ends."""
        self.models.mkdir(parents=True, exist_ok=True)
        with atomic.new_folder(self.job_folder(job)) as folder:
            yield folder

    def is_held(self) -> bool:
        """Whether a process holds the lock, or was killed while it did."""
        return bool(self._holder.exists())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the work directory for one increment; removes debris.

        The operating system drops the lock of a process that died. A work
        directory that is new, and still empty when the block ends, goes.

        Raises:
            UserError: At once, if another process holds it, or if it cannot
                be written to.
        """
        is_new = not self.root.exists()
        lock = filelock.FileLock(self._lock_file(), timeout=0)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            name = (
                self._holder.read_text() if self._holder.exists() else "unknown"
            )
            raise UserError(
                f"work directory {self.root} is in use by {name}; wait for "
                "it to end, or take another --workdir"
            ) from None
        except OSError as error:
            raise UserError(
                f"work directory {self.root} cannot be written to "
                f"({error.strerror}); give another --workdir"
            ) from None
        try:
            with atomic.naming(self._holder):
                self._holder.write_text(
                    f"process {os.getpid()} on {socket.gethostname()}"
                )
            for folder in self.written_folders():
                atomic.remove_debris(folder)
            self._remove_stale_checkpoints()
            yield
        finally:
            # On a disk that fails, it is the first error that counts.
            with contextlib.suppress(OSError):
                self._holder.unlink(missing_ok=True)
                if is_new and not (
                    {path.name for path in self.root.iterdir()} - _NOTHING
                ):
                    self.root.rmtree()
            lock.release()

    def _remove_stale_checkpoints(self) -> None:
        """Removes those of finished jobs, whose process was killed just then.

        A second kill as the generation was published has left them there.
        """
        if self.checkpoints.exists():
            for path in self.checkpoints.iterdir():
                if self.has_job(path.stem):
                    path.unlink(missing_ok=True)

    def _lock_file(self) -> str:
        root = os.fspath(self.root)
        if "://" not in root:
            return os.path.join(root, "LOCK")
        # An object store has no locks: only processes of this machine are
        # kept out.
        name = hashlib.sha256(root.encode()).hexdigest()[:16]
        return os.path.join(tempfile.gettempdir(), f"hierkeras-{name}.lock")

    def _generation_path(self, number: int) -> epath.Path:
        return self.generations / numbering.file_name(number)


def _timeless(
    found: generation.Generation, number: int
) -> generation.Generation:
    """All of a generation that does not depend on when its jobs ran."""
    replace, step = msgspec.structs.replace, found.step
    jobs = [replace(use, reused=False) for use in step.jobs]
    timeless = replace(
        step,
        jobs=tuple(sorted(jobs, key=lambda use: use.job)),
        scratch=step.scratch and replace(step.scratch, reused=False),
        seconds=0.0,
    )
    return replace(found, number=number, step=timeless)
