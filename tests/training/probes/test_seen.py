"""What a network makes of old and new classes, counted from its answers."""

import keras
import numpy as np
import pytest

from hierkeras.models import surgery
from hierkeras.training.probes.arrivals import Columns
from hierkeras.training.probes.seen import Seen, some_of_each

OLD, NEW = (0, 1, 2, 3), (4, 5)
ALL = (*OLD, *NEW)


def test_every_class_has_its_first_before_one_has_its_second():
    labels = np.array([7, 7, 7, 5, 5, 1, 9])

    def chosen(*limits):
        classes = np.array([5, 7, 9])
        return some_of_each(labels, classes, *limits).tolist()

    assert chosen() == [0, 1, 2, 3, 4, 6]
    assert chosen(3) == [0, 3, 6]
    assert chosen(5) == [0, 1, 3, 4, 6]
    assert chosen(None, 2) == [0, 1, 3, 4, 6]
    assert chosen(0) == []


@pytest.fixture(scope="module")
def digits(trained):
    """A model of four digits, and six digits' validation images."""
    context, result = trained
    names = [str(digit) for digit in ALL]
    indices, labels = context.samples("validation", names)
    model = keras.models.clone_model(widened(context, result))
    model.set_weights(widened(context, result).get_weights())
    return context, model, indices, labels


def widened(context, result):
    """Columns for two more classes, which nothing has been learnt of."""
    from hierkeras.models.registry import build_model
    from hierkeras.training import results

    model = build_model(result.spec.network, len(ALL))
    keras.utils.set_random_seed(0)
    old = results.load_model(context.store, result.job)
    names = [str(digit) for digit in ALL]
    surgery.transfer_weights(old, model, result.spec.classes, names)
    return model


def columns(old=OLD, new=NEW):
    return Columns(np.array(old, np.int64), np.array(new, np.int64))


def seen(digits, **which):
    context, model, indices, labels = digits
    backwards = indices[::-1].copy(), labels[::-1].copy()
    return Seen(model, context.images, *backwards, columns(**which))


def answers(digits, classes, most=None, most_each=None):
    """Features, logits and labels of the images that are looked at."""
    context, model, indices, labels = digits
    rows = some_of_each(labels, np.array(classes), most, most_each)
    images = np.concatenate(
        list(context.images.evaluation_batches(indices[rows], 99))
    )
    features = surgery.feature_extractor(model).predict(images, verbose=0)
    logits = model.predict(images, verbose=0)
    return features, logits, labels[rows], indices[rows]


def test_errors_are_counted_apart(digits):
    found = seen(digits)
    sight = found()

    shares = []
    for own, error, count in (
        (OLD, sight.old_error, found.old_images),
        (NEW, sight.new_error, found.new_images),
    ):
        _, logits, labels, _ = answers(digits, own, 64)
        assert len(labels) == count == 64
        shares.append(float((logits.argmax(axis=1) != labels).mean()))
        assert error == shares[-1]
    assert shares[0] < 0.2 < 0.8 < shares[1]
    # Four old classes, two new ones.
    assert sight.error == pytest.approx((4 * shares[0] + 2 * shares[1]) / 6)


def test_new_classes_are_taken_for_old_ones(digits):
    context, _, _, _ = digits
    found = seen(digits).taken

    assert sorted(taken.new for taken in found) == list(NEW)
    assert found[0].share >= found[1].share
    for taken in found:
        _, logits, labels, indices = answers(digits, NEW, 1024, 16)
        own = labels == taken.new
        named = logits[own][:, :4].argmax(axis=1)
        counts = np.bincount(named, minlength=4)
        assert counts[taken.old] == counts.max() > 0
        assert taken.images == own.sum() == 16
        assert taken.share == counts.max() / own.sum()
        hits = indices[own][named == taken.old]
        assert list(taken.shown) == hits[:4].tolist()
        assert set(context.catalogue.labels[hits]) == {taken.new}


def test_distances_are_between_mean_features(digits):
    found = seen(digits)
    sight = found()

    assert len(found.pairs) == len(sight.distances) == 2
    for pair, distance, product in zip(
        found.pairs, sight.distances, sight.products, strict=True
    ):
        new, old = (
            # An image that an error is of, too, is looked at as well.
            answers(digits, [column], most)[0].mean(axis=0)
            for column, most in ((pair.new, 32), (pair.old, 16))
        )
        assert distance == pytest.approx(np.sqrt(((new - old) ** 2).sum()))
        assert product == pytest.approx(new @ old)


def test_a_training_from_scratch_has_no_old_classes(digits):
    found = seen(digits, old=(), new=ALL)
    sight = found()

    assert found.taken == found.pairs == ()
    assert (found.old_images, found.new_images) == (0, 128)
    assert sight.distances == sight.products == ()
    assert sight.old_error is None
    assert sight.error == sight.new_error > 0.2


def test_a_leaf_may_have_no_new_classes(digits):
    found = seen(digits, old=ALL, new=())
    sight = found()

    assert found.taken == ()
    assert sight.new_error is None and sight.error == sight.old_error


def test_an_old_class_without_images_is_compared_with_nothing(digits):
    context, model, indices, labels = digits
    pair = seen(digits).pairs[0]
    left = labels != pair.old

    def without(left):
        rows = indices[left], labels[left]
        return Seen(model, context.images, *rows, columns())

    others = without(left)
    assert {taken.new for taken in others.taken} == set(NEW)
    assert pair.old not in {taken.old for taken in others.taken}
    assert np.isfinite(others().distances).all()
    assert without(labels >= 4).taken == ()


def test_a_step_on_a_new_class_takes_from_the_old_one(digits):
    """Equations 3 and 4, on the features of a real pair of classes."""
    context, model, indices, labels = digits
    pair = seen(digits).pairs[0]
    # One image of each: mean features are theirs.
    x1 = int(indices[np.flatnonzero(labels == pair.old)[0]])
    x2 = pair.shown[0]
    one_each = Seen(
        model,
        context.images,
        np.array([x1, x2]),
        np.array([pair.old, pair.new], np.int32),
        columns(),
    )
    [product] = one_each().products
    images = [
        np.concatenate(
            list(context.images.evaluation_batches(np.array([x]), 1))
        )
        for x in (x1, x2)
    ]
    below = surgery.feature_extractor(model)
    h1, h2 = (below.predict(image, verbose=0)[0] for image in images)
    head = model.get_layer(surgery.HEAD)
    kernel = head.kernel.numpy()
    logits = h2 @ kernel + head.bias.numpy()
    y = np.exp(logits) / np.exp(logits).sum()
    t = np.eye(len(ALL))[pair.new]
    rate = 0.1

    learnt = a_step_of_sgd(model, images[1], pair.new, rate)

    # Equation 3, for every class: w' = w - rate h2 (y - t).
    expected = kernel - rate * np.outer(h2, y - t)
    np.testing.assert_allclose(learnt, expected, rtol=1e-4, atol=1e-6)
    damaged, grown = learnt[:, pair.old], learnt[:, pair.new]
    assert (damaged - kernel[:, pair.old]) @ h2 < 0
    assert (grown - kernel[:, pair.new]) @ h2 > 0
    # Equation 4, by what the probe measured; with the bias it says y - t.
    change = damaged @ h1 - kernel[:, pair.old] @ h1
    assert product == pytest.approx(h1 @ h2, rel=1e-5)
    assert change == pytest.approx(-rate * y[pair.old] * product, rel=1e-3)
    assert change < -1e-3


def a_step_of_sgd(model, image, label, rate):
    """The kernel of the softmax after Keras has learnt one image."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    surgery.set_trainable(copy, "head")
    copy.compile(
        keras.optimizers.SGD(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    copy.fit(image, np.array([label]), verbose=0)
    return copy.get_layer(surgery.HEAD).kernel.numpy()
