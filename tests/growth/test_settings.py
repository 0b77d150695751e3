import dataclasses

import pytest

from hierkeras._errors import UserError
from hierkeras.data import registry
from hierkeras.data.source import DataConfig
from hierkeras.growth import settings
from hierkeras.models.registry import ModelConfig
from hierkeras.tree import generation
from hierkeras.tree.generation import Generation, Step
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.routing import Routing

DATA = DataConfig("digits", 0.1, 0.2, class_list=("3", "1", "4"))
MODEL = ModelConfig("small_cnn", image_size=8, dropout=0.5)
ROUTING = Routing("fused", 3, 0.5)


def recorded(classes=("3", "1"), data=DATA):
    """A generation as a later process reads it."""
    step = Step(
        new_classes=classes,
        decisions=(),
        jobs=(),
        scratch=None,
        unreadable_images=(),
        old_error_before=None,
        old_error_after=None,
        error_after=0.5,
        seconds=1.0,
    )
    made = Generation(1, wanted(data), Tree(Leaf("root", classes, "job")), step)
    return generation.from_json(generation.to_json(made))


def wanted(data=DATA, model=MODEL):
    source = registry.open_source(data)
    return settings.to_settings(source, data, model, ROUTING)


def check(latest, data=DATA, model=MODEL):
    source = registry.open_source(data)
    settings.check_same(latest, wanted(data, model), source, "DIR")


def test_what_a_generation_records_is_read_back():
    latest = recorded()

    assert settings.data_config(latest) == DATA
    assert settings.routing(latest) == ROUTING
    assert settings.image_size(latest) == 8


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        # More classes than before are what growing is for.
        dataclasses.replace(DATA, class_list=()),
        dataclasses.replace(DATA, class_list=("9", "1", "3")),
    ],
)
def test_a_step_may_go_on_with_the_same_or_more_classes(data):
    check(recorded(), data)


@pytest.mark.parametrize(
    ("model", "data", "complaint"),
    [
        ({"backbone": "small_resnet"}, {}, "--backbone small_cnn"),
        ({"image_size": 16}, {}, "--image_size 8. Received: 16"),
        ({"width_multiplier": 2.0}, {}, "--width_multiplier 1.0"),
        ({"dropout": None}, {}, "--dropout 0.5"),
        ({}, {"validation_fraction": 0.2}, "--validation_fraction 0.1"),
        ({}, {"test_fraction": 0.3}, "--test_fraction 0.2. Received: 0.3"),
        ({}, {"class_list": ("1", "4")}, "lacks 1 of the 2 classes.*'3' first"),
    ],
)
def test_a_step_may_not_change_what_the_tree_rests_on(model, data, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        check(
            recorded(),
            dataclasses.replace(DATA, **data),
            dataclasses.replace(MODEL, **model),
        )
    assert "another --workdir" in str(caught.value)
    assert "\n" not in str(caught.value)
