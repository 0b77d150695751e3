"""How far heads are shrunk, and how sure they are, by images held out."""

import numpy as np
import pytest
from scipy import special

from hierkeras.features import choice, groups, heads
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
    """What heads say of a group of each class that they never saw."""
    group = groups.groups(features[0], labels)
    found = np.zeros((len(labels), labels.max() + 1))
    for number in range(4):
        rest, own = group != number, group == number
        head = heads.solve(sums(features[:, rest], labels[rest]), shrinkage)
        found[own] = head.logits(features[0, own])
    return found


@pytest.mark.parametrize("noise", [0.5, 1.5, 3.0])
def test_the_shrinkage_of_least_error_is_taken_of_equals_the_larger(noise):
    features, labels = made(noise=noise)
    keys = keys_of(len(labels))
    errors = {}
    for shrinkage in choice.SHRINKAGES:
        logits = held_out_logits(features, labels, keys, shrinkage)
        errors[shrinkage] = (logits.argmax(axis=1) != labels).mean()
    least = min(errors.values())
    expected = max(s for s, e in errors.items() if e == least)

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
    features, labels = made(noise=1.0)
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


def test_of_many_images_a_group_of_some_classes_is_held_out(monkeypatch):
    monkeypatch.setattr(groups, "_MOST_IMAGES", 40)
    features, labels = made(120)
    found = choose(features, labels)
    # Of 30 images a class, one class fits, of which a group is held out.
    assert 1 <= found.num_images < 30


def test_every_view_of_an_image_is_held_out_with_it():
    features, labels = made(60, views=3)
    assert choose(features, labels).num_images == 60
    # Views that are the image itself give it away if they are not.
    random = np.random.default_rng(0).normal(0, 1, (1, 60, 40))
    same = np.repeat(random, 3, axis=0)
    assert choose(same, labels).error > 0.5


def test_a_series_is_held_out_as_a_whole():
    # Four series of each class, 20 photos that hardly differ: at random, one
    # photo of a series gives the others away.
    random = np.random.default_rng(0)
    series = random.normal(0, 1, (16, 40))
    labels = np.repeat(np.arange(4, dtype=np.int32), 80)
    photos = np.repeat(series, 20, axis=0)
    features = (photos + random.normal(0, 0.01, photos.shape))[None]
    assert choose(features, labels).error > 0.4


def test_one_image_a_class_leaves_nothing_to_choose_by():
    features, labels = made(4)
    assert choose(features, labels) == Choice(0.2, 1.0, None, 0)
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
    assert found == Choice(0.2, 1.0, None, 0)


def test_images_that_are_all_equally_far_apart_leave_their_class_known():
    # Held out whole, a class would be none of those that are told apart.
    labels = np.repeat([0, 1], 6).astype(np.int32)
    found = choose(np.eye(12)[None], labels)
    assert found.num_images == 12
    alike = np.repeat(np.eye(2), 6, axis=0)[None]
    assert choose(alike, labels).error == 0
