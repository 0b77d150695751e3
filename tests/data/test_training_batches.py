"""`Images` as a stream: what arrives, how often and in which order."""

import numpy as np
import psutil
import pytest
import tensorflow as tf

from hierkeras._errors import UsageError, UserError
from hierkeras.data.augment import random_augmented
from hierkeras.data.images import Images

SIZE = 24


@pytest.fixture(params=["memory", "none"])
def images(request, numbered_source):
    return Images(numbered_source(SIZE), 8, cache=request.param)


def stream(images, indices=None, *, epochs=1, **options):
    """The batches of some epochs as two arrays: first pixels and labels."""
    indices = np.arange(SIZE) if indices is None else np.array(indices)
    options = {"batch_size": 4, "seed": 3, "augment": "none", **options}
    batches = images.training_batches(indices, indices * 10, **options)
    count = epochs * len(indices)
    whole = -(-count // options["batch_size"])
    pixels, labels = [], []
    for image, label in batches.take(whole).as_numpy_iterator():
        assert image.dtype == np.float32 and label.dtype == np.int32
        assert image.shape == (options["batch_size"], 8, 8, 3)
        pixels.append(image)
        labels.append(label)
    return np.concatenate(pixels)[:count], np.concatenate(labels)[:count]


def order(images, **options):
    pixels, labels = stream(images, **options)
    np.testing.assert_array_equal(pixels[:, 0, 0, 0] * 10, labels)
    return pixels[:, 0, 0, 0].astype(int).tolist()


def test_every_epoch_covers_every_example_once(images):
    numbers = order(images, epochs=5)

    epochs = [numbers[i * SIZE : (i + 1) * SIZE] for i in range(5)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_batches_run_across_the_borders_of_epochs(images):
    numbers = order(images, epochs=3, batch_size=10)

    assert len(numbers) == 3 * SIZE
    assert sorted(numbers[SIZE : 2 * SIZE]) == list(range(SIZE))


def test_batches_are_of_one_static_shape(images):
    batches = images.training_batches(
        np.arange(SIZE),
        np.arange(SIZE),
        batch_size=10,
        seed=0,
        augment="shift_mirror",
    )
    assert batches.element_spec[0].shape == (10, 8, 8, 3)
    assert batches.element_spec[1].shape == (10,)


def test_the_stream_follows_from_the_seed(images):
    first = stream(images, epochs=2, augment="shift_mirror")
    tf.random.set_seed(99)

    for one, two in zip(
        first, stream(images, epochs=2, augment="shift_mirror"), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert order(images, epochs=1) != order(images, epochs=1, seed=4)


def test_memory_and_source_deliver_the_same(numbered_source):
    source = numbered_source(SIZE)
    kept, streamed = (
        stream(Images(source, 8, cache=cache), epochs=2, augment="shift_mirror")
        for cache in ("memory", "none")
    )

    np.testing.assert_array_equal(kept[0], streamed[0])
    np.testing.assert_array_equal(kept[1], streamed[1])


@pytest.mark.parametrize("first_batch", [1, 3, 5, 9])
def test_goes_on_in_the_middle_of_an_epoch(images_of_noise, first_batch):
    batch_size = 7
    assert SIZE % batch_size
    whole = stream(
        images_of_noise, epochs=4, augment="shift_mirror", batch_size=7
    )

    rest = stream(
        images_of_noise,
        epochs=2,
        first_batch=first_batch,
        augment="shift_mirror",
        batch_size=batch_size,
    )

    for one, two in zip(whole, rest, strict=True):
        first = first_batch * batch_size
        np.testing.assert_array_equal(
            one[first:][: len(two)], two[: len(one) - first]
        )


@pytest.mark.parametrize("first_batch", [0, 1, 4])
def test_an_epoch_may_be_cut_or_repeated(images, first_batch):
    epochs = np.reshape(order(images, epochs=5), (5, SIZE))

    for size in (8, SIZE + 8):
        begun_again = np.concatenate([epochs, epochs], axis=1)[:, :size]
        numbers = order(images, per_epoch=size, first_batch=first_batch)
        expected = begun_again.ravel()[4 * first_batch :][:SIZE]
        assert numbers == expected.tolist()


@pytest.fixture
def images_of_noise(numbered_source):
    source = numbered_source(SIZE)
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, 8, 8, 3), np.uint8)
    source._images = noise
    return Images(source, 8)


def test_augmentation_is_that_of_seed_and_batch_number(images_of_noise):
    plain, _ = stream(images_of_noise, epochs=2)
    augmented, _ = stream(images_of_noise, epochs=2, augment="shift_mirror")

    # Batch 7, with a shift by at most an eighth of 8 pixels.
    expected = random_augmented(
        plain[28:32], "shift_mirror", tf.constant([2 * 3 + 1, 7], tf.int64)
    )
    np.testing.assert_array_equal(augmented[28:32], expected)
    assert (plain != augmented).any(axis=(1, 2, 3)).sum() > SIZE


def test_a_subset_with_labels_of_its_own(images):
    numbers = order(images, indices=[20, 3, 7], epochs=2, batch_size=2)

    assert sorted(numbers[:3]) == sorted(numbers[3:]) == [3, 7, 20]


def test_examples_prepared_at_different_times(images):
    images.prepare(np.array([5, 1]))
    images.prepare(np.array([9, 1, 0]))

    assert sorted(order(images, indices=[9, 5, 1, 2], epochs=1)) == [1, 2, 5, 9]
    (batch,) = images.evaluation_batches(np.array([9, 5, 0, 1, 2]), 8)
    assert batch[:, 0, 0, 0].numpy().tolist() == [9, 5, 0, 1, 2]


def test_evaluation_keeps_the_order(images):
    indices = np.array([7, 3, 3, 20, 11])

    batches = list(images.evaluation_batches(indices, 2))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    values = np.concatenate(batches)
    assert values.dtype == np.float32
    assert values[:, 0, 0, 0].tolist() == indices.tolist()


def test_images_in_memory_are_decoded_once(numbered_source, monkeypatch):
    source = numbered_source(SIZE)
    images = Images(source, 8, cache="memory")
    images.prepare(np.arange(SIZE))
    monkeypatch.setattr(source, "read", None)

    assert sorted(order(images, epochs=1)) == list(range(SIZE))
    assert len(list(images.evaluation_batches(np.arange(SIZE), 8))) == 3


@pytest.mark.parametrize(
    ("available", "share", "kept"),
    [(2, 1.0, True), (1.9, 1.0, False), (8, 0.25, True), (7.9, 0.25, False)],
)
def test_auto_keeps_what_takes_half_of_the_free_memory(
    numbered_source, monkeypatch, available, share, kept
):
    size = SIZE * 8 * 8 * 3
    memory = psutil.virtual_memory()._replace(available=available * size)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    source = numbered_source(SIZE)
    images = Images(source, 8, cache="auto", memory_share=share)
    images.prepare(np.arange(SIZE))
    reads = []
    read = source.read
    monkeypatch.setattr(source, "read", lambda i: reads.append(i) or read(i))

    assert sorted(order(images, epochs=1)) == list(range(SIZE))
    assert (not reads) == kept


def test_the_options_fix_the_order_and_leave_sharding_off(images):
    for batches in (
        images.training_batches(
            np.arange(4),
            np.arange(4),
            batch_size=2,
            seed=0,
            augment="shift_mirror",
        ),
        images.evaluation_batches(np.arange(4), 2),
    ):
        options = batches.options()
        assert options.deterministic is True
        assert (
            options.experimental_distribute.auto_shard_policy
            == tf.data.experimental.AutoShardPolicy.OFF
        )


def test_an_unknown_cache_is_answered_with_the_valid_ones(numbered_source):
    with pytest.raises(
        UsageError, match="'disk'; valid are auto, memory, none"
    ):
        Images(numbered_source(1), 8, cache="disk")


def test_labels_for_other_indices_are_refused(images):
    with pytest.raises(ValueError, match="2 labels, 3 indices"):
        images.training_batches(
            np.arange(3), np.arange(2), batch_size=2, seed=0, augment="none"
        )


def test_nothing_to_train_on_is_an_error(images):
    with pytest.raises(UserError, match="None of the 0 images"):
        images.training_batches(
            np.arange(0), np.arange(0), batch_size=2, seed=0, augment="none"
        )
