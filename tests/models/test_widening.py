import keras
import numpy as np
import pytest
from keras import layers

from hierkeras._errors import UsageError
from hierkeras.models.registry import (
    BACKBONES,
    ModelConfig,
    build_model,
    check_resizable,
)
from hierkeras.models.widening import resize_weights

BATCH = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3))
BATCH = BATCH.astype("float32")


def network(backbone, width, size=16):
    """A network whose weights and statistics are none of the initial ones."""
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(backbone, size, width), 5)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    random.uniform(0.5, 1.5, shape),
                    *random.normal(0, 0.3, (2, *shape)),
                    random.uniform(0.5, 1.5, shape),
                ]
            )
    head = model.get_layer("logits")
    head.set_weights([random.normal(0, 0.3, w.shape) for w in head.weights])
    return model


def resized(old, backbone, width, **options):
    new = build_model(ModelConfig(backbone, 16, width), 5)
    resize_weights(old, new, **options)
    return new


def answers(model):
    return np.asarray(model(BATCH, training=False))


# 2.5 and 1.375 give channels other numbers of replicas.
@pytest.mark.parametrize("factor", [1.0, 1.375, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("backbone", ["small_cnn", "small_resnet"])
def test_a_wider_network_answers_as_before(backbone, factor):
    old = network(backbone, 1.0)

    wide = resized(old, backbone, factor)

    before = answers(old)
    assert np.ptp(before, axis=0).min() > 0.1  # it looks at the images
    np.testing.assert_allclose(answers(wide), before, atol=1e-4)
    assert (wide.count_params() > old.count_params()) == (factor > 1)


def test_replicas_are_divided_among_by_hand():
    def chain(hidden):
        inputs = keras.Input((1,))
        x = layers.Dense(hidden, activation="relu", name="hidden")(inputs)
        return keras.Model(inputs, layers.Dense(1, name="logits")(x))

    old, new = chain(2), chain(5)
    given = [[1.0, -2.0]], [0.5, 0.25], [[6.0], [8.0]], [1.0]
    old.set_weights([np.array(weight) for weight in given])

    resize_weights(old, new)

    # The first channel is there three times, the second twice.
    kernel, bias, out, out_bias = new.get_weights()
    np.testing.assert_array_equal(kernel, [[1, -2, 1, -2, 1]])
    np.testing.assert_array_equal(bias, [0.5, 0.25, 0.5, 0.25, 0.5])
    np.testing.assert_array_equal(out[:, 0], [2, 4, 2, 4, 2])
    np.testing.assert_array_equal(out_bias, [1])


@pytest.mark.parametrize("backbone", ["small_cnn", "small_resnet"])
def test_noise_parts_replicas_and_leaves_the_first_alone(backbone):
    old = network(backbone, 1.0)
    plain = resized(old, backbone, 2.0)

    noisy = resized(old, backbone, 2.0, noise=0.05, seed=1)

    for a, b in zip(plain.weights, noisy.weights, strict=True):
        half = a.shape[-1] // 2
        a, b = np.asarray(a), np.asarray(b)
        if a.ndim == 4:
            np.testing.assert_array_equal(a[..., :half], b[..., :half])
            drawn = (b - a)[..., half:]
            assert drawn.std() == pytest.approx(0.05 * a.std(), rel=0.2)
        else:
            np.testing.assert_array_equal(a, b)
    change = np.abs(answers(noisy) - answers(plain)).max()
    assert 0 < change < 0.2 * np.ptp(answers(plain))
    again = resized(old, backbone, 2.0, noise=0.05, seed=1)
    other = resized(old, backbone, 2.0, noise=0.05, seed=2)
    np.testing.assert_array_equal(answers(again), answers(noisy))
    assert (answers(other) != answers(noisy)).any()


def test_replicas_without_noise_stay_alike_and_with_it_do_not():
    def after_training(noise):
        wide = resized(network("small_cnn", 1.0), "small_cnn", 2.0, noise=noise)
        wide.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            run_eagerly=True,  # no graph is worth two steps
        )
        wide.fit(BATCH, np.arange(8) % 5, epochs=2, verbose=0)
        kernel = np.asarray(wide.get_layer("stage1_1_conv").kernel)
        half = kernel.shape[-1] // 2
        return np.abs(kernel[..., half:] - kernel[..., :half]).max()

    assert after_training(0.0) < 1e-5
    assert after_training(0.05) > 1e-3


@pytest.mark.parametrize("backbone", ["small_cnn", "small_resnet"])
def test_a_narrower_network_keeps_what_matters(backbone):
    """Channels that say nothing are those that go."""
    old = network(backbone, 1.0)
    random = np.random.default_rng(2)
    # In step within a sum: the shortcut and the convolution beside it.
    silent = {}
    for layer in old.layers:
        if isinstance(layer, layers.BatchNormalization):
            place = layer.name.replace("_shortcut_", "_2_")
            count = layer.gamma.shape[0]
            if place not in silent:
                silent[place] = random.permutation(count)[: count // 2]
            gamma, beta, mean, variance = layer.get_weights()
            gamma[silent[place]] = beta[silent[place]] = 0
            layer.set_weights([gamma, beta, mean, variance])

    narrow = resized(old, backbone, 0.5)

    np.testing.assert_allclose(answers(narrow), answers(old), atol=1e-4)
    assert narrow.count_params() < old.count_params() / 3


def test_widened_and_narrowed_again_it_has_a_channel_of_each():
    old = network("small_cnn", 0.5)

    again = resized(resized(old, "small_cnn", 1.0), "small_cnn", 0.5)

    kernels = [
        np.asarray(m.get_layer("stem_conv").kernel) for m in (old, again)
    ]
    for column in range(8):
        assert any(
            np.array_equal(kernels[1][..., column], kernels[0][..., k])
            for k in range(8)
        )


def test_layers_that_are_not_known_are_refused():
    def chain(kind):
        inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, kind(2, 3, padding="same", name="x")(inputs))

    old, new = (chain(layers.Conv2DTranspose) for _ in range(2))
    with pytest.raises(ValueError, match=r"Conv2DTranspose 'x'.*one of Inp"):
        resize_weights(old, new)
    with pytest.raises(ValueError, match="21 layers, the target 25"):
        resize_weights(network("small_cnn", 1.0), network("small_resnet", 1.0))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_cannot_be_resized_is_said(backbone):
    config = ModelConfig(backbone, BACKBONES[backbone].min_image_size)
    if backbone in ("small_cnn", "small_resnet"):
        check_resizable(config)
        return
    with pytest.raises(UsageError) as error:
        check_resizable(config)
    assert str(error.value) == (
        f"A trained {backbone} cannot be made wider or narrower: use one of "
        "small_cnn, small_resnet."
    )
