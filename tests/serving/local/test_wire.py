"""Fields are counted before a message is parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import classification_pb2, predict_pb2

from hierkeras.serving.local.errors import ServingError
from hierkeras.serving.local.wire import check_fields

PREDICT = predict_pb2.PredictRequest


def fields(message):
    """How many it has, as the parser sees it."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is None:
            # Numbers of a kind are packed: one field.
            is_each = field.is_repeated and field.type == field.TYPE_BYTES
            is_each |= field.is_repeated and field.type == field.TYPE_STRING
            count += len(value) if is_each else 1
        elif field.message_type.GetOptions().map_entry:
            for one in value.values():
                count += 3 + fields(one)  # the entry, its key, its value
        else:
            values = value if field.is_repeated else [value]
            count += sum(1 + fields(one) for one in values)
    return count


def check_counted(message):
    serialised, count = message.SerializeToString(), fields(message)
    check_fields(serialised, message.DESCRIPTOR, count)
    with pytest.raises(ServingError, match=f"more than {count - 1} fields"):
        check_fields(serialised, message.DESCRIPTOR, count - 1)


def predict_request():
    request = PREDICT()
    request.model_spec.name = "animals"
    request.model_spec.version.value = 300
    request.output_filter.extend(["a", "b"])
    rows = request.inputs["image_bytes"]
    rows.tensor_shape.dim.add(size=3)
    rows.string_val.extend([b"", b"x" * 200, b"\x0a\x01x"])
    request.inputs["numbers"].CopyFrom(
        TensorProto(float_val=[1, 2], int_val=[1, -1], double_val=[3.5])
    )
    return request


def test_fields_of_all_levels_count():
    check_counted(predict_request())
    request = classification_pb2.ClassificationRequest()
    for size in range(3):
        example = request.input.example_list.examples.add()
        feature = example.features.feature["image/encoded"]
        feature.bytes_list.value.extend([b"y"] * size)
        example.features.feature["n"].int64_list.value.append(2**62)
    check_counted(request)


def test_rows_of_a_byte_are_not_looked_at_for_long():
    request = PREDICT()
    request.inputs["x"].string_val.extend([b"x"] * 1_000_000)
    serialised = request.SerializeToString()
    with pytest.raises(ServingError, match="--max_rows"):
        check_fields(serialised, PREDICT.DESCRIPTOR, 1000)


def test_numbers_count_that_grow_as_they_are_parsed():
    request = PREDICT()
    tensor = request.inputs["x"]
    tensor.float_val.extend([1] * 100_000)
    tensor.tensor_content = bytes(100_000)
    check_fields(request.SerializeToString(), PREDICT.DESCRIPTOR, 10)
    tensor.int64_val.extend([1] * 100_000)
    check_fields(request.SerializeToString(), PREDICT.DESCRIPTOR, 1600)
    with pytest.raises(ServingError, match="as tensor_content"):
        check_fields(request.SerializeToString(), PREDICT.DESCRIPTOR, 1500)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_what_is_damaged_is_looked_at_to_its_end(damage, place):
    whole = predict_request().SerializeToString()
    for message in damage, whole[:place] + damage + whole[place:]:
        check_fields(message, PREDICT.DESCRIPTOR, len(message))


@given(st.binary(max_size=100))
def test_groups_hide_nothing(inside):
    # Field 9 as a group: the parser makes objects of what is in it, too.
    message = b"\x4b" * 50 + inside
    with pytest.raises(ServingError):
        check_fields(message, PREDICT.DESCRIPTOR, 49)
