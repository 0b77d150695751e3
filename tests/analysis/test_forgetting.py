import pytest

from hierkeras.analysis.forgetting import (
    average_forgetting,
    average_incremental_accuracy,
)


def test_average_incremental_accuracy_counts_every_step():
    assert average_incremental_accuracy([0.9, 0.6, 0.3]) == pytest.approx(0.6)


def test_forgetting_is_from_the_best_accuracy_before():
    accuracies = [[0.9], [0.7, 0.8], [0.4, 0.85, 0.6]]
    # 0.9 - 0.4 of the first batch, 0.8 - 0.85 of the second; the last batch
    # cannot have been forgotten.
    assert average_forgetting(accuracies) == pytest.approx((0.5 - 0.05) / 2)


def test_the_best_need_not_be_the_first():
    accuracies = [[0.5], [0.9, 0.8], [0.6, 0.8, 0.7]]
    assert average_forgetting(accuracies) == pytest.approx((0.3 + 0.0) / 2)


def test_one_step_forgets_nothing():
    assert average_forgetting([[0.9]]) is None


@pytest.mark.parametrize("rows", [[[0.9], [0.8]], [[0.9, 0.8]]])
def test_rows_that_are_no_stream_are_refused(rows):
    with pytest.raises(ValueError, match="rows of 1, 2, 3"):
        average_forgetting(rows)
