import dataclasses

import msgspec
import pytest

from hierkeras._errors import UserError
from hierkeras.data import registry
from hierkeras.data.source import DataConfig
from hierkeras.recipe import fields, remembered
from hierkeras.recipe.remembered import Remembered
from hierkeras.tree import generation
from tests import builders

DATA = DataConfig("digits", 0.1, 0.2, class_list=("3", "1", "4"))
RECIPE = builders.recipe(
    dropout=0.5, rule="fused", beam_width=3, leaves="after", top=2
)
WANTED = Remembered(DATA, "digits", RECIPE, "photos")


def recorded(wanted=WANTED, **changed):
    """A generation as a later process reads it."""
    settings = {**remembered.to_settings(wanted), **changed}
    made = msgspec.structs.replace(
        builders.generation(builders.tree("31")), settings=settings
    )
    return generation.from_json(generation.to_json(made))


def test_what_a_generation_records_is_read_back():
    assert remembered.read(recorded()) == WANTED


def test_a_file_of_weights_is_recorded_and_no_longer_needed():
    recipe = fields.changed(RECIPE, {"backbone_weights": "gone.h5"})
    wanted = msgspec.structs.replace(WANTED, recipe=recipe)

    found = remembered.read(recorded(wanted))

    assert found == wanted
    assert remembered.without_weights(found.recipe) == RECIPE


def test_an_older_generation_is_refused_in_one_line():
    made = msgspec.structs.replace(
        recorded(), settings={"data": {"dataset": "digits"}, "routing": {}}
    )

    with pytest.raises(UserError) as caught:
        remembered.read(made)

    assert str(caught.value) == (
        "generations/000001.json of the work directory records no recipe: it "
        "was grown by an earlier development version; take another --workdir"
    )


def in_recipe(section, name, value):
    settings = remembered.to_settings(WANTED)["recipe"]
    return {"recipe": {**settings, section: {name: value}}}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"recipe": 3}, "recipe"),
        (in_recipe("growth", "leaves", "above"), "leaves"),
        (in_recipe("growth", "body_rate", 1.0), "body_rate"),
        (in_recipe("training", "momentum", 2.0), "momentum"),
        (in_recipe("network", "backbone", "lenet"), "lenet"),
        (in_recipe("growth", "num_superclasses", 1), "num_superclasses"),
        ({"data": {}}, "dataset"),
        ({"data": {"dataset": "digits", "folds": 3}}, "folds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(
    settings, complaint
):
    with pytest.raises(UserError, match=complaint) as caught:
        remembered.read(recorded(**settings))

    assert "the settings in generations/000001.json" in str(caught.value)
    assert "point LATEST at an earlier generation" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_part_that_is_missing_is_not_filled_in():
    settings = recorded().settings
    recipe = {k: v for k, v in settings["recipe"].items() if k != "training"}
    with pytest.raises(UserError, match="fields of the recipe are missing"):
        remembered.read(recorded(recipe=recipe))


def test_a_recorded_recipe_leaves_nothing_to_the_data():
    recipe = fields.changed(RECIPE, {"batch_size": 0})
    wanted = msgspec.structs.replace(WANTED, recipe=recipe)
    with pytest.raises(UserError, match="batch_size is left open"):
        remembered.read(recorded(wanted))


def check(data=None, recipe=None, kind="digits"):
    """Goes on from what was recorded, with some things changed."""
    wanted = Remembered(
        dataclasses.replace(DATA, **(data or {})),
        kind,
        fields.changed(RECIPE, recipe or {}),
        "digits",
    )
    source = registry.open_source(wanted.data)
    remembered.check_same(recorded(), wanted, source, "DIR")


@pytest.mark.parametrize(
    ("data", "recipe"),
    [
        ({}, {}),
        # More classes than before are what growing is for.
        ({"class_list": ()}, {}),
        ({"class_list": ("9", "1", "3")}, {}),
        # What is not fixed may differ from step to step.
        ({}, {"max_epochs": 7, "leaves": "beside", "rule": "hard", "top": 9}),
        # Later generations need no file of weights.
        ({}, {"backbone_weights": "weights.h5"}),
    ],
)
def test_a_step_may_go_on_with_the_same_or_more(data, recipe):
    check(data, recipe)


@pytest.mark.parametrize(
    ("recipe", "data", "complaint"),
    [
        ({"backbone": "small_resnet"}, {}, "with backbone=small_cnn"),
        ({"image_size": 16}, {}, "image_size=8. Received: 16"),
        ({"width_multiplier": 2.0}, {}, "width_multiplier=0.5"),
        ({"dropout": None}, {}, "dropout=0.5. Received: unset"),
        ({}, {"validation_fraction": 0.2}, "validation_fraction=0.1"),
        ({}, {"test_fraction": 0.3}, "test_fraction=0.2. Received: 0.3"),
        ({}, {"class_list": ("1", "4")}, "lacks 1 of the 2 classes.*'3' first"),
    ],
)
def test_a_step_may_not_change_what_the_tree_rests_on(recipe, data, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        check(data, recipe)

    assert "another --workdir" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_step_may_not_go_on_with_another_kind_of_data():
    with pytest.raises(UserError, match=r"dataset=digits\. Received: folder"):
        check(kind="folder")


def test_a_class_that_was_renamed_is_told_of():
    made = msgspec.structs.replace(recorded(), tree=builders.tree(("1", "3 ")))
    source = registry.open_source(DATA)

    with pytest.raises(UserError, match="its old name back") as caught:
        remembered.check_classes(made, source, "DIR")

    assert "'3 ' first" in str(caught.value)
