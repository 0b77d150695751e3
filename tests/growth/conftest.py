"""Digits, a work directory with a small grown tree, and what grows it."""

import dataclasses

import msgspec
import numpy as np
import pytest
import threadpoolctl

from hierkeras.data.source import DataConfig
from hierkeras.growth.assess import Assessor
from hierkeras.growth.extend_leaf import Grower
from hierkeras.growth.options import GrowthOptions
from hierkeras.growth.plan import JobPlan
from hierkeras.models.registry import ModelConfig
from hierkeras.training import results
from hierkeras.training.context import Context, ContextConfig, Runtime
from hierkeras.training.executors import InlineExecutor
from hierkeras.training.jobs import Jobs
from hierkeras.training.spec import Recipe
from hierkeras.tree.nodes import Branch, Leaf, Tree

DIGITS = DataConfig("digits", validation_fraction=0.1)
MODEL = ModelConfig("small_cnn", image_size=8, width_multiplier=0.5)


@pytest.fixture(scope="session")
def plan():
    """Trains from scratch for 4 epochs and from a parent for 1."""
    recipe = Recipe(
        schedule="cosine",
        initial_learning_rate=0.1,
        batch_size=64,
        max_epochs=4,
    )
    return JobPlan(MODEL, recipe, flat_epochs=1, leaf_epochs=1, refine_epochs=1)


@pytest.fixture(scope="session")
def untrained(plan):
    """A plan by which models are made and not trained."""
    recipe = msgspec.structs.replace(plan.recipe, max_epochs=0)
    return JobPlan(plan.model, recipe)


@pytest.fixture(scope="session")
def open_context():
    """A function from a work directory to a context of the digits."""

    def open_context(workdir):
        runtime = Runtime(progress="none")
        return Context(ContextConfig(str(workdir), DIGITS, 8, runtime=runtime))

    return open_context


@pytest.fixture(scope="session")
def run_job(open_context):
    """A function that runs a job in a work directory and gives its id."""
    from hierkeras.training import run_job

    def run(context, spec):
        return run_job.run_job(spec, "fixture", context).job

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, open_context, plan, untrained, run_job):
    """The context of a work directory, and a tree of three levels in it.

    The root's model is trained; those below are cut out of it. "9" looks
    like classes below `root.1`, none below `root.2`.
    """
    context = open_context(tmp_path_factory.mktemp("trained"))
    root_job = run_job(
        context, plan.from_scratch(tuple("01345678"), context.catalogue)
    )

    def cut(name, classes, *children):
        spec = untrained.leaf(root_job, classes, context.catalogue)
        job = run_job(context, spec)
        return (
            Branch(name, tuple(classes), job, children)
            if children
            else Leaf(name, tuple(classes), job)
        )

    root = Branch(
        "root",
        tuple("01345678"),
        root_job,
        (
            cut(
                "root.1",
                "135784",
                cut("root.1.1", "358"),
                cut("root.1.2", "147"),
            ),
            cut("root.2", "06"),
        ),
    )
    return context, Tree(root)


@pytest.fixture(scope="session")
def predictor(trained):
    """Runs the models of that work directory."""
    from hierkeras.training.predictor import Predictor

    return Predictor(trained[0])


@pytest.fixture
def make_grower():
    """A function from what growing needs, and its options, to a grower."""

    def make(context, predictor, plan, **options):
        growth = GrowthOptions(**options)
        assessor = Assessor(context.catalogue, predictor, growth.routing)
        jobs = Jobs(context, InlineExecutor())
        return Grower(growth, plan, jobs, assessor)

    return make


@pytest.fixture(scope="module")
def one_thread():
    """Clusters a few classes; threads that wait for each other take longer."""
    with threadpoolctl.threadpool_limits(1):
        yield


@dataclasses.dataclass
class Answers:
    """In place of a predictor, for what follows from given answers alone.

    A model takes every image for what it is, or what it is taken for by
    `mistakes`: from the model's classes to a map of classes. What a model
    does not know it takes for its first class.
    """

    context: Context
    mistakes: dict[str, dict[str, str]]

    def probabilities(self, job, indices):
        classes = results.read(self.context.store, job).spec.classes
        catalogue = self.context.catalogue
        mistakes = self.mistakes.get("".join(classes), {})
        truth = [catalogue.class_names[i] for i in catalogue.labels[indices]]
        taken = [mistakes.get(name, name) for name in truth]
        columns = [
            classes.index(name) if name in classes else 0 for name in taken
        ]
        return np.eye(len(classes))[columns]

    def node_probabilities(self, node, rows):
        return self.probabilities(node.job, rows)


@pytest.fixture
def answers():
    """`Answers`."""
    return Answers
