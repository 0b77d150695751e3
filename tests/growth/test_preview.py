import numpy as np
import pytest
from scipy import sparse

from hierkeras.growth.preview import confusion_rates

# Of four images of class 0 the model takes two for its first output, one of
# them in a tie; class 1 has no image; class 2 has one.
OUTPUTS = np.array(
    [[0.6, 0.4], [0.5, 0.5], [0.1, 0.9], [0.4, 0.6], [0.2, 0.8]], np.float32
)
LABELS = np.array([0, 0, 0, 0, 2])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ("hard", [[0.5, 0.5], [0, 0], [0, 1]]),
        ("soft", [[0.4, 0.6], [0, 0], [0.2, 0.8]]),
    ],
)
def test_rates_by_hand(counts, expected):
    rates = confusion_rates(OUTPUTS, LABELS, 3, counts)

    dense = sparse.csr_array(rates).toarray()
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_the_order_of_the_images_does_not_matter():
    order = [4, 2, 0, 3, 1]

    np.testing.assert_allclose(
        confusion_rates(OUTPUTS[order], LABELS[order], 3, "soft"),
        confusion_rates(OUTPUTS, LABELS, 3, "soft"),
    )
