"""What a contender's models cost, with what they start from."""

import keras
import pytest

from hierkeras.analysis.contenders import with_ancestors
from hierkeras.tree.store import Store
from tests import builders

GROUPS = (("0", "1"), ("2", "3"))
CLASSES = (*GROUPS[0], *GROUPS[1])


@pytest.fixture
def chain(tmp_path):
    """A store, and four jobs of it, each of which starts from the last."""
    store = Store(tmp_path)
    specs = builders.untrained_grower(builders.recipe()).specs
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1)(image))
    was = specs.scratch(CLASSES)
    flat = specs.flat(was.job, CLASSES)
    branch = specs.together(flat.job, GROUPS, CLASSES)
    leaf = specs.cut_out(branch.job, 1, GROUPS[1])
    return store, *(
        builders.write_job(store, spec, model)
        for spec in (was, flat, branch, leaf)
    )


def test_a_branch_that_is_trained_on_costs_its_flat_increment_too(chain):
    store, previous, flat, branch, leaf = chain

    assert with_ancestors({branch}, {flat, branch}, store) == {flat, branch}
    # A leaf that learnt together with its branch costs that.
    assert with_ancestors({leaf}, {leaf, branch}, store) == {leaf, branch}
    # What an earlier step trained costs nothing now, nor what came of it.
    assert with_ancestors({branch}, {previous, branch}, store) == {branch}
    assert with_ancestors({flat}, {flat, branch}, store) == {flat}


def test_what_a_step_did_not_train_is_looked_at_no_further(chain):
    store, previous, flat, *_ = chain

    assert with_ancestors({flat}, {previous}, store) == {flat}
    assert with_ancestors({"gone"}, {"gone"}, store) == {"gone"}
