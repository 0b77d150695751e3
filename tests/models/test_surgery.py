import keras
import numpy as np
import pytest

from hierkeras.models.registry import BACKBONES, ModelConfig, build_model
from hierkeras.models.surgery import (
    feature_extractor,
    head_alone,
    imprint,
    set_trainable,
    shrink_and_perturb,
    transfer_weights,
)

CLASSES = ("ant", "bee", "cat")
IMAGES = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 3))
IMAGES = IMAGES.astype("float32")
LABELS = np.arange(12) % 3


def small(num_classes: int, backbone: str = "small_cnn", width: float = 1.0):
    return build_model(ModelConfig(backbone, 8, width), num_classes)


def fit(model: keras.Model) -> None:
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)


def logits(model: keras.Model) -> np.ndarray:
    return np.asarray(model(IMAGES, training=False))


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = small(3)
    start = logits(model)
    fit(model)
    assert not np.allclose(logits(model), start, atol=0.01)
    return model


def test_a_widened_model_keeps_the_old_logits(trained):
    wide = small(5)
    names = ("dog", "bee", "ant", "elk", "cat")
    start = wide.get_layer("logits").get_weights()

    new = transfer_weights(trained, wide, CLASSES, names)

    assert new == ("dog", "elk")
    np.testing.assert_allclose(
        logits(wide)[:, [2, 1, 4]], logits(trained), rtol=1e-5, atol=1e-6
    )
    kernel, bias = wide.get_layer("logits").get_weights()
    np.testing.assert_array_equal(kernel[:, [0, 3]], start[0][:, [0, 3]])
    np.testing.assert_array_equal(bias[[0, 3]], start[1][[0, 3]])


def test_a_restricted_model_gives_the_chosen_columns(trained):
    narrow = small(2)
    assert transfer_weights(trained, narrow, CLASSES, ("cat", "ant")) == ()
    np.testing.assert_allclose(
        logits(narrow), logits(trained)[:, [2, 0]], rtol=1e-5, atol=1e-6
    )


def test_restricting_a_widened_model_gives_the_first_back(trained):
    wide, narrow = small(4), small(3)
    names = ("cat", "dog", "bee", "ant")
    transfer_weights(trained, wide, CLASSES, names)
    transfer_weights(wide, narrow, names, CLASSES)
    for a, b in zip(trained.get_weights(), narrow.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "target, message",
    [
        (
            lambda: small(3, width=0.5),
            r"the source has 32 features, the target 16\.$",
        ),
        (
            lambda: small(3, backbone="small_resnet"),
            "the source has 6 layers with weights below the logits, "
            r"the target 8\.$",
        ),
    ],
)
def test_networks_of_another_structure_are_refused(trained, target, message):
    model = target()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        transfer_weights(trained, model, CLASSES, CLASSES)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_layer_of_other_shapes_is_named():
    def network(inputs: int) -> keras.Model:
        images = keras.Input((inputs,))
        hidden = keras.layers.Dense(4, name=f"hidden{inputs}")(images)
        outputs = keras.layers.Dense(3, name="logits")(hidden)
        return keras.Model(images, outputs)

    with pytest.raises(ValueError) as error:
        transfer_weights(network(2), network(5), CLASSES, CLASSES)
    assert str(error.value) == (
        "Cannot transfer weights: the source's layer Dense 'hidden2' has "
        "weights of shapes [(2, 4), (4,)], the target's Dense 'hidden5' "
        "[(5, 4), (4,)]."
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", [name for name in BACKBONES if not name.startswith("small_")]
)
def test_every_backbone_can_be_widened(backbone):
    size = BACKBONES[backbone].min_image_size
    images = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3))
    images = images.astype("float32")
    old, wide = (build_model(ModelConfig(backbone, size), n) for n in (3, 4))
    transfer_weights(old, wide, CLASSES, ("dog", *CLASSES))
    np.testing.assert_allclose(
        wide(images, training=False)[:, 1:],
        old(images, training=False),
        rtol=1e-4,
        atol=1e-5,
    )


def test_class_names_must_fit_the_columns(trained):
    with pytest.raises(ValueError, match=r"The target has 3 columns.*2 names"):
        transfer_weights(trained, small(3), CLASSES, ("ant", "bee"))
    with pytest.raises(
        ValueError, match=r"The source has 3 columns.*2 of them"
    ):
        transfer_weights(trained, small(3), ("ant", "bee", "ant"), CLASSES)


def test_the_feature_extractor_ends_where_the_logits_begin(trained):
    features = feature_extractor(trained)(IMAGES, training=False)
    kernel, bias = trained.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        features @ kernel + bias, logits(trained), rtol=1e-5, atol=1e-6
    )


def linear(kernel, bias) -> keras.Model:
    inputs = keras.Input((len(kernel),))
    outputs = keras.layers.Dense(len(bias), name="logits")(inputs)
    model = keras.Model(inputs, outputs)
    model.set_weights([np.array(kernel, "float32"), np.array(bias, "float32")])
    return model


def test_imprint_by_hand():
    # Old columns (3, 1) and (1, 1): mean (2, 1), deviations of length 1.
    model = linear([[3, 1, 9], [1, 1, 9]], [1, 3, 9])
    features = np.array([[0, 0], [0, 0], [0, 3], [0, 5]], "float32")

    imprint(model, [2], features, np.array([0, 1, 2, 2]))

    # The mean feature is (0, 2), the new class lies in direction (0, 1) of it.
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel, [[3, 1, 2], [1, 1, 2]])
    np.testing.assert_allclose(bias, [1, 3, 0])
    old_0, old_1, new = np.ravel(model(np.array([[0.0, 2.0]])))
    assert new == pytest.approx((old_0 + old_1) / 2)


def test_imprinted_classes_are_recognised_at_once():
    centres = np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4], [4, 4, 4]])
    labels = np.repeat(np.arange(4), 20)
    noise = np.random.default_rng(0).normal(0, 0.3, (80, 3))
    features = (centres[labels] + noise).astype("float32")
    model = linear([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 0, 0]], [0, 0, 0, 0])

    imprint(model, [2, 3], features, labels)

    np.testing.assert_array_equal(np.argmax(model(features), axis=1), labels)


@pytest.mark.parametrize(
    "new_columns, features, labels, message",
    [
        ([1, 2], [[1.0], [2.0]], [1, 2], "2 new columns of 3"),
        ([2], [[1.0], [2.0]], [0, 1], "Column 2 has no examples"),
        ([2], [[1.0], [1.0]], [2, 2], "column 2 is that of all the examples"),
    ],
)
def test_what_cannot_be_imprinted(new_columns, features, labels, message):
    model = linear([[1, 2, 3]], [0, 0, 0])
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        imprint(model, new_columns, np.array(features), np.array(labels))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_training_the_head_leaves_the_rest_bit_identical():
    model = small(3, backbone="small_resnet")
    before = model.get_weights()
    set_trainable(model, "head")
    fit(model)
    *body, kernel, bias = (
        np.array_equal(a, b)
        for a, b in zip(before, model.get_weights(), strict=True)
    )
    assert all(body)
    assert not kernel and not bias


def test_parts_can_be_chosen_in_any_order():
    model = small(3)
    everything = len(model.trainable_variables)
    set_trainable(model, "none")
    assert model.trainable_variables == []
    set_trainable(model, "head")
    assert len(model.trainable_variables) == 2
    set_trainable(model, "all")
    assert len(model.trainable_variables) == everything
    with pytest.raises(ValueError, match="'body': expected one of all, head"):
        set_trainable(model, "body")


def test_leaf_layers_are_counted_from_the_logits_with_their_normalisation():
    model = small(3)
    names = [layer.name for layer in model.layers]
    set_trainable(model, "all", leaf_layers=2)
    frozen = model.get_layer("stage1_1_conv").trainable_variables
    assert frozen == []
    trained = [layer.name for layer in model.layers if layer.trainable]
    assert trained == names[names.index("stage1_2_conv") :]
    assert "stage1_2_norm" in trained
    before = model.get_weights()

    fit(model)

    kept = [
        np.array_equal(a, b)
        for a, b in zip(before, model.get_weights(), strict=True)
    ]
    first = next(i for i, same in enumerate(kept) if not same)
    # Kernel, gamma, beta, mean and variance; then those of the logits.
    assert kept[:first] == [True] * (len(kept) - 7)
    assert not any(kept[first:])


@pytest.mark.parametrize("leaf_layers", [0, 4, 99])
def test_as_many_leaf_layers_as_there_are_is_all(leaf_layers):
    model = small(3)
    everything = len(model.trainable_variables)
    set_trainable(model, "all", leaf_layers)
    assert len(model.trainable_variables) == everything


def test_shrinking_and_perturbing_moves_kernels_only(trained):
    model = small(3)
    fresh = [np.array(weight) for weight in model.weights]
    transfer_weights(trained, model, CLASSES, CLASSES)

    shrink_and_perturb(model, fresh, 0.4, 0.1)

    for old, new, random in zip(
        trained.weights, model.weights, fresh, strict=True
    ):
        expected = np.asarray(old)
        if new.name == "kernel":
            expected = 0.4 * expected + 0.1 * random
        np.testing.assert_allclose(np.asarray(new), expected, rtol=1e-5)


def test_frozen_layers_are_not_shrunk(trained):
    model = small(3)
    fresh = [np.array(weight) for weight in model.weights]
    transfer_weights(trained, model, CLASSES, CLASSES)
    set_trainable(model, "all", leaf_layers=2)

    shrink_and_perturb(model, fresh, 0.4, 0.1)

    shrunk = [
        new.path
        for old, new in zip(trained.weights, model.weights, strict=True)
        if not np.array_equal(old, new)
    ]
    kernels = [w.path for w in model.weights if w.name == "kernel"]
    assert shrunk == kernels[-2:]


@pytest.mark.parametrize("backbone", ["small_cnn", "small_resnet"])
def test_a_head_alone_answers_from_features_as_its_network(backbone):
    model = small(3, backbone)
    features = feature_extractor(model)(IMAGES, training=False)

    alone = head_alone(model)

    np.testing.assert_allclose(alone(features), logits(model), atol=1e-5)


def test_a_head_alone_has_weights_of_its_own(trained):
    before = logits(trained)
    alone = head_alone(trained)
    alone.set_weights([np.zeros_like(weight) for weight in alone.get_weights()])
    np.testing.assert_array_equal(logits(trained), before)
