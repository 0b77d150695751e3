"""Data sets that TensorFlow Datasets has prepared."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow_datasets as tfds

from hierkeras._errors import UserError
from hierkeras.data import image_folder
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.files import left_out
from hierkeras.data.source import DataConfig, Source
from hierkeras.data.splits import SPLIT_NAMES, assign_splits, places

if TYPE_CHECKING:
    import tensorflow as tf

# The builder that reads any folder, which `tfds.builder` does not know.
_IMAGE_FOLDER = "image_folder"
_BATCH = 1024


def open_tfds(place: str, config: DataConfig, kept: bytes = b"") -> Source:
    """Opens a data set of TensorFlow Datasets, downloading it if it must.

    Args:
        place: what `tfds.builder` takes, such as "mnist" or
            "cifar10:3.0.2", or "image_folder" for what
            `tfds.folder_dataset.ImageFolder` reads; then, after an "@", the
            folder of the data sets, `~/tensorflow_datasets` by default.
        config: the fractions of validation and test.
        kept: what an earlier run found in the files of such a folder.

    Returns:
        A source whose classes are the builder's; of a folder,
        `image_folder.open_folder`'s.

    Raises:
        UserError: if there is no such data set, it cannot be prepared, or it
            is none of images with one class each.
        UsageError: if the fractions make no sense.
    """
    name, _, data_dir = place.partition("@")
    if name == _IMAGE_FOLDER and not data_dir:
        raise UserError(
            f"TensorFlow Datasets' {_IMAGE_FOLDER} needs a folder; give "
            f"--dataset=tfds:{_IMAGE_FOLDER}@DIR or folder:DIR."
        )
    if name == _IMAGE_FOLDER:
        # Which would take some of the images, and say nothing of the others.
        return image_folder.open_folder(data_dir, config, kept)
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
    # Unknown names, versions and folders each have exceptions of their own.
    except Exception as error:
        raise UserError(
            f"TensorFlow Datasets cannot open {place!r}: {_first_line(error)} "
            "Expected a name of its catalogue, or 'image_folder@DIR'."
        ) from error
    if not builder.is_prepared():
        _prepare(place, builder)
    return TfdsSource(config.dataset, builder, config)


class TfdsSource(Source):
    """The images of a builder, which are read from beginning to end.

    Args:
        name: the data set's name as it was given.
        builder: a `tfds.core.DatasetBuilder` that has been prepared.
        config: the fractions of validation and test.

    Raises:
        UserError: if its features are not one image and one class.
        UsageError: if the fractions make no sense.
    """

    kind = "tfds"
    random_access = False

    def __init__(self, name: str, builder: Any, config: DataConfig) -> None:
        self._builder = builder
        self._image, self._label = _image_and_label(name, builder)
        self._sizes: dict[str, int] = {}
        super().__init__(name, self._read_catalogue(config))

    def read(
        self, indices: npt.NDArray[np.int64] | tf.Tensor
    ) -> tf.data.Dataset:
        """See `Source.read`; the images are encoded.

        Args:
            indices: int64 of shape (n,), strictly increasing.

        Returns:
            A dataset of scalar strings.

        Raises:
            ValueError: if the indices do not increase.
        """
        if (np.diff(indices) <= 0).any():
            raise ValueError(
                f"Expected increasing indices for {self.name}, which has no "
                f"random access. Received: {indices}"
            )
        parts = []
        start = 0
        for split, size in self._sizes.items():
            inside = (indices >= start) & (indices < start + size)
            if inside.any():
                parts.append(self._read_split(split, indices[inside] - start))
            start += size
        if not parts:
            return (
                self._examples(next(iter(self._sizes)))
                .take(0)
                .map(lambda example: example[self._image])
            )
        return functools.reduce(lambda one, two: one.concatenate(two), parts)

    def _read_split(
        self, split: str, wanted: npt.NDArray[np.int64]
    ) -> tf.data.Dataset:
        import tensorflow as tf

        mask = np.zeros(self._sizes[split], bool)
        mask[wanted] = True
        with tf.device("CPU:0"):
            is_wanted = tf.constant(mask)
        return (
            self._examples(split)
            .enumerate()
            .filter(lambda place, _: tf.gather(is_wanted, place))
            .map(lambda _, example: example[self._image])
            .take(len(wanted))
        )

    def _examples(self, split: str) -> tf.data.Dataset:
        """Returns a split's examples, in one order, images not decoded."""
        return self._builder.as_dataset(
            split=split,
            decoders={self._image: tfds.decode.SkipDecoding()},
            # A longer cycle would make the order depend on TFDS's default;
            # its cache would hold the whole data set.
            read_config=tfds.ReadConfig(
                interleave_cycle_length=1, try_autocache=False
            ),
        )

    def _read_catalogue(self, config: DataConfig) -> Catalogue:
        own = self._builder.info.splits
        known = [split for split in own if split in SPLIT_NAMES]
        tally = left_out.Tally()
        for split in set(own) - set(known or own):
            tally.add(
                "of splits of other names", split, own[split].num_examples
            )
        keys: list[str] = []
        labels: list[int] = []
        digests: list[int] = []
        given: list[str] = []
        for split in known or list(own):
            split_keys, split_labels, split_digests = self._scan(split)
            # The test images of a competition come without labels.
            if max(split_labels, default=-1) < 0:
                tally.add("without a label", split, len(split_keys))
                continue
            self._sizes[split] = len(split_keys)
            keys += split_keys
            labels += split_labels
            digests += split_digests
            given += [SPLIT_NAMES.get(split, "")] * len(split_keys)
        if not keys:
            raise UserError(
                f"The data set {self._builder.info.name!r} holds no example "
                "with a label; choose another."
            )
        self.left_out = tally.result()
        class_names = tuple(self._builder.info.features[self._label].names)
        key_array = np.array(keys, np.str_)
        label_array = np.array(labels, np.int32)
        splits = assign_splits(
            places(keys),
            label_array,
            np.array(given, np.str_) if known else None,
            validation_fraction=config.validation_fraction,
            test_fraction=config.test_fraction,
            num_classes=len(class_names),
        )
        return Catalogue(
            class_names,
            key_array,
            label_array,
            splits,
            np.array(digests, np.int64),
        )

    def _scan(self, split: str) -> tuple[list[str], list[int], list[int]]:
        """Returns keys, labels and hashes of one split's examples."""
        import tensorflow as tf

        def describe(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            return (
                example[self._label],
                tf.strings.to_hash_bucket_fast(
                    example[self._image], tf.int64.max
                ),
            )

        labels: list[int] = []
        digests: list[int] = []
        batches = self._examples(split).map(describe).batch(_BATCH)
        for label, digest in batches.as_numpy_iterator():
            labels += label.tolist()
            digests += digest.tolist()
        keys = [f"{split}/{place:08d}" for place in range(len(labels))]
        return keys, labels, digests


def _image_and_label(name: str, builder: Any) -> tuple[str, str]:
    """Returns the names of the features that hold image and class."""
    features = builder.info.features
    names = builder.info.supervised_keys or tuple(features)
    images = [n for n in names if isinstance(features[n], tfds.features.Image)]
    labels = [
        n for n in names if isinstance(features[n], tfds.features.ClassLabel)
    ]
    if len(images) != 1 or len(labels) != 1:
        raise UserError(
            f"The data set {name!r} has no single pair of image and class "
            f"label among its features {', '.join(features)}; choose another."
        )
    if features[images[0]].np_dtype != np.uint8:
        raise UserError(
            f"The images of {name!r} are {features[images[0]].np_dtype}; "
            "expected uint8: choose another data set."
        )
    return images[0], labels[0]


def _prepare(place: str, builder: Any) -> None:
    try:
        builder.download_and_prepare()
    # Each data set has its own ways to fail: network, licence, disk.
    except Exception as error:
        raise UserError(
            f"The data set {place!r} is not prepared in "
            f"{str(builder.data_dir)!r} and cannot be downloaded: "
            f"{_first_line(error)} Prepare it where there is a network and "
            "name its folder as NAME@DIR."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
