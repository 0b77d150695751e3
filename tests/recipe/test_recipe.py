"""Which fields fit each other, and the presets."""

import pytest

from hierkeras._errors import UsageError
from hierkeras.recipe import fields, presets
from hierkeras.recipe.recipe import check
from hierkeras.recipe.resolve import Facts, resolve

FACTS = Facts(num_images=27_000, num_classes=60, is_photos=True, side=256)


TRUNK = {"backbone": "trunk:0123456789abcdef"}
SOLVED = TRUNK | {"heads": "solved", "leaves": "after"}


def recipe_of(preset="photos", **changes):
    changed = fields.changed(presets.preset(preset), changes)
    return resolve(changed, FACTS)[0]


@pytest.mark.parametrize("name", presets.NAMES)
def test_every_preset_fits_and_says_what_it_is(name):
    # A network that is a trunk is one of a file, or published, by then.
    given = {"backbone": "trunk:0123456789abcdef", "backbone_weights": "none"}
    check(recipe_of(name, **given if name == "pretrained" else {}))
    about = presets.about(name)
    assert about.splitlines()[0].endswith((".", ";"))
    assert "rror" in about or "Cost" in about


def test_an_unknown_preset_is_answered_with_the_valid_ones():
    with pytest.raises(
        UsageError, match="photos, pretrained, stream, exemplars"
    ):
        presets.preset("phots")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_superclasses": 1}, "at least 2, or 0"),
        ({"leaves": "beside"}, "needs leaves=after or leaves=together"),
        (
            {"leaves": "beside", "partition_by": "spectral"},
            "leaf_layers=4 exclude each other",
        ),
        ({"leaf_shrink": 0.5}, "leaf_shrink=0.5 exclude each other"),
        ({"leaf_perturb": 0.1}, "leaf_perturb=0.1 exclude each other"),
        ({"memory_per_class": 5}, "--recipe=exemplars"),
        ({"backbone": "small_cn"}, "small_cnn"),
        ({"width_multiplier": 2.0, "backbone": "resnet50_v2"}, "one width"),
        ({"heads": "solved"}, "--backbone=FILE.keras. Received: backbone="),
        (SOLVED | {"augment": "shift"}, "augment=none or augment=mirror"),
        (SOLVED | {"leaves": "together"}, "heads=solved and leaves=together"),
        (SOLVED | {"memory_per_class": 5}, "give memory_per_class=0"),
        (SOLVED | {"width_multiplier": 2.0}, "as it was saved"),
        ({"crops": 2}, "give heads=solved, or crops=0"),
        ({"shrinkage": 0.0}, "give heads=solved, or shrinkage=unset"),
        ({"feature_depths": 1}, "--backbone=FILE.keras, or feature_depths=0"),
        ({"input_range": "unit"}, "--backbone=FILE.keras, or input_range=uns"),
    ],
)
def test_what_would_be_ignored_or_is_impossible_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        check(recipe_of(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"leaves": "beside", "partition_by": "spectral", "leaf_layers": 0},
        {"leaves": "after", "leaf_shrink": 0.5},
        {"leaves": "after", "memory_per_class": 5},
        # Nothing is cloned: what is said of leaves does not matter.
        {"increments": "flat", "leaf_shrink": 0.5, "memory_per_class": 5},
        {"increments": "flat", "leaves": "beside", "num_superclasses": 1},
        SOLVED | {"crops": 2, "shrinkage": 0.5, "feature_depths": 2},
        SOLVED | {"increments": "flat", "leaves": "together"},
        # A trunk that is trained on, as its file wants it.
        TRUNK | {"feature_depths": 2, "input_range": "unit"},
    ],
)
def test_what_fits_is_taken(changes):
    check(recipe_of(**changes))


def test_the_paper_is_the_paper():
    paper = presets.preset("paper")
    assert paper.network.backbone == "alexnet"
    assert paper.training.schedule == "adaptive"
    assert paper.training.initial_learning_rate == 0.01
    assert paper.training.samples_per_check == 30_000
    assert paper.training.learning_rate_cuts == 2
    assert paper.growth.compete_by == "error"
    assert paper.growth.leaves == "beside"
    assert paper.growth.partition_by == "spectral"
    assert paper.growth.new_columns == "random"
    assert paper.growth.confusion_counts == "hard"
    assert (paper.growth.shrink, paper.growth.perturb) == (1, 0)
    assert paper.routing.rule == "hard"
