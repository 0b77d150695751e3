"""Reads a SavedModel before it is loaded, and refuses what no export holds.

A SavedModel is a program: as it is loaded and asked it may read and write
files, talk to other machines and call Python. An export does none of that, so
every operation of the graph and of its functions, in every MetaGraph, has to
be of a type that computes and nothing else.

What restores the variables reads files, and stands in the graph, too. It is
allowed where the loader, and nobody else, runs it on the folder that is being
loaded:

    saver_filename   Placeholder, which the loader feeds
        +-> the node `saver_def.restore_op_name` -> a function: RestoreV2
        +-> the node `saver_def.save_tensor_name` -> a function: SaveV2; never
            run
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath
from google.protobuf.message import DecodeError

from hierkeras._errors import UserError
from hierkeras.serving.trust import operations
from hierkeras.serving.trust.messages import message_type
from hierkeras.tree.names import shown

_FILE = "saved_model.pb"
_FOLDERS = ("variables", "assets.extra")
_MAIN_OP = "saved_model_main_op"
# Most bytes of a message of protocol buffers.
_MOST_BYTES = 2**31 - 1
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# By it TensorFlow may call one function in place of another.
_SWAPPED_BY = "api_implements"


class Untrusted(UserError):
    """A SavedModel that could do more than an export can."""


def check(path: str) -> None:
    """Refuses a SavedModel that could do more than an export can.

    It says what the graph may do, not that its answers are right.

    Args:
        path: Its folder, of any kind that `etils.epath` knows.

    Raises:
        Untrusted: If it could.
        OSError: If it cannot be read.
    """
    try:
        _check_files(epath.Path(path))
        content = (epath.Path(path) / _FILE).read_bytes()
        try:
            saved_model = message_type("SavedModel").FromString(content)
        except DecodeError:
            raise OSError(f"Cannot parse file {path}/{_FILE}") from None
        for meta_graph in saved_model.meta_graphs:
            _MetaGraph(meta_graph).check()
    except _Found as found:
        raise Untrusted(
            f"{path} is not loaded: {found}, which no export of hierkeras "
            "does; a SavedModel is a program: give --trust if you trust who "
            "made it"
        ) from None


class _Found(Exception):
    """What no export holds, and where."""


def _check_files(folder: epath.Path) -> None:
    """Checks that what is loaded are files, which end."""
    names = [entry.name for entry in folder.iterdir()]
    for name in names:
        # TensorFlow has other names for the same, of which it takes one.
        if name.startswith("saved_model.") and name != _FILE:
            raise _Found(f"it holds a file {shown(name)}")
    if _FILE not in names:
        raise _Found(f"it does without {_FILE}")
    if "://" in os.fspath(folder):
        return  # an object store has nothing else
    if os.stat(folder / _FILE).st_size > _MOST_BYTES:
        raise _Found(f"it holds {_FILE} of more than 2 GB")
    loaded = [folder / _FILE]
    for below in (folder / name for name in _FOLDERS):
        if below.is_dir():
            loaded += below.iterdir()
    for file in loaded:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise _Found(f"it holds {shown(file.name)}, no regular file")


class _MetaGraph:
    """One graph of a SavedModel, its functions and its signatures.

    Args:
        meta_graph: A `MetaGraphDef`.
    """

    def __init__(self, meta_graph: Any) -> None:
        self._meta_graph = meta_graph
        self._nodes = meta_graph.graph_def.node
        self._functions = meta_graph.graph_def.library.function
        saver = meta_graph.saver_def
        self._filename = _node_name(saver.filename_tensor_name)
        self._restore = _node_name(saver.restore_op_name)
        # Nodes, by name, that belong to the loader.
        self._savers = {
            name
            for name in (_node_name(saver.save_tensor_name), self._restore)
            if name
        }

    def check(self) -> None:
        """Raises `_Found` for the first thing that no export holds."""
        restoring, saving = self._saver_functions()
        self._check_ends()
        self._check_main(restoring | saving)
        for function in self._functions:
            name = function.signature.name
            if name in operations.RESTORING | operations.SAVING:
                # A node of that type would call it.
                raise _Found(f"it holds a function called {name}")
            if name in restoring:
                allowed = operations.RESTORING
                _check_restoring(function)
            elif name in saving:
                allowed = operations.SAVING
            else:
                allowed = operations.PURE
            if name in restoring | saving and _SWAPPED_BY in function.attr:
                raise _Found(f"its saver has a function with {_SWAPPED_BY}")
            _check_nodes(
                function.node_def,
                allowed,
                restoring | saving,
                f"in function {shown(name)}",
            )

    def _saver_functions(self) -> tuple[set[str], set[str]]:
        """The functions that restore and that save variables."""
        restoring: set[str] = set()
        saving: set[str] = set()
        name = self._filename
        for node in self._nodes:
            if node.name not in self._savers or node.op not in _CALLS:
                continue
            called = set(_called(node))
            if node.name != self._restore:
                saving |= called
                continue
            restoring |= called
            # Not as a control input, which would leave the place to another.
            if node.input[:1] not in ([name], [f"{name}:0"]):
                raise _Found("its restore op reads a file of its own")
        return restoring, saving

    def _check_ends(self) -> None:
        """Checks what a loader and a client may feed, fetch and run."""
        if self._meta_graph.asset_file_def:
            raise _Found("it holds assets")
        fetched: list[str] = []
        for key, collection in self._meta_graph.collection_def.items():
            if key != _MAIN_OP:
                raise _Found(f"it holds a collection {shown(key)}")
            fetched += collection.node_list.value
        for signature in self._meta_graph.signature_def.values():
            for tensors in (signature.inputs, signature.outputs):
                fetched += [tensor.name for tensor in tensors.values()]
        self._check_apart(fetched, "a signature")

    def _check_main(self, saver_functions: set[str]) -> None:
        for node in self._nodes:
            is_saver = node.name in self._savers
            if is_saver and node.op not in _CALLS:
                raise _Found(
                    f"it saves or restores by an operation {shown(node.op)}"
                )
            if node.name == self._filename and node.op != "Placeholder":
                raise _Found("it computes the name of the file to restore")
            sources = list(node.input)
            if is_saver:  # they take the file's name, but not each other
                sources = [
                    name
                    for name in sources
                    if _node_name(name) != self._filename
                ]
            self._check_apart(sources, f"node {shown(node.name)}")
        _check_nodes(
            [node for node in self._nodes if node.name not in self._savers],
            operations.PURE,
            saver_functions,
            "in the graph",
        )

    def _check_apart(self, names: Iterable[str], what: str) -> None:
        """Checks that nothing of the loader's is used by somebody else."""
        own = self._savers | {self._filename}
        for name in names:
            if (node := _node_name(name)) and node in own:
                raise _Found(f"{what} uses the saver's {shown(node)}")


def _check_nodes(
    nodes: Iterable[Any], allowed: frozenset[str], hidden: set[str], where: str
) -> None:
    for node in nodes:
        if node.op not in allowed:
            raise _Found(f"it holds operation {shown(node.op)} {where}")
        for name in _called(node):
            if name in hidden:
                raise _Found(f"it calls the saver's {shown(name)} {where}")


def _check_restoring(function: Any) -> None:
    """Checks that it restores from the file that the loader names."""
    prefix = next((arg.name for arg in function.signature.input_arg), None)
    for node in function.node_def:
        is_of_another = node.op == "RestoreV2" and node.input[:1] != [prefix]
        if is_of_another or node.name == prefix:
            raise _Found(
                "its operation RestoreV2 reads another file in function "
                f"{shown(function.signature.name)}"
            )


def _called(node: Any) -> Iterator[str]:
    """The functions that a node, or an attribute of one, names."""
    waiting = list(node.attr.values())
    while waiting:
        value = waiting.pop()
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                waiting += function.attr.values()


def _node_name(tensor: str) -> str:
    """The node that a tensor, or a control input, comes from."""
    return tensor.removeprefix("^").partition(":")[0]
