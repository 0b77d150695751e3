"""A work directory with a small tree of digits, and what runs its models."""

import pytest
import threadpoolctl

from hierkeras.growth.specs import Specs
from hierkeras.tree.nodes import Tree
from tests import builders


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The context of a work directory, and a tree of three levels in it.

    The root's model is trained; those below are cut out of it. "9" looks
    like classes below `root.1`, none below `root.2`.
    """
    context = builders.open_context(tmp_path_factory.mktemp("trained"))
    learns, copies = (
        Specs(builders.recipe(max_epochs=epochs), context.catalogue)
        for epochs in (4, 0)
    )
    root = builders.run_job(context, learns.scratch("01345678"))

    def cut(name, classes, *children):
        job = builders.run_job(context, copies.clone(root, classes))
        if children:
            return builders.branch(name, classes, *children, job=job)
        return builders.leaf(name, classes, job)

    below = (
        cut(
            "root.1",
            "135784",
            cut("root.1.1", "358"),
            cut("root.1.2", "147"),
        ),
        cut("root.2", "06"),
    )
    return context, Tree(builders.branch("root", "01345678", *below, job=root))


@pytest.fixture(scope="session")
def predictor(trained):
    """Runs the models of that work directory."""
    from hierkeras.training.predictor import Predictor

    return Predictor(trained[0])


@pytest.fixture(scope="module")
def one_thread():
    """Clusters a few classes; threads that wait for each other take longer."""
    with threadpoolctl.threadpool_limits(1):
        yield
