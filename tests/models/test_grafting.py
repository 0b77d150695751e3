"""A branch and its leaves as one network."""

import keras
import numpy as np
import pytest

from hierkeras.models import surgery
from hierkeras.models.grafting import with_leaves
from hierkeras.models.registry import ModelConfig, build_model

IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 16, 16, 3))
IMAGES = IMAGES.astype("float32")


def network(num_classes, backbone="small_cnn"):
    return build_model(ModelConfig(backbone, 16, 0.5), num_classes)


@pytest.fixture
def models():
    """A function from a backbone to a branch and two leaves."""

    def models(backbone="small_cnn"):
        keras.utils.set_random_seed(0)
        branch, *leaves = (network(n, backbone) for n in (5, 2, 3))
        return branch, leaves

    return models


def answers(model):
    return np.asarray(model(IMAGES, training=False))


def on_trunk(branch, leaf, leaf_layers, backbone):
    """A leaf whose layers below the cut are the branch's."""
    whole = network(leaf.output_shape[-1], backbone)
    for old, new in zip(branch.layers, whole.layers, strict=True):
        if new.name != surgery.HEAD:
            new.set_weights(old.get_weights())
    own = surgery.top_weights(leaf, leaf_layers)
    surgery.set_top_weights(whole, leaf_layers, own)
    return whole


@pytest.mark.parametrize("backbone", ["small_cnn", "small_resnet"])
@pytest.mark.parametrize("leaf_layers", [1, 2, 3, 0])
def test_each_leaf_goes_on_from_the_branch(models, backbone, leaf_layers):
    branch, leaves = models(backbone)

    joint = with_leaves(branch, leaves, leaf_layers)

    wholes = [on_trunk(branch, leaf, leaf_layers, backbone) for leaf in leaves]
    expected = [answers(model) for model in (branch, *wholes)]
    np.testing.assert_allclose(
        answers(joint), np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5
    )


def test_it_holds_the_trunk_once_and_no_other(models):
    branch, leaves = models()

    joint = with_leaves(branch, leaves, 2)

    own = [
        weight.size
        for leaf in leaves
        for weight in surgery.top_weights(leaf, 2)
    ]
    assert joint.count_params() == branch.count_params() + sum(own)


def test_training_it_trains_the_branch_and_the_tops(models):
    branch, leaves = models()
    before = [branch.get_weights(), *(leaf.get_weights() for leaf in leaves)]
    joint = with_leaves(branch, leaves, 2)
    joint.compile(keras.optimizers.SGD(0.1), "mse")

    joint.fit(IMAGES, np.ones((6, 10), "f"), verbose=0)

    changed = [
        [
            bool((old != new).any())
            for old, new in zip(weights, model.get_weights(), strict=True)
        ]
        for weights, model in zip(before, (branch, *leaves), strict=True)
    ]
    assert all(changed[0])
    top = len(surgery.top_weights(leaves[0], 2))
    for leaf in changed[1:]:
        assert not any(leaf[:-top]) and all(leaf[-top:])


def test_weights_of_another_network_are_refused(models):
    _, leaves = models()
    own = surgery.top_weights(leaves[0], 2)

    with pytest.raises(ValueError, match=r"Cannot set weights of shapes .*2\)"):
        surgery.set_top_weights(leaves[1], 2, own)
