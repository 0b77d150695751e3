import asyncio

import pytest

from hierkeras.growth.grower import grower
from hierkeras.training.executors import InlineExecutor
from hierkeras.tree.generation import JobUse
from hierkeras.tree.nodes import Leaf
from tests import builders

GROUPS = (("1", "2"), ("3", "4"))
CLASSES = (*GROUPS[0], *GROUPS[1])


@pytest.fixture
def growing():
    """What grows with leaves of three layers of their own."""
    return builders.untrained_grower(builders.recipe(leaf_layers=3))


def test_a_job_gives_a_leaf_and_is_counted_once(growing):
    spec = growing.specs.scratch(CLASSES)

    async def twice():
        return [await growing.train(spec, "root.2", "flat") for _ in "12"]

    once, again = asyncio.run(twice())

    assert once == again == Leaf("root.2", CLASSES, spec.job)
    assert growing.jobs.uses() == (JobUse(spec.job, "root.2 flat", 0, False),)


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda specs: specs.scratch(CLASSES), 0),
        (lambda specs: specs.flat("parent", CLASSES), 0),
        (lambda specs: specs.refined("parent", CLASSES), 0),
        (lambda specs: specs.preview("parent", CLASSES), 0),
        (lambda specs: specs.clone("parent", CLASSES), 3),
        (lambda specs: specs.relearnt("parent", CLASSES, 2), 2),
        # A branch that is better than its leaves has learnt as a whole.
        (lambda specs: specs.together("parent", GROUPS, CLASSES), 0),
    ],
)
def test_how_many_layers_a_model_has_of_its_own(growing, make, layers):
    made = asyncio.run(growing.train(make(growing.specs), "root", "was"))

    assert growing.own_layers(made.job) == layers


@pytest.mark.parametrize("layers", [0, 3])
def test_a_leaf_that_was_cut_out_has_what_it_learnt_with(layers):
    growing = builders.untrained_grower(builders.recipe(leaf_layers=layers))

    async def cut_out():
        together = growing.specs.together("parent", GROUPS, CLASSES)
        branch = await growing.train(together, "root", "together")
        spec = growing.specs.cut_out(branch.job, 1, GROUPS[1])
        return await growing.train(spec, "root.2", "leaf")

    assert growing.own_layers(asyncio.run(cut_out()).job) == layers


@pytest.mark.parametrize("exemplars", [{}, {"1": ("1.png",)}])
def test_what_a_work_directory_is_grown_with(tmp_path, exemplars):
    recipe = builders.recipe(rule="fused")
    context = builders.open_context(tmp_path).keeping(exemplars)

    made = grower(context, recipe, InlineExecutor(), "predictor")

    assert made.recipe == made.specs.recipe == recipe
    assert made.specs.has_exemplars == bool(exemplars)
    assert made.specs.catalogue is made.assessor.catalogue is context.catalogue
    assert made.assessor.predictor == "predictor"
    assert made.assessor.routing == recipe.routing
    assert made.jobs.uses() == ()
