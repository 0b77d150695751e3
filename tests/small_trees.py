"""Trees of small networks that have learnt nothing but disagree."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

SIZE = 8


@dataclasses.dataclass(frozen=True)
class Grown:
    """A tree, its networks by job id, and images that reach every leaf."""

    tree: object
    models: dict
    images: np.ndarray

    def probabilities(self, node, rows):
        """What `tree.routing.route` wants, by the networks themselves."""
        from scipy import special

        batch = self.images[rows].astype(np.float32)
        logits = np.asarray(self.models[node.job](batch))
        return special.softmax(logits, axis=1)


@pytest.fixture(scope="session")
def make_model() -> Callable:
    """Builds a network whose answers differ much from image to image."""

    def make(num_classes, seed, body_seed=None):
        import keras

        body = seed if body_seed is None else body_seed
        images = keras.Input((SIZE, SIZE, 3))
        x = keras.layers.Rescaling(1 / 64, offset=-2)(images)
        for number, channels in enumerate((16, 48)):
            x = keras.layers.Conv2D(
                channels,
                3,
                strides=2,
                activation="tanh",
                kernel_initializer=keras.initializers.GlorotUniform(
                    100 * body + number
                ),
            )(x)
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
        logits = keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=1.0, seed=seed
            ),
            name="logits",
        )(x)
        return keras.Model(images, logits)

    return make


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    generator = np.random.default_rng(0)
    shape = (256, SIZE, SIZE, 3)
    return generator.integers(0, 256, shape).astype(np.uint8)


@pytest.fixture(scope="session")
def deep_tree(make_model, images) -> Grown:
    """Three levels; children list their classes in another order."""
    from hierkeras.tree.nodes import Branch, Leaf, Tree

    def leaf(name: str, classes: str) -> Leaf:
        return Leaf(name, tuple(classes), f"job of {name}")

    def branch(name: str, classes: str, children: Sequence, exponent: float):
        return Branch(
            name, tuple(classes), f"job of {name}", tuple(children), exponent
        )

    inner = branch(
        "root.2",
        "fdcge",
        [leaf("root.2.1", "cd"), leaf("root.2.2", "gef")],
        0.3,
    )
    tree = Tree(
        branch(
            "root",
            "cajbihdefg",
            [leaf("root.1", "ab"), inner, leaf("root.3", "jhi")],
            0.6,
        )
    )
    models = {
        node.job: make_model(len(node.classes), seed)
        for seed, node in enumerate(tree.nodes())
    }
    return Grown(tree, models, images)


@pytest.fixture(scope="session")
def wide_tree(make_model, images) -> Grown:
    """A branch with more children than are asked for at once."""
    from hierkeras.tree.nodes import Branch, Leaf, Tree

    classes = tuple(f"class {number}" for number in range(20))
    leaves = tuple(
        Leaf(f"root.{k + 1}", classes[2 * k : 2 * k + 2], f"leaf {k}")
        for k in range(10)
    )
    tree = Tree(Branch("root", classes, "root", leaves))
    models = {
        node.job: make_model(len(node.classes), seed)
        for seed, node in enumerate(tree.nodes())
    }
    return Grown(tree, models, images)


@pytest.fixture(scope="session")
def shared_tree(make_model, images) -> Grown:
    """A branch and two leaves whose layers below the logits are equal."""
    from hierkeras.tree.nodes import Branch, Leaf, Tree

    leaves = (Leaf("root.1", ("a", "b"), "one"), Leaf("root.2", ("c",), "two"))
    tree = Tree(Branch("root", ("a", "b", "c"), "root", leaves))
    models = {
        node.job: make_model(len(node.classes), seed, body_seed=0)
        for seed, node in enumerate(tree.nodes())
    }
    return Grown(tree, models, images)
