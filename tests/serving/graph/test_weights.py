"""Weights that a served tree stores, each once."""

import numpy as np

from hierkeras.serving.graph.weights import Weights


def test_equal_content_is_stored_once(make_model):
    one, same, other = make_model(3, 0), make_model(3, 0), make_model(3, 1)
    # The kernels of the second convolution are its only large weight.
    kernel = 3 * 3 * 16 * 48

    def stored(*models):
        return sum(int(np.prod(v.shape)) for v in Weights(models).variables)

    assert stored(one) == stored(one, same) == kernel
    assert stored(one, other) == 2 * kernel


def test_a_network_gets_its_weights_back(make_model, images):
    models = [make_model(3, seed) for seed in range(3)]
    weights = Weights(models)
    batch = images[:5].astype(np.float32)
    for model in models:
        (logits,) = weights.call(model, [batch])
        np.testing.assert_allclose(logits, model(batch), atol=1e-6)
