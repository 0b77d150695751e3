"""Learning curves of solved heads."""

import numpy as np
import pytest

from hierkeras.features import curves, groups
from hierkeras.features.choice import Examples
from hierkeras.features.curves import Point
from hierkeras.features.shards import KEY_TYPE

NAMES = [f"class {k}" for k in range(4)]


def examples_of(features, labels):
    """Features of shape (views, images, f)."""
    random = np.random.default_rng(0)
    keys = np.array([random.bytes(16) for _ in labels], KEY_TYPE)
    return Examples(
        keys, labels, lambda rows: np.concatenate(features[:, rows])
    )


def series(noise, per_series=5, num_series=4, seed=0):
    """Photos in series: near each other, and less near the class's mean."""
    random = np.random.default_rng(seed)
    means = random.normal(0, 1, (4, 1, 1, 6))
    place = means + random.normal(0, noise, (4, num_series, 1, 6))
    photos = place + random.normal(0, 0.01, (4, num_series, per_series, 6))
    labels = np.repeat(np.arange(4), num_series * per_series).astype(np.int32)
    return photos.reshape(1, -1, 6), labels


def test_a_power_law_goes_on_as_one():
    points = [Point(n, 0.8 / n**0.5) for n in (4.0, 9.0, 16.0)]
    assert curves.expected(points, 64) == pytest.approx(0.1)
    assert curves.expected(points, 0.01) == 1.0


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 0.5), (2, 0.4), (3, 0.2)], True),
        ([(1, 0.5), (2, 0.6), (3, 0.4)], True),
        ([(1, 0.5), (2, 0.4), (3, 0.5)], False),  # chance leads nowhere
        ([(1, 0.5), (2, 0.4), (3, 0.0)], False),
        ([(1, 0.5), (1, 0.5), (1, 0.5)], False),
        ([], False),
    ],
)
def test_what_a_curve_tells(points, expected):
    assert curves.tells([Point(*each) for each in points]) is expected


def test_each_point_is_of_so_many_series():
    found = [
        curves.curve(examples_of(features, labels), NAMES, 0.2)
        for features, labels in (series(0.8, seed=seed) for seed in range(8))
    ]

    for each in found:
        assert [point.images for point in each] == [5, 10, 15]
    one, two, three = np.mean(
        [[point.error for point in each] for each in found], axis=0
    )
    assert one > two > three > 0


def test_what_is_apart_is_named_right_by_few():
    features, labels = series(noise=0.01)

    found = curves.curve(examples_of(features, labels), NAMES, 0.2)

    assert [point.error for point in found] == [0, 0, 0]


def test_views_are_learnt_from_and_not_asked():
    features, labels = series(noise=0.8)
    plain = curves.curve(examples_of(features, labels), NAMES, 0.2)
    # The same image again weighs no more; its answer does not count twice.
    twice = np.concatenate([features, features])

    found = curves.curve(examples_of(twice, labels), NAMES, 0.2)

    for one, other in zip(plain, found, strict=True):
        assert one.images == other.images
        assert one.error == pytest.approx(other.error, abs=0.05)


def test_a_class_of_few_photos_keeps_its_place():
    features, labels = series(noise=0.3)
    kept = (labels != 3) | (np.cumsum(labels == 3) <= 2)

    found = curves.curve(
        examples_of(features[:, kept], labels[kept]), NAMES, 0.2
    )

    # 5 of each of three classes; of the fourth one photo, or the other, in the
    # two folds of four that hold it out, and else both.
    assert len(found) == 3
    assert found[0].images > 3 * 5 / 4


def test_too_many_images_to_hold_out_all_groups_give_none(monkeypatch):
    features, labels = series(noise=0.3)
    monkeypatch.setattr(groups, "_MOST_IMAGES", 40)
    assert curves.curve(examples_of(features, labels), NAMES, 0.2) == []
