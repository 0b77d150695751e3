import pytest
import tensorflow as tf

from hierkeras.data import pipeline


def windows(epoch, seed=0):
    pairs = tf.data.Dataset.range(10).map(lambda i: (i, -i))
    shuffled = pipeline.shuffle_windows(
        pairs, seed, tf.constant(epoch, tf.int64), window=4
    )
    pairs = [(int(one), int(two)) for one, two in shuffled]
    assert all(one == -two for one, two in pairs)
    return [one for one, _ in pairs]


def test_windows_are_shuffled_and_stay_in_place():
    order = windows(0)

    assert [sorted(order[i : i + 4]) for i in (0, 4, 8)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert order != list(range(10))
    assert [i % 4 for i in order[:4]] != [i % 4 for i in order[4:8]]


def test_windows_follow_from_seed_and_epoch():
    first = windows(0)
    tf.random.set_seed(7)

    assert windows(0) == first
    assert windows(1) != first
    assert windows(0, seed=1) != first


@pytest.mark.parametrize(
    ("per_epoch", "numbers"),
    [
        (2, [30, 31, 40, 41, 50]),  # cut
        (4, [30, 31, 32, 30, 40]),  # begun again
    ],
)
def test_epochs_follow_each_other_and_are_of_one_size(per_epoch, numbers):
    def one_epoch(number):
        return tf.data.Dataset.range(3).map(lambda i: 10 * number + i)

    dataset = pipeline.epochs(one_epoch, 3, per_epoch)

    assert [int(number) for number in dataset.take(5)] == numbers


def test_order_and_augmentation_never_share_a_seed():
    number = tf.constant(5, tf.int64)

    seeds = {
        tuple(function(seed, number).numpy().tolist())
        for seed in range(4)
        for function in (pipeline.augment_seed, pipeline._shuffle_seed)
    }

    assert len(seeds) == 8
