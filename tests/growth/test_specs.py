import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.data import registry
from hierkeras.growth.specs import Specs, epochs
from hierkeras.recipe.growth import Growth
from hierkeras.training.spec import (
    Clone,
    CutOut,
    Flat,
    Preview,
    Refined,
    Scratch,
    Together,
)
from tests import builders

CLASSES = ("3", "1", "4")
GROUPS = (CLASSES[:1], CLASSES[1:])
PARENT = "parent"
CATALOGUE = registry.open_source(builders.DIGITS).catalogue


def make(has_exemplars=False, catalogue=CATALOGUE, **changes):
    recipe = builders.recipe(**{"max_epochs": 30, **changes})
    return Specs(recipe, catalogue, has_exemplars)


def every_spec(specs):
    """One of each kind, by the name of the method that makes it."""
    return {
        "scratch": specs.scratch(CLASSES),
        "flat": specs.flat(PARENT, CLASSES),
        "clone": specs.clone(PARENT, CLASSES),
        "relearnt": specs.relearnt(PARENT, CLASSES, 2),
        "preview": specs.preview(PARENT, CLASSES),
        "together": specs.together(PARENT, GROUPS, CLASSES),
        "cut_out": specs.cut_out(PARENT, 1, CLASSES),
        "refined": specs.refined(PARENT, CLASSES),
    }


def differing(one, other):
    before, after = every_spec(one), every_spec(other)
    return {name for name, spec in before.items() if spec != after[name]}


def test_what_jobs_start_from_by_default_is_the_paper_s():
    specs = every_spec(make())

    assert {name: spec.start for name, spec in specs.items()} == {
        "scratch": Scratch(),
        "flat": Flat(PARENT, "random", 1.0, 0.0, 0.0),
        "clone": Clone(PARENT, "random", 1.0, 0.0, 0),
        "relearnt": Clone(PARENT, "random", 1.0, 0.0, 2),
        "preview": Preview(PARENT),
        "together": Together(PARENT, 1.0, 0.0, GROUPS, 0),
        "cut_out": CutOut(PARENT, 1),
        "refined": Refined(PARENT),
    }


def test_every_job_has_the_classes_the_network_and_the_images():
    specs = make()

    for spec in every_spec(specs).values():
        assert spec.classes == CLASSES
        assert spec.network == specs.recipe.network
        assert spec.data == CATALOGUE.fingerprint(CLASSES)
    assert specs.scratch(CLASSES).training == msgspec.structs.replace(
        specs.recipe.training, balanced_softmax=False
    )


# What each field of `Growth` changes, where `has_exemplars`; all others are
# for those who ask for jobs, not for what the jobs are.
LEAVES = {"clone", "relearnt"}
USES = {
    "new_columns": ("imprinted", {"flat", *LEAVES}),
    "leaf_layers": (3, {"clone", "together"}),
    "refine_branches": ("full", {"refined"}),
    "flat_share": (0.5, {"flat"}),
    "leaf_share": (0.5, {*LEAVES, "together"}),
    "refine_share": (0.5, {"refined"}),
    "shrink": (0.6, {"flat", "together"}),
    "perturb": (0.1, {"flat", "together"}),
    "leaf_shrink": (0.6, LEAVES),
    "leaf_perturb": (0.1, LEAVES),
    "flat_distillation": (0.5, {"flat"}),
}
OTHERS = {
    "increments": "clone",
    "leaves": "after",
    "num_superclasses": 2,
    "min_classes_to_clone": 40,
    "memory_per_class": 20,
    "scratch_baseline": True,
    "compete_by": "error",
    "significance": 0.5,
    "min_gain_per_doubling": 0.5,
    "partition_by": "predicted_error",
    "confusion_counts": "soft",
    "calibrate": False,
}


def test_every_field_of_growth_is_told_of_here():
    assert {*USES, *OTHERS} == set(Growth.__struct_fields__)


@pytest.mark.parametrize("name", [*USES, *OTHERS])
def test_a_field_of_growth_changes_its_jobs_and_no_others(name):
    value, jobs = USES.get(name) or (OTHERS[name], set())

    found = differing(make(True), make(True, **{name: value}))

    assert found == set(jobs)


def test_what_is_asked_of_growth_reaches_the_specs():
    specs = every_spec(
        make(
            True,
            new_columns="imprinted",
            shrink=0.6,
            perturb=0.1,
            leaf_shrink=0.5,
            leaf_perturb=0.2,
            leaf_layers=3,
            flat_distillation=0.7,
        )
    )

    starts = [specs[name].start for name in ("flat", "clone", "relearnt")]
    assert starts == [
        Flat(PARENT, "imprinted", 0.6, 0.1, 0.7),
        Clone(PARENT, "imprinted", 0.5, 0.2, 3),
        Clone(PARENT, "imprinted", 0.5, 0.2, 2),
    ]
    assert specs["together"].start == Together(PARENT, 0.6, 0.1, GROUPS, 3)


@pytest.mark.parametrize(
    ("refinement", "start"),
    [
        ("none", Preview(PARENT)),
        ("head", Refined(PARENT)),
        # It is trained as a flat increment, but neither shrunk nor taught.
        ("full", Flat(PARENT, "random", 1.0, 0.0, 0.0)),
    ],
)
def test_what_is_trained_of_a_branch(refinement, start):
    specs = make(True, refine_branches=refinement, shrink=0.5, perturb=0.1)

    assert specs.refined(PARENT, CLASSES).start == start


def test_each_kind_of_job_has_a_share_of_the_epochs():
    specs = every_spec(make(flat_share=0.5, leaf_share=0.2, refine_share=2.0))

    assert {n: spec.training.max_epochs for n, spec in specs.items()} == {
        "scratch": 30,
        "flat": 15,
        "clone": 6,
        "relearnt": 6,
        "together": 6,
        "refined": 60,
        # These train nothing.
        "preview": 30,
        "cut_out": 30,
    }


@pytest.mark.parametrize(
    ("share", "max_epochs", "expected"),
    [
        (1.0, 100, 100),
        (0.4, 20, 8),
        (0.5, 7, 3),  # whole epochs within 3.5
        (0.29, 100, 29),  # a product of floats that is less than 29
        (0.1, 5, 1),  # at least one
        (1e-6, 1, 1),
        (2.5, 3, 7),
        (100.0, 0, 0),  # nothing is trained
    ],
)
def test_epochs_by_hand(share, max_epochs, expected):
    assert epochs(share, max_epochs) == expected


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_share_of_whole_epochs_is_not_lost_in_rounding(count, max_epochs):
    assert epochs(count / max_epochs, max_epochs) == count


def test_what_makes_up_for_few_images_waits_for_exemplars():
    asked = {"balanced_softmax": True, "flat_distillation": 2.0}
    before, after = (make(has, **asked) for has in (False, True))

    for spec in every_spec(before).values():
        assert not spec.training.balanced_softmax
    assert before.flat(PARENT, CLASSES).start.distillation == 0.0
    for spec in every_spec(after).values():
        assert spec.training.balanced_softmax
    assert after.flat(PARENT, CLASSES).start.distillation == 2.0
    unasked = make(True, balanced_softmax=False, flat_distillation=0.0)
    assert not differing(unasked, make(False, **asked))


def test_a_parent_s_weights_take_the_place_of_a_file_s():
    specs = every_spec(make(backbone_weights="weights.h5"))

    files = {
        name: spec.network.backbone_weights
        for name, spec in specs.items()
        if spec.network.backbone_weights != "none"
    }
    assert files == {"scratch": "weights.h5"}


def test_jobs_differ_where_anything_that_decides_them_does():
    train = CATALOGUE.indices("train", CLASSES)
    test = CATALOGUE.indices("test", CLASSES)
    other = CATALOGUE.indices("train", ["9"])
    specs = make()
    without_one = make(catalogue=CATALOGUE.excluding(train[:1]))

    jobs = [
        *(spec.job for spec in every_spec(specs).values()),
        without_one.scratch(CLASSES).job,
        specs.scratch(("1", "3", "4")).job,
        make(seed=8).scratch(CLASSES).job,
        specs.flat("another", CLASSES).job,
        specs.cut_out(PARENT, 0, CLASSES).job,
    ]

    assert len(set(jobs)) == len(jobs)
    # Images that it does not learn from decide nothing.
    unseen = CATALOGUE.excluding(np.concatenate([test, other]))
    assert make(catalogue=unseen).scratch(CLASSES) == specs.scratch(CLASSES)


@pytest.mark.parametrize("changed", [{"seed": 3}, {"momentum": 0.5}])
def test_how_models_are_trained_is_of_every_spec(changed):
    assert differing(make(), make(**changed)) == set(every_spec(make()))
