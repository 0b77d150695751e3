"""Curves of precision against recall, read back."""

import contextlib

import numpy as np
import tensorflow as tf
from etils import epath
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from hierkeras.analysis import precision_recall
from hierkeras.training.tensorboard import RunWriter

LABELS = np.array([0, 0, 1, 1, 3], np.int32)
# Of class 0 one of two is right, of 1 both; 2 has no image; 3 is missed.
PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0, 0.0],
        [0.3, 0.7, 0.0, 0.0],
        [0.4, 0.6, 0.0, 0.0],
        [0.0, 1.0 + 1e-6, 0.0, 0.0],
        [0.2, 0.1, 0.5, 0.2],
    ],
    np.float32,
)


def test_the_hardest_classes_come_first():
    def hardest(most):
        return precision_recall.hardest(PROBABILITIES, LABELS, most)

    assert hardest(9) == [3, 0, 1]
    assert hardest(2) == [3, 0]


def test_a_curve_is_counted_from_the_answers(tmp_path):
    with (
        contextlib.closing(RunWriter(epath.Path(tmp_path))) as writer,
        writer.as_default(step=2),
    ):
        precision_recall.write(PROBABILITIES, LABELS, "abcd", 2)

    events = EventAccumulator(str(tmp_path)).Reload()
    tags = {f"precision_recall/{name}/pr_curves" for name in "abd"}
    assert set(events.Tags()["tensors"]) == tags
    [event] = events.Tensors("precision_recall/b/pr_curves")
    assert event.step == 2
    counts = tf.make_ndarray(event.tensor_proto)
    assert counts.shape == (6, 101)
    for threshold in (0.05, 0.35, 0.65, 0.95):
        above = PROBABILITIES[:, 1] >= threshold
        hits, named = (above & (LABELS == 1)).sum(), above.sum()
        # Precision and recall follow the four counts.
        precision, recall = counts[4:, round(100 * threshold)]
        np.testing.assert_allclose(precision, hits / named, rtol=1e-6)
        np.testing.assert_allclose(recall, hits / 2, rtol=1e-6)
