"""Expected calibration error by hand."""

import numpy as np
import pytest

from hierkeras.analysis.calibration import expected_calibration_error


def error(confidences, correct, **options):
    return expected_calibration_error(
        np.array(confidences), np.array(correct, bool), **options
    )


def test_bins_are_weighed_by_their_images():
    # [0.5, 1]: mean confidence 0.8, accuracy 2/3; [0, 0.5): 0.4 and 0.
    found = error([0.9, 0.8, 0.7, 0.4], [1, 1, 0, 0], num_bins=2)

    assert found == pytest.approx(3 / 4 * (0.8 - 2 / 3) + 1 / 4 * 0.4)


def test_errors_within_a_bin_cancel_and_between_bins_do_not():
    assert error([0.5, 0.5], [1, 0]) == pytest.approx(0.0)
    assert error([0.2, 0.8], [1, 0]) == pytest.approx(0.8)


def test_full_confidence_is_in_the_last_bin():
    assert error([1.0, 1.0], [1, 1]) == 0.0
    assert error([1.0, 1.0], [0, 0]) == 1.0
