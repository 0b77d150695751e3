"""Runs a SavedModel through TensorFlow's C API.

This is the loader that TensorFlow Serving uses. Nothing here imports
TensorFlow's Python: the library is found in the installed package and called
through ctypes, so a SavedModel that runs here needs neither Keras nor this
project. Run as a program, it answers a request in a process of its own:

    python -m hierkeras.serving.checks.c_api < REQUEST > ANSWER

The C API is described in
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/c/c_api.h
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

# DataType of tensorflow/core/framework/types.proto.
_DATA_TYPES = {1: np.float32, 3: np.int32, 4: np.uint8, 9: np.int64}
_STRING = 7
_TSTRING_BYTES = 24
_TAG = b"serve"
# ConfigProto.graph_options.rewrite_options.disable_meta_optimizer = true, by
# the numbers of tensorflow/core/protobuf/{config,rewriter_config}.proto.
_AS_WRITTEN = bytes([10 << 3 | 2, 5, 10 << 3 | 2, 3, 0x98, 0x01, 1])


class CApiError(RuntimeError):
    """What TensorFlow's C API answered instead of a result."""


class SavedModel:
    """A SavedModel loaded through the C API.

    Args:
        path: Its folder.
        optimized: Whether TensorFlow rewrites the graph, as TensorFlow
            Serving has it; that takes seconds before the first answer.

    Raises:
        CApiError: If it cannot be loaded.
    """

    def __init__(self, path: str, *, optimized: bool = True) -> None:
        self._library = library = _library()
        self._graph = library.TF_NewGraph()
        self._status = library.TF_NewStatus()
        options = library.TF_NewSessionOptions()
        if not optimized:
            library.TF_SetConfig(
                options, _AS_WRITTEN, len(_AS_WRITTEN), self._status
            )
            self._check()
        meta_graph = library.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(_TAG)
        self._session = library.TF_LoadSessionFromSavedModel(
            *(options, None, os.fsencode(path), tags, len(tags)),
            *(self._graph, meta_graph, self._status),
        )
        self._check()
        buffer = meta_graph.contents
        self.meta_graph = ctypes.string_at(buffer.data, buffer.length)
        library.TF_DeleteBuffer(meta_graph)
        library.TF_DeleteSessionOptions(options)

    def run(
        self, inputs: dict[str, np.ndarray], outputs: list[str]
    ) -> list[np.ndarray]:
        """Runs the graph.

        Args:
            inputs: Tensor name, as `serve_images:0`, to value; bytes in an
                object array are strings.
            outputs: Tensor names.

        Raises:
            CApiError: If it cannot be run.
        """
        library = self._library
        values = [_to_tensor(library, array) for array in inputs.values()]
        given = (ctypes.c_void_p * len(values))(*values)
        wanted = (ctypes.c_void_p * len(outputs))()
        library.TF_SessionRun(
            *(self._session, None),
            *(self._places(list(inputs)), given, len(values)),
            *(self._places(outputs), wanted, len(outputs)),
            *(None, 0, None, self._status),
        )
        for value in values:
            library.TF_DeleteTensor(value)
        self._check()
        tensors = [tensor for tensor in wanted if tensor is not None]
        results = [_to_array(library, tensor) for tensor in tensors]
        for tensor in tensors:
            library.TF_DeleteTensor(tensor)
        return results

    def operations(self) -> Iterator[str]:
        """Yields the types of the graph's operations, functions left out."""
        position = ctypes.c_size_t(0)
        while operation := self._library.TF_GraphNextOperation(
            self._graph, ctypes.byref(position)
        ):
            yield self._library.TF_OperationOpType(operation).decode()

    def _places(self, names: list[str]) -> ctypes.Array:
        places = (_Output * len(names))()
        for place, name in zip(places, names, strict=True):
            operation, _, number = name.partition(":")
            if not number.isdecimal() and number:
                raise CApiError(f"{name!r} names no output of an operation")
            place.operation = self._library.TF_GraphOperationByName(
                self._graph, operation.encode()
            )
            if not place.operation:
                raise CApiError(f"the graph has no operation {operation!r}")
            place.index = int(number or 0)
        return places

    def _check(self) -> None:
        if self._library.TF_GetCode(self._status):
            message = self._library.TF_Message(self._status)
            raise CApiError(message.decode(errors="replace"))


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


_POINTER, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
_TEXT = ctypes.c_char_p
_TENSORS = ctypes.POINTER(_Output), ctypes.POINTER(_POINTER), _INT
# By function what it returns, then what it takes. Without these ctypes would
# pass pointers as 32-bit numbers.
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "TF_NewGraph": (_POINTER,),
    "TF_NewStatus": (_POINTER,),
    "TF_GetCode": (_INT, _POINTER),
    "TF_Message": (_TEXT, _POINTER),
    "TF_SetConfig": (None, _POINTER, _TEXT, _SIZE, _POINTER),
    "TF_NewSessionOptions": (_POINTER,),
    "TF_DeleteSessionOptions": (None, _POINTER),
    "TF_NewBuffer": (ctypes.POINTER(_Buffer),),
    "TF_DeleteBuffer": (None, ctypes.POINTER(_Buffer)),
    "TF_LoadSessionFromSavedModel": (
        *(_POINTER, _POINTER, _POINTER),
        *(_TEXT, ctypes.POINTER(_TEXT), _INT),
        *(_POINTER, ctypes.POINTER(_Buffer), _POINTER),
    ),
    "TF_SessionRun": (
        *(None, _POINTER, _POINTER),
        *(*_TENSORS, *_TENSORS),
        *(_POINTER, _INT, _POINTER, _POINTER),
    ),
    "TF_GraphOperationByName": (_POINTER, _POINTER, _TEXT),
    "TF_GraphNextOperation": (_POINTER, _POINTER, ctypes.POINTER(_SIZE)),
    "TF_OperationOpType": (_TEXT, _POINTER),
    "TF_AllocateTensor": (
        *(_POINTER, _INT, ctypes.POINTER(ctypes.c_int64), _INT, _SIZE),
    ),
    "TF_DeleteTensor": (None, _POINTER),
    "TF_TensorData": (_POINTER, _POINTER),
    "TF_TensorType": (_INT, _POINTER),
    "TF_TensorByteSize": (_SIZE, _POINTER),
    "TF_NumDims": (_INT, _POINTER),
    "TF_Dim": (ctypes.c_int64, _POINTER, _INT),
    "TF_StringInit": (None, _POINTER),
    "TF_StringCopy": (None, _POINTER, _TEXT, _SIZE),
    "TF_StringGetSize": (_SIZE, _POINTER),
    "TF_StringGetDataPointer": (_POINTER, _POINTER),
}


def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("tensorflow")  # does not import it
    if found is None or found.origin is None:
        raise CApiError("TensorFlow is not installed")
    folder = Path(found.origin).parent
    names = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
    there = [folder / name for name in names if (folder / name).exists()]
    if not there:
        raise CApiError(f"{folder} has no {names[0]}")
    library = ctypes.CDLL(str(there[0]))
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _to_tensor(library: ctypes.CDLL, value: np.ndarray) -> int:
    is_string = value.dtype == object
    value = value if is_string else np.ascontiguousarray(value)
    shape = (ctypes.c_int64 * value.ndim)(*value.shape)
    data_type = (
        _STRING
        if is_string
        else next(k for k, v in _DATA_TYPES.items() if v == value.dtype)
    )
    size = value.size * _TSTRING_BYTES if is_string else value.nbytes
    tensor = library.TF_AllocateTensor(data_type, shape, value.ndim, size)
    data = library.TF_TensorData(tensor)
    if not is_string:
        ctypes.memmove(data, value.ctypes.data, value.nbytes)
        return tensor
    for number, content in enumerate(value.flat):
        place = data + number * _TSTRING_BYTES
        library.TF_StringInit(place)
        library.TF_StringCopy(place, content, len(content))
    return tensor


def _to_array(library: ctypes.CDLL, tensor: int) -> np.ndarray:
    shape = [
        library.TF_Dim(tensor, axis)
        for axis in range(library.TF_NumDims(tensor))
    ]
    data_type = library.TF_TensorType(tensor)
    data = library.TF_TensorData(tensor)
    if data_type not in (_STRING, *_DATA_TYPES):
        raise CApiError(f"an output is of the unknown data type {data_type}")
    if data_type != _STRING:
        raw = ctypes.string_at(data, library.TF_TensorByteSize(tensor))
        return np.frombuffer(raw, _DATA_TYPES[data_type]).reshape(shape)
    strings = [
        ctypes.string_at(
            library.TF_StringGetDataPointer(place),
            library.TF_StringGetSize(place),
        )
        for place in range(
            data, data + _TSTRING_BYTES * int(np.prod(shape)), _TSTRING_BYTES
        )
    ]
    return np.array(strings, dtype=object).reshape(shape)


class Tensor(msgspec.Struct, frozen=True):
    """An array between processes.

    Args:
        dtype: NumPy's name of it, or `string`.
        shape: Its shape.
        values: Its values in row order: their bytes, or a list of strings.
    """

    dtype: str
    shape: tuple[int, ...]
    values: bytes | list[bytes]

    @classmethod
    def of(cls, array: np.ndarray) -> Tensor:
        """Packs an array."""
        if array.dtype == object:
            return cls("string", array.shape, list(array.flat))
        return cls(array.dtype.name, array.shape, array.tobytes())

    def array(self) -> np.ndarray:
        """Unpacks the array."""
        if isinstance(self.values, list):
            flat = np.empty(len(self.values), object)
            flat[:] = self.values
        else:
            flat = np.frombuffer(self.values, self.dtype)
        return flat.reshape(self.shape)


class Request(msgspec.Struct, frozen=True):
    """What a run of this program is to do, once or several times.

    Args:
        path: The SavedModel.
        runs: For each run the inputs by tensor name, and the names of the
            outputs.
    """

    path: str
    runs: list[tuple[dict[str, Tensor], list[str]]]


def answer(request: Request) -> list[list[Tensor]]:
    """The outputs of each run of a request."""
    model = SavedModel(request.path)
    return [
        [
            Tensor.of(output)
            for output in model.run(
                {name: tensor.array() for name, tensor in inputs.items()},
                outputs,
            )
        ]
        for inputs, outputs in request.runs
    ]


def main() -> None:
    """Answers the request on stdin, on stdout."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    try:
        answered = answer(request)
    except CApiError as error:
        sys.exit(f"error: {error}")
    if "tensorflow" in sys.modules:
        sys.exit("error: TensorFlow's Python was loaded")
    sys.stdout.buffer.write(msgspec.msgpack.encode(answered))


if __name__ == "__main__":
    main()
