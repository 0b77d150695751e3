"""What a node takes over from above, and what it computes."""

import keras
import numpy as np
import pytest

from hierkeras.training import sharing


def layers(part):
    """Types of the layers that a part computes, in order."""
    return [type(layer).__name__ for layer in part.model.layers]


def test_layers_with_equal_weights_are_computed_once(shared_tree):
    parts = sharing.parts(shared_tree.tree, shared_tree.models)

    root = parts["root"]
    assert root.takes == (sharing.IMAGES,)
    assert len(root.gives) == 1
    for name in ("root.1", "root.2"):
        assert parts[name].takes == root.gives
        assert layers(parts[name]) == ["InputLayer", "Dense"]
        assert parts[name].passes == root.gives


def test_different_weights_share_only_what_has_none(deep_tree):
    parts = sharing.parts(deep_tree.tree, deep_tree.models)
    for part in parts.values():
        assert layers(part).count("Conv2D") == 2


def test_one_different_number_ends_the_sharing(shared_tree):
    models = dict(shared_tree.models)
    models["one"] = keras.models.clone_model(models["one"])
    models["one"].set_weights(shared_tree.models["one"].get_weights())
    convolution = models["one"].layers[4]
    kernel, bias = convolution.get_weights()
    kernel[0, 0, 0, 0] += 1e-6
    convolution.set_weights([kernel, bias])

    parts = sharing.parts(shared_tree.tree, models)

    assert layers(parts["root.1"]).count("Conv2D") == 1
    assert layers(parts["root.2"]).count("Conv2D") == 0


@pytest.mark.parametrize("other", [(2, 1.0), (1, 2.0)])
def test_another_setting_ends_the_sharing(other):
    from hierkeras.tree.nodes import Branch, Leaf, Tree

    def model(padding, factor):
        images = keras.Input((8, 8, 3))
        x = keras.layers.ZeroPadding2D(padding)(images * factor)
        x = keras.layers.Conv2D(
            4, 3, kernel_initializer="ones", name="convolution"
        )(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        logits = keras.layers.Dense(2, name="logits")(x)
        return keras.Model(images, logits)

    tree = Tree(
        Branch(
            "root",
            ("a", "b"),
            "root",
            (Leaf("root.1", ("a",), "same"), Leaf("root.2", ("b",), "other")),
        )
    )
    models = {
        "root": model(1, 1.0),
        "same": model(1, 1.0),
        "other": model(*other),
    }
    parts = sharing.parts(tree, models)
    assert "Conv2D" not in layers(parts["root.1"])
    assert "Conv2D" in layers(parts["root.2"])


def test_a_residual_network_may_be_cut_where_two_tensors_live():
    from hierkeras.tree.nodes import Branch, Leaf, Tree

    def model(last):
        images = keras.Input((4, 4, 3))
        left = keras.layers.Conv2D(4, 3, padding="same", name="left")(images)
        right = keras.layers.Conv2D(4, 1, name=f"right{last}")(left)
        right = keras.layers.Conv2D(4, 1, name=f"further{last}")(right)
        x = keras.layers.Add()([left, right])
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(images, keras.layers.Dense(2, name="logits")(x))

    models = {"root": model(0), "leaf": model(1), "other": model(2)}
    for name in ("leaf", "other"):
        for old, new in zip(
            models["root"].layers[:3], models[name].layers[:3], strict=True
        ):
            new.set_weights(old.get_weights())
    tree = Tree(
        Branch(
            "root",
            ("a", "b"),
            "root",
            (Leaf("root.1", ("a",), "leaf"), Leaf("root.2", ("b",), "other")),
        )
    )
    part = sharing.parts(tree, models)["root.1"]
    assert len(part.takes) == 2

    images = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
    shared = keras.Model(
        models["root"].input,
        [models["root"].layers[1].output, models["root"].layers[2].output],
    )(images)
    by_order = [
        np.asarray(part.model([shared[i], shared[1 - i]])) for i in (0, 1)
    ]
    expected = models["leaf"](images).numpy()
    assert any(np.allclose(one, expected, atol=1e-6) for one in by_order)
