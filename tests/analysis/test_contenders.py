"""What a contender's models cost, with what they start from."""

import keras
import msgspec
import pytest

from hierkeras.analysis.contenders import with_ancestors
from hierkeras.models.registry import ModelConfig
from hierkeras.training import results
from hierkeras.training.spec import Initial, JobSpec, Recipe
from hierkeras.tree.store import Store


@pytest.fixture
def chain(tmp_path):
    """A store, and three jobs of it, each of which starts from the last."""
    store, jobs = Store(tmp_path), []
    spec = JobSpec(("a", "b"), ModelConfig("small_cnn", 8), Recipe(), "0")
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1)(image))
    for _ in range(3):
        if jobs:
            spec = msgspec.structs.replace(spec, initial=Initial(jobs[-1]))
        measured = results.Measured(0.1, 0.1, 0.0)
        result = results.JobResult(spec, "root", measured, 500, 1, 1.0, {})
        with store.new_job(spec.job) as folder:
            results.write(folder, result, [], model)
        jobs.append(spec.job)
    return store, *jobs


def test_a_branch_that_is_trained_on_costs_its_flat_increment_too(chain):
    store, previous, flat, branch = chain

    assert with_ancestors({branch}, {flat, branch}, store) == {flat, branch}
    # What an earlier step trained costs nothing now, nor what came of it.
    assert with_ancestors({branch}, {previous, branch}, store) == {branch}
    assert with_ancestors({flat}, {flat, branch}, store) == {flat}


def test_what_a_step_did_not_train_is_looked_at_no_further(chain):
    store, previous, flat, _ = chain

    assert with_ancestors({flat}, {previous}, store) == {flat}
    assert with_ancestors({"gone"}, {"gone"}, store) == {"gone"}
