import numpy as np
import pytest
import tensorflow as tf

from hierkeras.data.memory import ImageMemory

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), np.uint8)


@pytest.fixture
def memory():
    """Examples 2, 5 and 9, then 0 and 4."""
    memory = ImageMemory(len(IMAGES))
    for indices in ([2, 5, 9], [0, 4]):
        batches = [tf.constant(IMAGES[indices[:2]])]
        batches += [tf.constant(IMAGES[[index]]) for index in indices[2:]]
        memory.add(np.array(indices), batches)
    return memory


@pytest.mark.parametrize(
    ("indices", "held"),
    [([2, 9], True), ([0, 5], True), ([2, 3], False), ([], True)],
)
def test_holds_what_was_added(memory, indices, held):
    assert memory.holds(np.array(indices, np.int64)) == held


@pytest.mark.parametrize("indices", [[9, 2, 5], [4], [4, 9, 0, 2, 9]])
def test_gathers_by_position_in_the_list(memory, indices):
    positions = [0, len(indices) - 1, 0]

    images = memory.loader(np.array(indices))(tf.constant(positions, tf.int64))

    expected = IMAGES[[indices[position] for position in positions]]
    np.testing.assert_array_equal(images, expected)


@pytest.mark.parametrize("parts", [1, 2])
def test_images_are_no_constants_of_a_graph(parts):
    """As constants they would be copied, and limited to 2 GB."""
    images = np.zeros((20, 64, 64, 3), np.uint8)
    memory = ImageMemory(len(images))
    for indices in np.split(np.arange(len(images)), parts):
        memory.add(indices, [tf.constant(images[indices])])
    load = tf.function(memory.loader(np.arange(len(images))))

    graph = load.get_concrete_function(tf.TensorSpec([8], tf.int64))

    assert graph.output_shapes == (8, 64, 64, 3)
    assert graph.graph.as_graph_def().ByteSize() < images[0].nbytes
