"""What a recipe leaves to the data."""

import pytest

from hierkeras.data.mirroring import Mirrored
from hierkeras.recipe import fields, presets
from hierkeras.recipe.resolve import Facts, resolve

OPEN = {"image_size": 0, "batch_size": 0, "max_epochs": 0, "augment": "auto"}


def resolved(num_images=27_000, is_photos=True, side=64, **changes):
    recipe = fields.changed(presets.preset("photos"), OPEN | changes)
    return resolve(recipe, Facts(num_images, 10, is_photos, side))


@pytest.mark.parametrize(
    ("num_images", "side", "image_size"),
    [
        (60, 500, 96),  # few photos: larger ones can be afforded
        (10_000, 500, 96),
        (10_001, 500, 64),
        (60, 32, 32),
        (60, 30, 24),  # in steps of 8, and not enlarged
        (60, 5, 8),
        (60, None, 64),  # not told without decoding
    ],
)
def test_the_image_size_follows_from_the_images(num_images, side, image_size):
    recipe, _ = resolved(num_images, side=side)
    assert recipe.network.image_size == image_size


def test_a_network_gets_images_that_it_can_take():
    recipe, _ = resolved(side=40, backbone="alexnet")
    assert recipe.network.image_size == 79


@pytest.mark.parametrize(
    ("num_images", "batch_size", "max_epochs"),
    [
        (0, 8, 100),
        (60, 8, 100),
        (511, 8, 100),
        (512, 16, 100),  # 32 steps of 16
        (540, 16, 100),  # 20 * sqrt(27000 / 540) is 141
        (3_000, 32, 60),  # 20 * sqrt(9)
        (27_000, 32, 20),
        (60_000, 32, 20),
    ],
)
def test_few_images_get_small_batches_and_many_epochs(
    num_images, batch_size, max_epochs
):
    training = resolved(num_images)[0].training
    assert (training.batch_size, training.max_epochs) == (
        batch_size,
        max_epochs,
    )


def test_only_photos_are_moved_and_mirrored():
    assert resolved()[0].training.augment == "shift_mirror"
    assert resolved(is_photos=False)[0].training.augment == "none"


def test_features_that_are_computed_once_are_not_of_moved_images():
    assert resolved(heads="solved")[0].training.augment == "mirror"
    told = Mirrored("left", "right", closer=9, looked_at=9)
    recipe = fields.changed(
        presets.preset("photos"), OPEN | {"heads": "solved"}
    )
    recipe, _ = resolve(recipe, Facts(60, 2, True, 64, lambda: told))
    assert recipe.training.augment == "none"
    recipe, _ = resolved(heads="solved", is_photos=False)
    assert recipe.training.augment == "none"


def test_where_classes_are_mirror_images_none_is_mirrored():
    about = Facts(
        60,
        2,
        True,
        64,
        lambda: Mirrored("left", "right", closer=9, looked_at=9),
    )
    recipe = fields.changed(presets.preset("photos"), OPEN)

    recipe, line = resolve(recipe, about)

    assert recipe.training.augment == "shift"
    assert line.endswith(
        "; not mirrored, for 9 of 9 images of 'left' come closer to 'right' "
        "or others by it"
    )


def test_nobody_looks_where_it_is_decided_already():
    def look():
        raise AssertionError

    recipe = fields.changed(presets.preset("photos"), OPEN)
    given = fields.changed(recipe, {"augment": "mirror"})
    assert resolve(given, Facts(60, 2, True, 64, look))[0].training.augment
    assert resolve(recipe, Facts(60, 2, False, 64, look))[0].training.augment


def test_what_is_given_stays_and_nothing_is_said():
    given = {
        "image_size": 40,
        "batch_size": 5,
        "max_epochs": 3,
        "augment": "none",
    }
    recipe, line = resolved(**given)
    assert {name: fields.value(recipe, name) for name in given} == given
    assert line == ""
    assert resolve(recipe, Facts(9, 9, True, 9)) == (recipe, "")


def test_one_line_says_what_was_chosen_and_why():
    _, line = resolved(540, side=348, batch_size=4)
    assert line == (
        "chosen for 540 training photos of about 348 pixels of 10 classes: "
        "image_size=96, max_epochs=100, augment=shift_mirror; growth=compete "
        "from 40 classes on"
    )
