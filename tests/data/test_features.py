import numpy as np
import pytest

from hierkeras.data.features import Features

INDICES = np.array([7, 3, 11, 5])
VECTORS = np.array([[7, 70], [3, 30], [11, 110], [5, 50]], np.float32)


def batches(count, **options):
    features = Features(INDICES, VECTORS)
    asked, labels = np.array([3, 11, 7]), np.array([0, 2, 1])
    found = features.training_batches(asked, labels, seed=5, **options)
    return [
        (vectors.tolist(), answers.tolist())
        for vectors, answers in found.take(count).as_numpy_iterator()
    ]


def test_each_epoch_delivers_what_is_asked_for_once_with_its_label():
    for vectors, labels in batches(4, batch_size=3):
        found = sorted(zip(labels, vectors, strict=True))
        assert found == [(0, [3, 30]), (1, [7, 70]), (2, [11, 110])]


def test_the_order_differs_between_epochs():
    orders = {tuple(labels) for _, labels in batches(12, batch_size=3)}
    assert len(orders) > 1


def test_it_goes_on_in_the_middle():
    everything = batches(7, batch_size=2)
    assert batches(3, batch_size=2, first_batch=4) == everything[4:]


def test_epochs_may_be_cut_or_repeated():
    whole = [labels for _, labels in batches(4, batch_size=3)]
    cut = [labels for _, labels in batches(4, batch_size=2, per_epoch=2)]
    longer = [labels for _, labels in batches(4, batch_size=5, per_epoch=5)]

    assert cut == [epoch[:2] for epoch in whole]
    assert longer == [epoch + epoch[:2] for epoch in whole]


def test_what_was_not_seen_has_no_features():
    with pytest.raises(ValueError, match="augmented"):
        batches(1, batch_size=3, augment="shift_mirror")


def test_they_can_be_read_in_order():
    features = Features(INDICES, VECTORS)

    found = features.evaluation_batches(np.array([5, 3, 11]), batch_size=2)

    batches = [batch.tolist() for batch in found.as_numpy_iterator()]
    assert batches == [[[5, 50], [3, 30]], [[11, 110]]]
