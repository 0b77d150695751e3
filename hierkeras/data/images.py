"""From encoded images to batches that a model can learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final, get_args

import numpy as np
import numpy.typing as npt
import psutil
import tensorflow as tf

from hierkeras import _faults
from hierkeras._errors import UsageError, UserError
from hierkeras.data import pipeline
from hierkeras.data.augment import random_augmented
from hierkeras.data.decoding import anything, formats, graph
from hierkeras.data.decoding.pixels import DEFAULT, Pixels
from hierkeras.data.memory import ImageMemory, on_host
from hierkeras.data.source import Augmentation, Cache, Source

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int32]
_Kept = tuple[list[Indices], list[tf.Tensor]]

_CHANNELS: Final = 3
_DECODE_BATCH: Final = 256
# A plain image is decoded by a graph that is small, so quick to begin with.
_UNKNOWN, _PLAIN, _RARE, _UNREADABLE = range(4)


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
        return self._decode_noted(image)[0]

    def _decoder(self, indices: Indices) -> Callable[[tf.Tensor], tf.Tensor]:
        """What decodes some examples that can be decoded."""
        if (self._state[indices] == _PLAIN).all():
            return lambda image: anything.checked_plain(
                image, self.image_size, self._pixels
            )
        return self._decode

    def _decode_noted(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return anything.decode_and_resize(image, self.image_size, self._pixels)

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
        failed = self._decode_all(new, _PLAIN, kept)
        if failed.size:
            self.source.check_present()
            failed = self._decode_all(failed, _RARE, kept)
        for index, image in self._retry(failed):
            self._take(np.array([index]), image[tf.newaxis], _RARE, kept)
        if kept and kept[0]:
            self._memory.add(np.concatenate(kept[0]), kept[1])

    def _decode_all(
        self, new: Indices, state: int, kept: _Kept | None
    ) -> Indices:
        """Decodes sorted examples; returns those that fail, sorted.

        Args:
            new: the examples.
            state: `_PLAIN` to decode plain ones only, `_RARE` any.
            kept: where decoded images go, and which they are.
        """

        def decode(index: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, ...]:
            if state == _PLAIN:
                plain = anything.decode_plain(
                    image, self.image_size, self._pixels
                )
                return index, *plain
            return index, *self._decode_noted(image), True

        dataset = (
            tf.data.Dataset.zip(
                tf.data.Dataset.from_tensor_slices(new), self.source.read(new)
            )
            .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
            .ignore_errors()
            .filter(lambda index, square, note, is_fine: is_fine)
            .map(lambda index, square, note, is_fine: (index, square, note))
            .batch(_DECODE_BATCH)
        )
        for indices, batch, notes in pipeline.deterministic(dataset):
            self._take(indices.numpy(), batch, state, kept)
            self._note(indices.numpy(), notes.numpy())
        failed: Indices = new[self._state[new] == _UNREADABLE]
        return failed

    def _take(
        self,
        indices: Indices,
        batch: tf.Tensor,
        state: int,
        kept: _Kept | None,
    ) -> None:
        """Notes that examples can be decoded, and keeps their images."""
        self._state[indices] = state
        self._hashes[indices] = _hashes(batch)
        if kept is not None:
            kept[0].append(indices)
            kept[1].append(batch)

    def _retry(self, failed: Indices) -> Iterator[tuple[int, tf.Tensor]]:
        """Decodes one by one what failed, and notes why it fails again."""
        encoded = iter(self.source.read(failed))
        for index in failed.tolist():
            image = None
            try:
                image = next(encoded)
                yield index, self._decode(image)
            except tf.errors.DataLossError as error:
                raise UserError(
                    f"The data set {self.source.name!r} is damaged: "
                    f"{_faults.reason(error)}; prepare it again."
                ) from error
            except tf.errors.OpError as error:
                self._unreadable[index] = Unreadable(
                    index,
                    str(self.source.catalogue.keys[index]),
                    self.source.catalogue.digest(index),
                    _reason(error, image),
                )

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


def _reason(error: Exception, image: tf.Tensor | None) -> str:
    """Why an image cannot be decoded, one line.

    Args:
        error: what was raised.
        image: as the source gave it; None if it gave none.
    """
    if image is not None and image.dtype == tf.string:
        head = image.numpy()[: formats.HEAD_BYTES]
        what = None if formats.kind_of(head) else formats.not_an_image(head)
        if what:
            return f"is {what}"
    return _faults.reason(error).removeprefix(graph.REFUSED).strip()


def _hashes(images: tf.Tensor) -> npt.NDArray[np.uint64]:
    # FarmHash64: a fortieth of the time that decoding takes.
    raw: npt.NDArray[np.uint8] = tf.fingerprint(images).numpy()
    return raw.view(np.uint64)[:, 0]
