"""From encoded images to batches that a model can learn from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Final, get_args

import numpy as np
import numpy.typing as npt
import psutil
import tensorflow as tf

from hierkeras import _faults
from hierkeras._errors import UsageError, UserError
from hierkeras.data import pipeline
from hierkeras.data.augment import random_augmented
from hierkeras.data.decoding import anything, formats
from hierkeras.data.decoding.library import CannotDecode
from hierkeras.data.decoding.pixels import DEFAULT, Pixels
from hierkeras.data.memory import ImageMemory, on_host
from hierkeras.data.source import Augmentation, Cache, Source

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]
_Kept = tuple[list[Indices], list[tf.Tensor]]

_CHANNELS: Final = 3
_DECODE_BATCH: Final = 256
# Encoded photos that are in memory at once, some 5 MB each.
_RARE_BATCH: Final = 32
# A plain image is decoded by a graph that is small, so quick to begin with.
_UNKNOWN, _UPRIGHT, _PLAIN, _RARE, _UNREADABLE = range(5)


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that cannot be decoded.

    Attributes:
        index: its position in the catalogue.
        key: its name in the catalogue.
        digest: what it is, by the catalogue.
        reason: one line.
    """

    index: int
    key: str
    digest: str
    reason: str


class Images:
    """The decoded images of a source, kept in memory where they fit.

    Every method prepares what it needs first. An image that cannot be decoded
    is remembered, reported by `prepare` and never delivered.

    Args:
        source: the images.
        image_size: side of the decoded images in pixels.
        pixels: how images become squares of that size.
        cache: "memory" keeps decoded images, "none" decodes them each time,
            "auto" keeps them if they take at most half of the free memory.
        memory_share: part of the free memory, in (0, 1], that counts.

    Raises:
        UsageError: if `cache` is none of these.
    """

    def __init__(
        self,
        source: Source,
        image_size: int,
        pixels: Pixels = DEFAULT,
        *,
        cache: Cache = "auto",
        memory_share: float = 1.0,
    ) -> None:
        if cache not in get_args(Cache):
            raise UsageError(
                f"Unknown cache {cache!r}; valid are "
                f"{', '.join(get_args(Cache))}."
            )
        self.source = source
        self.image_size = image_size
        self._pixels = pixels
        self._cache = cache
        self._memory_share = memory_share
        size = len(source.catalogue.keys)
        self._state = np.full(size, _UNKNOWN, np.int8)
        self._hashes = np.zeros(size, np.uint64)
        self._unreadable: dict[int, Unreadable] = {}
        self._notes: dict[int, str] = {}
        self._memory = ImageMemory(size)

    def prepare(self, indices: Indices) -> list[Unreadable]:
        """Decodes every example that has not been decoded before.

        Args:
            indices: int array of examples.

        Returns:
            Those of `indices` that cannot be decoded, sorted by index.

        Raises:
            UserError: if the data set as a whole cannot be read.
        """
        indices = np.unique(indices)
        new = indices[self._state[indices] == _UNKNOWN]
        if len(new):
            self._prepare_new(new)
        bad = indices[self._state[indices] == _UNREADABLE]
        return [self._unreadable[index] for index in bad.tolist()]

    def notes(self, indices: Indices) -> dict[str, list[str]]:
        """Tells what may surprise in the colours of some examples.

        Args:
            indices: int array of examples.

        Returns:
            What it is, such as "colour profile Display P3", which is not
            applied, to the keys of those that have it.
        """
        self.prepare(indices)
        found: dict[str, list[str]] = {}
        for index in sorted(self._notes.keys() & set(indices.tolist())):
            key = str(self.source.catalogue.keys[index])
            found.setdefault(self._notes[index], []).append(key)
        return found

    def hashes(self, indices: Indices) -> npt.NDArray[np.uint64]:
        """Returns a hash of the decoded pixels of some examples.

        Args:
            indices: int array of shape (n,): examples that can be decoded.

        Returns:
            uint64 array of shape (n,); images of the same pixels have the
            same, others hardly ever.
        """
        self.prepare(indices)
        return self._hashes[indices]

    def training_batches(
        self,
        indices: Indices,
        labels: Labels,
        *,
        batch_size: int,
        seed: int,
        augment: Augmentation,
        first_batch: int = 0,
        per_epoch: int | None = None,
    ) -> tf.data.Dataset:
        """Returns shuffled batches for training, without end.

        The order within an epoch is a function of seed and epoch alone, and
        the augmentation of a batch one of seed and the batch's number. Batches
        run across the borders of epochs. So `first_batch=b` goes on, bit for
        bit, where a run of b batches ended.

        Args:
            indices: int array of shape (n,): the examples.
            labels: int array of shape (n,): what the model is to answer.
            batch_size: number of examples in a batch.
            seed: non-negative, below 2^62.
            augment: whether images are shifted by up to an eighth of their
                size, and half of them mirrored.
            first_batch: number of batches to skip.
            per_epoch: length of an epoch: the first so many of its order, from
                whose end it is begun again; None: every example once.

        Returns:
            A dataset of pairs: float32 images of shape [batch_size, size,
            size, 3] in 0..255, and int32 labels of shape [batch_size].

        Raises:
            UserError: if none of the images can be decoded.
            ValueError: if indices and labels differ in length.
        """
        if len(indices) != len(labels):
            raise ValueError(
                "Expected one label for each index. Received: "
                f"{len(labels)} labels, {len(indices)} indices"
            )
        indices, labels = self._decodable(indices, labels)
        per_epoch = per_epoch or len(indices)
        first_epoch, skipped = divmod(first_batch * batch_size, per_epoch)
        order = seed, first_epoch, per_epoch
        if self._memory.holds(indices):
            examples = pipeline.positions(len(indices), *order)
            to_pair = self._gathering(indices, labels)
        else:
            examples = self._decoded_pairs(indices, labels, *order)
            to_pair = tuple

        def finish(
            number: tf.Tensor, batch: tf.Tensor | tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            images, answers = to_pair(batch)
            augmented = random_augmented(
                images, augment, pipeline.augment_seed(seed, number)
            )
            return tf.cast(augmented, tf.float32), answers

        return pipeline.deterministic(
            examples.skip(skipped)
            .batch(batch_size, drop_remainder=True)
            .enumerate(first_batch)
            .map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        )

    def evaluation_batches(
        self, indices: Indices, batch_size: int
    ) -> tf.data.Dataset:
        """Returns images in the order of their indices.

        Args:
            indices: int array of shape (n,): examples that can be decoded;
                sorted unless the source has random access.
            batch_size: number of examples in a batch.

        Returns:
            A dataset of float32 images of shape [b, size, size, 3] in 0..255;
            the last batch may be smaller.

        Raises:
            ValueError: if one of the images cannot be decoded: to leave it
                out would shift the answers for those after it.
        """
        bad = self.prepare(indices)
        if bad:
            raise ValueError(
                "Expected images that `prepare` did not report as unreadable. "
                f"Received: {bad[0].key}"
            )
        if self._memory.holds(indices):
            batches = (
                tf.data.Dataset.range(len(indices))
                .batch(batch_size)
                .map(
                    self._memory.loader(indices),
                    num_parallel_calls=tf.data.AUTOTUNE,
                )
            )
        else:
            batches = (
                self.source.read(indices)
                .map(
                    self._decoder(indices), num_parallel_calls=tf.data.AUTOTUNE
                )
                .batch(batch_size)
            )
        return pipeline.deterministic(
            batches.map(lambda images: tf.cast(images, tf.float32))
        )

    def _decodable(
        self, indices: Indices, labels: Labels
    ) -> tuple[Indices, Labels]:
        """Returns those examples that can be decoded, with their labels."""
        bad = [image.index for image in self.prepare(indices)]
        good = ~np.isin(indices, bad)
        if not good.any():
            raise UserError(
                f"None of the {len(indices)} images to train on can be "
                "decoded; check the data set."
            )
        return indices[good], labels[good].astype(np.int32)

    def _gathering(
        self, indices: Indices, labels: Labels
    ) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns a function from positions to kept images and labels."""
        load, answers = self._memory.loader(indices), on_host(labels)
        return lambda places: (load(places), tf.gather(answers, places))

    def _decode(self, image: tf.Tensor) -> tf.Tensor:
        return anything.decode_and_resize(image, self.image_size, self._pixels)[
            0
        ]

    def _decoder(self, indices: Indices) -> Callable[[tf.Tensor], tf.Tensor]:
        """What decodes some examples that can be decoded."""
        least_plain = self._state[indices].max()
        if least_plain <= _PLAIN:
            return lambda image: anything.decode_again(
                image,
                self.image_size,
                self._pixels,
                is_upright=least_plain == _UPRIGHT,
            )
        return self._decode

    def _decoded_pairs(
        self,
        indices: Indices,
        labels: Labels,
        seed: int,
        first_epoch: int,
        per_epoch: int,
    ) -> tf.data.Dataset:
        """Returns shuffled pairs of image and label, read from the source."""
        if self.source.random_access:
            all_indices, all_labels = on_host(indices), on_host(labels)

            def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
                order = pipeline.epoch_order(len(indices), seed, epoch)
                return tf.data.Dataset.zip(
                    self.source.read(tf.gather(all_indices, order)),
                    tf.data.Dataset.from_tensor_slices(
                        tf.gather(all_labels, order)
                    ),
                )

        else:
            order = np.argsort(indices)
            in_source_order = tf.data.Dataset.zip(
                self.source.read(indices[order]),
                tf.data.Dataset.from_tensor_slices(labels[order]),
            )

            def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
                return pipeline.shuffle_windows(in_source_order, seed, epoch)

        decode = self._decoder(indices)
        return pipeline.epochs(one_epoch, first_epoch, per_epoch).map(
            lambda image, label: (decode(image), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _prepare_new(self, new: Indices) -> None:
        """Decodes sorted examples, keeps them if they fit, notes the bad."""
        kept: _Kept | None = ([], []) if self._keeps(len(new)) else None
        self._state[new] = _UNREADABLE
        self._decode_plain(new, kept)
        rest = new[self._state[new] == _UNREADABLE]
        if rest.size:
            self.source.check_present()
            self._decode_rare(rest, kept)
        if kept and kept[0]:
            self._memory.add(np.concatenate(kept[0]), kept[1])

    def _decode_plain(self, new: Indices, kept: _Kept | None) -> None:
        """Decodes those of sorted examples that are plain."""

        def decode(index: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, ...]:
            plain = anything.decode_plain(image, self.image_size, self._pixels)
            return index, *plain

        dataset = (
            tf.data.Dataset.zip(
                tf.data.Dataset.from_tensor_slices(new), self.source.read(new)
            )
            .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
            .ignore_errors()
            .batch(_DECODE_BATCH)
        )
        for indices, batch, *said in pipeline.deterministic(dataset):
            rows = indices.numpy()
            notes, is_plain, is_upright = (told.numpy() for told in said)
            self._note(rows, notes)
            if not is_plain.all():
                batch = tf.boolean_mask(batch, is_plain)
                rows, is_upright = rows[is_plain], is_upright[is_plain]
            if rows.size:
                state = np.where(is_upright, _UPRIGHT, _PLAIN)
                self._take(rows, batch, state, kept)

    def _decode_rare(self, rest: Indices, kept: _Kept | None) -> None:
        """Decodes sorted examples that are not plain, and notes the bad.

        By threads of Python: a tf.data pipeline of what decodes everything
        takes seconds to begin.
        """
        encoded = iter(self.source.read(rest))
        with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(rest), _RARE_BATCH):
                block = rest[start : start + _RARE_BATCH].tolist()
                read = [(index, self._read_next(encoded)) for index in block]
                for index, done in zip(
                    block, pool.map(self._decode_now, read), strict=True
                ):
                    if isinstance(done, Unreadable):
                        self._unreadable[index] = done
                        continue
                    square, note = done
                    places = np.array([index])
                    self._take(places, square[tf.newaxis], _RARE, kept)
                    if note:
                        self._notes[index] = note

    def _read_next(
        self, encoded: Iterator[tf.Tensor]
    ) -> tf.Tensor | tf.errors.OpError:
        """The next image, or why it cannot be read."""
        try:
            return next(encoded)
        except tf.errors.DataLossError as error:
            raise UserError(
                f"The data set {self.source.name!r} is damaged: "
                f"{_faults.reason(error)}; prepare it again."
            ) from error
        except tf.errors.OpError as error:
            return error

    def _decode_now(
        self, read: tuple[int, tf.Tensor | tf.errors.OpError]
    ) -> tuple[tf.Tensor, str] | Unreadable:
        """Decodes an image, or says why not."""
        index, image = read
        about = self.source.catalogue
        key, digest = str(about.keys[index]), about.digest(index)
        if isinstance(image, tf.errors.OpError):
            return Unreadable(index, key, digest, _faults.reason(image))
        try:
            return anything.decode_now(image, self.image_size, self._pixels)
        except (tf.errors.OpError, CannotDecode) as error:
            return Unreadable(index, key, digest, _reason(error, image))

    def _take(
        self,
        indices: Indices,
        batch: tf.Tensor,
        state: int | npt.NDArray[np.int_],
        kept: _Kept | None,
    ) -> None:
        """Notes that examples can be decoded, and keeps their images."""
        self._state[indices] = state
        self._hashes[indices] = _hashes(batch)
        if kept is not None:
            kept[0].append(indices)
            kept[1].append(batch)

    def _note(self, indices: Indices, notes: npt.NDArray[np.object_]) -> None:
        for index in np.flatnonzero(notes).tolist():
            self._notes[int(indices[index])] = notes[index].decode()

    def _keeps(self, number: int) -> bool:
        """Returns whether that many more images are to be kept."""
        if self._cache != "auto":
            return self._cache == "memory"
        needed = number * self.image_size**2 * _CHANNELS
        # While they are added they are held twice.
        free = psutil.virtual_memory().available * self._memory_share
        return bool(2 * needed <= free)


def _reason(error: Exception, image: tf.Tensor) -> str:
    """Why an image cannot be decoded, one line.

    Args:
        error: what was raised.
        image: as the source gave it.
    """
    if image.dtype == tf.string:
        head = image.numpy()[: formats.HEAD_BYTES]
        what = None if formats.kind_of(head) else formats.not_an_image(head)
        if what:
            return f"is {what}"
    if isinstance(error, CannotDecode):
        return str(error)
    return _faults.reason(error)


def _hashes(images: tf.Tensor) -> npt.NDArray[np.uint64]:
    # FarmHash64: a fortieth of the time that decoding takes.
    raw: npt.NDArray[np.uint8] = tf.fingerprint(images).numpy()
    return raw.view(np.uint64)[:, 0]
