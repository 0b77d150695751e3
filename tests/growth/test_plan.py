import dataclasses
import functools

import numpy as np
import pytest

from hierkeras.data import registry
from hierkeras.data.source import DataConfig
from hierkeras.growth.plan import JobPlan
from hierkeras.models.registry import ModelConfig
from hierkeras.training.spec import (
    Initial,
    Leaves,
    Recipe,
    Teacher,
)

CLASSES = ("3", "1", "4")
PLAN = JobPlan(
    ModelConfig("small_cnn", image_size=8),
    Recipe(max_epochs=30),
    flat_epochs=20,
    leaf_epochs=10,
    refine_epochs=5,
    new_columns="random",
    seed=7,
)


@pytest.fixture(scope="module")
def catalogue():
    return registry.open_source(DataConfig("digits")).catalogue


def test_from_scratch_starts_from_nothing(catalogue):
    spec = PLAN.from_scratch(CLASSES, catalogue)

    assert spec.classes == CLASSES
    assert spec.initial is None
    assert spec.trainable == "all"
    assert (spec.recipe, spec.seed) == (PLAN.recipe, 7)


@pytest.mark.parametrize(
    ("make", "budget", "epochs"),
    [
        (JobPlan.flat, "flat_epochs", 20),
        (JobPlan.leaf, "leaf_epochs", 10),
        (
            functools.partial(JobPlan.refined, refinement="full"),
            "refine_epochs",
            5,
        ),
    ],
)
def test_other_jobs_start_from_their_parent_with_their_own_budget(
    catalogue, make, budget, epochs
):
    spec = make(PLAN, "parent", CLASSES, catalogue)

    assert spec.classes == CLASSES
    assert spec.initial == Initial("parent", "random")
    assert spec.trainable == "all"
    assert spec.recipe.max_epochs == epochs
    unlimited = dataclasses.replace(PLAN, **{budget: 0})
    spec = make(unlimited, "parent", CLASSES, catalogue)
    assert spec.recipe == PLAN.recipe


@pytest.mark.parametrize(
    ("refinement", "trainable", "columns"),
    [
        ("full", "all", "random"),
        ("head", "head", "imprinted"),
        ("none", "none", "imprinted"),
    ],
)
def test_new_columns_of_a_body_that_stays_are_imprinted(
    catalogue, refinement, trainable, columns
):
    spec = PLAN.refined("parent", CLASSES, catalogue, refinement)

    assert (spec.trainable, spec.initial.new_columns) == (trainable, columns)


def test_a_branch_and_its_leaves_may_be_trained_together(catalogue):
    groups = (CLASSES[:1], CLASSES[1:])
    plan = dataclasses.replace(
        PLAN, joint_epochs=3, leaf_layers=2, shrink=0.5, perturb=0.1
    )

    preview = plan.preview("parent", CLASSES, catalogue)
    joint = plan.joint("preview", groups, CLASSES, catalogue)
    leaf = plan.cut_out("branch", 1, groups[1], catalogue)

    assert preview.initial == Initial("parent", "imprinted")
    assert preview.trainable == "none"
    assert joint.classes == CLASSES
    assert joint.initial == Initial("preview", shrink=0.5, perturb=0.1)
    assert joint.recipe.max_epochs == 3
    assert joint.leaves == Leaves(groups, 2)
    assert leaf.classes == groups[1]
    assert leaf.initial == Initial("branch", leaf=1)
    assert leaf.trainable == "none"


def test_what_is_asked_of_increments_reaches_their_specs(catalogue):
    plan = dataclasses.replace(
        PLAN,
        shrink=0.6,
        perturb=0.1,
        leaf_shrink=0.5,
        leaf_perturb=0.2,
        leaf_layers=3,
        flat_distillation=1.0,
    )

    flat = plan.flat("parent", CLASSES, catalogue)
    leaf = plan.leaf("parent", CLASSES, catalogue)
    refined = plan.refined("parent", CLASSES, catalogue, "full")

    assert flat.initial == Initial(
        "parent",
        shrink=0.6,
        perturb=0.1,
    )
    assert flat.teacher == Teacher("parent", 1.0)
    assert flat.top_layers == 0
    assert leaf.initial == Initial("parent", shrink=0.5, perturb=0.2)
    assert leaf.teacher is None
    assert leaf.top_layers == 3
    assert refined.initial == Initial("parent")
    assert refined.teacher is None
    assert plan.from_scratch(CLASSES, catalogue) == PLAN.from_scratch(
        CLASSES, catalogue
    )


@pytest.mark.parametrize(
    ("width", "capacity", "expected"),
    [
        (1.0, 1.0, 1.0),
        (1.0, 1.5, 1.5),
        (1.5, 1 / 1.5, 1.0),
        (0.7, 1 / 1.5, 0.4667),
        (0.12345, 1.0, 0.12345),
        (60.0, 4.0, 64.0),
        (64.0, 4.0, 64.0),
        (0.02, 0.25, 0.01),
    ],
)
def test_a_leafs_width_is_its_parents_times_its_capacity(
    catalogue, width, capacity, expected
):
    plan = PLAN.with_width(width)

    spec = plan.leaf("parent", CLASSES, catalogue, capacity)

    assert spec.model.width_multiplier == expected
    assert (spec.initial.widening_noise > 0) == (expected > width)
    if expected == width:
        assert spec == plan.leaf("parent", CLASSES, catalogue)
    flat = plan.flat("parent", CLASSES, catalogue)
    assert flat.model.width_multiplier == width


def test_jobs_differ_where_anything_that_decides_them_does(catalogue):
    train = catalogue.indices("train", CLASSES)
    test = catalogue.indices("test", CLASSES)
    other = catalogue.indices("train", ["9"])

    specs = [
        PLAN.from_scratch(CLASSES, catalogue),
        PLAN.from_scratch(CLASSES, catalogue.excluding(train[:1])),
        PLAN.from_scratch(("1", "3", "4"), catalogue),
        dataclasses.replace(PLAN, seed=8).from_scratch(CLASSES, catalogue),
        PLAN.flat("parent", CLASSES, catalogue),
        PLAN.flat("another", CLASSES, catalogue),
        PLAN.leaf("parent", CLASSES, catalogue),
    ]

    assert len({spec.job for spec in specs}) == len(specs)
    # Images that it does not learn from decide nothing.
    unseen = catalogue.excluding(np.concatenate([test, other]))
    assert PLAN.from_scratch(CLASSES, unseen).job == specs[0].job
