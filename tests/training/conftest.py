"""A work directory on the digits, and one model trained for many tests."""

import functools

import pytest

from hierkeras.data.source import DataConfig
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import JobSpec
from tests import builders, small_trees

make_model = small_trees.make_model
images = small_trees.images
deep_tree = small_trees.deep_tree
shared_tree = small_trees.shared_tree

CLASSES = ("0", "1", "2", "3")


@pytest.fixture(scope="session")
def open_context():
    """A function that opens a work directory on the digits, silently."""
    data = DataConfig("digits", validation_fraction=0.2)
    return functools.partial(builders.open_context, data=data)


@pytest.fixture(scope="session")
def make_spec():
    """A function from a context to the spec of a job of a second."""

    def make_spec(context, classes=CLASSES, recipe=None, **fields):
        quick = {"batch_size": 32, "balanced_softmax": False}
        tiny = builders.recipe(**{**quick, **(recipe or {})})
        return JobSpec(
            classes=classes,
            network=tiny.network,
            training=tiny.training,
            data=context.catalogue.fingerprint(classes),
            **fields,
        )

    return make_spec


@pytest.fixture(scope="session")
def trained(tmp_path_factory, open_context, make_spec):
    """A context, and the result of a job of four classes in it."""
    context = open_context(tmp_path_factory.mktemp("trained"))
    spec = make_spec(context, recipe={"max_epochs": 3})
    return context, run_job(spec, "root first", context)
