"""A model whose rows say how long it takes, for ever included."""

from pathlib import Path

FOR_EVER = b"-1"


def write(folder: Path) -> Path:
    """Writes it as a SavedModel.

    Each row is the number of turns that it costs, in digits, and is answered
    with it.
    """
    import tensorflow as tf

    def toil(row):
        most = tf.strings.to_number(row, tf.int64)
        return tf.while_loop(
            lambda turn: (turn < most) | (most < 0),
            lambda turn: turn + 1,
            [tf.zeros([], tf.int64)],
        )[0]

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")],
    )
    def answer(rows):
        turns = tf.map_fn(
            toil, rows, fn_output_signature=tf.TensorSpec([], tf.int64)
        )
        return {"turns": turns}

    module = tf.Module()
    module.answer = answer
    tf.saved_model.save(module, str(folder), signatures=answer)
    return folder
