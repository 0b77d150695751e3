"""What of `saved_model.pb` is read without TensorFlow's Python.

Its messages as far as they are needed, under the names and numbers of
https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core: files
`protobuf/saved_model.proto`, `meta_graph.proto` and `saver.proto`,
`framework/graph.proto`, `function.proto`, `op_def.proto`, `node_def.proto` and
`attr_value.proto`. Every other field is passed over.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "hierkeras"
# By message its fields: type, name and number, as in a .proto file.
_MESSAGES = {
    "SavedModel": ("repeated MetaGraphDef meta_graphs 2",),
    "MetaGraphDef": (
        "GraphDef graph_def 2",
        "SaverDef saver_def 3",
        "map CollectionDef collection_def 4",
        "map SignatureDef signature_def 5",
        "repeated AssetFileDef asset_file_def 6",
    ),
    "GraphDef": ("repeated NodeDef node 1", "FunctionDefLibrary library 2"),
    "FunctionDefLibrary": ("repeated FunctionDef function 1",),
    "FunctionDef": (
        "OpDef signature 1",
        "repeated NodeDef node_def 3",
        "map AttrValue attr 5",
    ),
    "OpDef": ("string name 1", "repeated ArgDef input_arg 2"),
    "ArgDef": ("string name 1",),
    "NodeDef": (
        "string name 1",
        "string op 2",
        "repeated string input 3",
        "map AttrValue attr 5",
    ),
    "AttrValue": ("ListValue list 1", "NameAttrList func 10"),
    "ListValue": ("repeated NameAttrList func 9",),
    "NameAttrList": ("string name 1", "map AttrValue attr 2"),
    "SaverDef": (
        "string filename_tensor_name 1",
        "string save_tensor_name 2",
        "string restore_op_name 3",
    ),
    "CollectionDef": ("NodeList node_list 1",),
    "NodeList": ("repeated string value 1",),
    "SignatureDef": ("map TensorInfo inputs 1", "map TensorInfo outputs 2"),
    "TensorInfo": ("string name 1",),
    "AssetFileDef": ("string filename 2",),
}


@functools.cache
def message_type(name: str) -> Any:
    """The class of a message.

    Args:
        name: Its name in TensorFlow, e.g. `MetaGraphDef`.
    """
    return message_factory.GetMessageClass(
        _pool().FindMessageTypeByName(f"{_PACKAGE}.{name}")
    )


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}/saved_model.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, *field.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: Any, *words: str) -> None:
    *label, kind, name, number = words
    if label == ["map"]:
        kind = _add_entry(message, name, kind)
    field = message.field.add(
        name=name,
        number=int(number),
        label=_FIELD.LABEL_REPEATED if label else _FIELD.LABEL_OPTIONAL,
    )
    if kind == "string":
        field.type = _FIELD.TYPE_STRING
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


def _add_entry(message: Any, name: str, to: str) -> str:
    """Adds what protoc makes of the entries of a field `map<string, to>`."""
    camel = re.sub(r"(?:^|_)(\w)", lambda found: found[1].upper(), name)
    entry = message.nested_type.add(name=f"{camel}Entry")
    entry.options.map_entry = True
    _add_field(entry, "string", "key", "1")
    _add_field(entry, to, "value", "2")
    return f"{message.name}.{entry.name}"
