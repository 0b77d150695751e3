import keras
import numpy as np
import pytest

from hierkeras.models.lrn import LocalResponseNormalization


def test_a_hand_worked_example():
    layer = LocalResponseNormalization(depth_radius=1, bias=1, alpha=1, beta=1)
    channels = np.array([1, 2, 3], "float32").reshape(1, 1, 1, 3)
    np.testing.assert_allclose(
        np.ravel(layer(channels)),
        [1 / (1 + 1 + 4), 2 / (1 + 1 + 4 + 9), 3 / (1 + 4 + 9)],
        rtol=1e-5,
    )


def test_the_defaults_are_krizhevsky_s():
    activations = np.random.default_rng(0).normal(0, 100, (2, 3, 3, 7))
    expected = np.empty_like(activations)
    for i in range(7):
        window = activations[..., max(0, i - 2) : i + 3]
        sum_of_squares = np.square(window).sum(axis=-1)
        expected[..., i] = (
            activations[..., i] / (2 + 1e-4 * sum_of_squares) ** 0.75
        )
    layer = LocalResponseNormalization()
    np.testing.assert_allclose(
        layer(activations.astype("float32")), expected, rtol=1e-4
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_it_computes_in_float32_and_returns_the_policy_s_dtype(policy):
    # The square of 300 is beyond float16.
    activations = np.full((1, 1, 1, 5), 300, "float32")
    mixed = LocalResponseNormalization(dtype=policy)(activations)
    exact = LocalResponseNormalization()(activations)
    assert mixed.dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(mixed, keras.ops.cast(exact, mixed.dtype))


def test_a_model_with_it_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((2, 2, 6))
    layer = LocalResponseNormalization(
        depth_radius=1, bias=3.0, alpha=0.5, beta=0.6
    )
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.layers[1].get_config() == layer.get_config()
    activations = np.random.default_rng(0).normal(size=(2, 2, 2, 6))
    np.testing.assert_array_equal(loaded(activations), model(activations))
