"""Which devices: names are checked, and one strategy serves a process."""

import pytest
import tensorflow as tf

from hierkeras._errors import UsageError
from hierkeras.training.strategy import check_batch_size, choose_strategy


def test_an_unknown_device_is_answered_with_those_present():
    with pytest.raises(UsageError, match=r"'GPU:77'; present are .*CPU:0"):
        choose_strategy(("GPU:77",))


def test_a_named_device_is_the_one_used():
    strategy = choose_strategy(("CPU:0",))

    assert strategy.num_replicas_in_sync == 1
    assert strategy.extended.worker_devices[0].endswith("CPU:0")


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU"
)
def test_without_a_gpu_there_is_no_strategy():
    assert not tf.distribute.has_strategy()
    with choose_strategy().scope():
        assert not tf.distribute.has_strategy()


def test_a_batch_is_divided_equally():
    check_batch_size(64, 1)
    check_batch_size(63, 1)
    check_batch_size(64, 2)
    with pytest.raises(UsageError, match=r"=63 .* 2 devices; .* multiple of 2"):
        check_batch_size(63, 2)
