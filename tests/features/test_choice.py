"""How far heads are shrunk, and how sure they are, by images held out."""

import numpy as np
import pytest
from scipy import special

from hierkeras.features import choice, heads
from hierkeras.features.choice import Choice, Examples
from hierkeras.features.shards import KEY_TYPE
from hierkeras.features.statistics import summed


def keys_of(count: int, seed: int = 0):
    random = np.random.default_rng(seed)
    return np.array([random.bytes(16) for _ in range(count)], KEY_TYPE)


def made(count=120, num_classes=4, noise=1.0, num_features=6, views=1):
    random = np.random.default_rng(0)
    labels = (np.arange(count) % num_classes).astype(np.int32)
    means = random.normal(0, 1, (num_classes, num_features))
    shape = (views, count, num_features)
    features = means[labels] + random.normal(0, noise, shape)
    return features.astype(np.float16), labels


def examples_of(features, labels, keys=None):
    """Features of shape (views, images, f)."""
    keys = keys_of(len(labels)) if keys is None else keys
    return Examples(
        keys, labels, lambda rows: np.concatenate(features[:, rows])
    )


def sums(features, labels):
    names = [f"class {k}" for k in range(labels.max() + 1)]
    views = len(features)
    return summed(np.concatenate(features), np.tile(labels, views), names)


def choose(features, labels, shrinkage=None, keys=None):
    examples = examples_of(features, labels, keys)
    return choice.choose(sums(features, labels), examples, shrinkage)


def held_out_logits(features, labels, keys, shrinkage):
    """What heads that never saw a third of the images say of it."""
    last = np.array([list(key.ljust(16, b"\0")[-4:]) for key in keys.tolist()])
    fold = last @ (256 ** np.arange(4)) % 3
    found = np.zeros((len(labels), labels.max() + 1))
    for number in range(3):
        rest, own = fold != number, fold == number
        head = heads.solve(sums(features[:, rest], labels[rest]), shrinkage)
        found[own] = head.logits(features[0, own])
    return found


@pytest.mark.parametrize("noise", [0.5, 1.5, 3.0])
def test_the_largest_shrinkage_within_a_standard_error_is_taken(noise):
    features, labels = made(noise=noise)
    keys = keys_of(len(labels))
    errors = {}
    for shrinkage in choice.SHRINKAGES:
        logits = held_out_logits(features, labels, keys, shrinkage)
        errors[shrinkage] = (logits.argmax(axis=1) != labels).mean()
    least = min(errors.values())
    margin = np.sqrt(least * (1 - least) / len(labels))
    expected = max(s for s, e in errors.items() if e <= least + margin)

    found = choose(features, labels)

    assert found.shrinkage == expected
    assert found.error == pytest.approx(errors[expected])
    assert found.num_images == len(labels)


def test_a_shrinkage_that_clearly_loses_is_not_taken():
    # Two long classes side by side: the mean's direction says little, and
    # only what is correlated within tells them apart.
    random = np.random.default_rng(0)
    labels = (np.arange(600) % 2).astype(np.int32)
    along = random.normal(0, 10, 600)
    across = random.normal(0, 0.2, 600) + labels
    features = np.stack([along + across, along - across], 1)[None]
    found = choose(features, labels)
    assert found.shrinkage == min(choice.SHRINKAGES)
    assert found.error < 0.2


def test_one_that_is_given_is_the_only_candidate():
    features, labels = made()
    assert choose(features, labels, 0.33).shrinkage == 0.33


def test_the_temperature_has_the_least_cross_entropy():
    features, labels = made(noise=2.0)
    keys = keys_of(len(labels))
    found = choose(features, labels, 0.3, keys)
    logits = held_out_logits(features, labels, keys, 0.3)

    def loss(temperature):
        log = special.log_softmax(logits / temperature, axis=1)
        return -log[np.arange(len(labels)), labels].mean()

    assert loss(found.temperature) < loss(1.0)
    for factor in (0.9, 1.1):
        assert loss(found.temperature) < loss(found.temperature * factor)
    head = choice.solved(sums(features, labels), found)
    plain = heads.solve(sums(features, labels), 0.3)
    np.testing.assert_allclose(head.kernel * found.temperature, plain.kernel)


def test_neither_order_nor_company_plays_a_part():
    features, labels = made(noise=2.0)
    keys = keys_of(len(labels))
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = choose(features[:, order], labels[order], None, keys[order])
    first = choose(features, labels, None, keys)
    assert shuffled.shrinkage == first.shrinkage
    assert shuffled.temperature == pytest.approx(first.temperature)
    assert (shuffled.error, shuffled.num_images) == (
        first.error,
        first.num_images,
    )
    # An image is in the fold that it was in before there were others.
    fold_of = {
        key: number
        for number, fold in enumerate(choice._folds(keys))
        for key in keys[fold].tolist()
    }
    assert len(fold_of) == len(keys)
    some = keys[order[:40]]
    for number, fold in enumerate(choice._folds(some)):
        assert all(fold_of[key] == number for key in some[fold].tolist())


def test_of_many_images_one_fold_is_held_out(monkeypatch):
    monkeypatch.setattr(choice, "_MOST_HELD_OUT", 20)
    keys = keys_of(61)
    (fold,) = choice._folds(keys)
    assert len(fold) == 20
    order = np.random.default_rng(1).permutation(61)
    (again,) = choice._folds(keys[order])
    assert set(keys[order][again].tolist()) == set(keys[fold].tolist())
    features, labels = made(61)
    assert choose(features, labels, None, keys).num_images == 20


def test_every_view_of_an_image_is_held_out_with_it():
    features, labels = made(60, views=3)
    found = choose(features, labels)
    assert found.num_images == 180
    # Views that are the image itself give it away if they are not.
    random = np.random.default_rng(0).normal(0, 1, (1, 60, 40))
    same = np.repeat(random, 3, axis=0)
    assert choose(same, labels).error > 0.5


def test_one_image_a_class_leaves_nothing_to_choose_by():
    features, labels = made(4)
    assert choose(features, labels) == Choice(0.3, 1.0, None, 0)
    assert choose(features, labels, 0.5) == Choice(0.5, 1.0, None, 0)


def test_a_class_of_one_image_counts_not():
    features, labels = made(60, num_classes=3, noise=0.1)
    labels[-1] = 3
    features[:, -1] = 50  # nothing is taken for it
    found = choose(features, labels)
    assert (found.error, found.num_images) == (0, 59)


def test_no_images_at_all_are_held_out_of_sums_alone():
    features, labels = made()
    nothing = examples_of(features[:, :0], labels[:0], keys_of(0))
    found = choice.choose(sums(features, labels), nothing, None)
    assert found == Choice(0.3, 1.0, None, 0)
