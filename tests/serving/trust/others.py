"""SavedModels that somebody else could have made, and what they do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

SECRET = "what only this machine knows"
OUTPUTS = ("classes", "scores", "path")


class Places:
    """A file that must not be read, and one that must not be written.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.secret = folder / "secret"
        self.secret.write_text(SECRET)
        self.written = folder / "written"


def answer(images: tf.Tensor, name: str | tf.Tensor) -> dict[str, tf.Tensor]:
    """An answer of the right form that names one class for every image."""
    rows = tf.size(images)
    return {
        "classes": tf.fill([rows, 1], name),
        "scores": tf.ones([rows, 1]),
        "path": tf.fill([rows], "root"),
    }


def signature(call: Callable) -> Callable:
    """A `serving_default` as an export has it."""
    spec = tf.TensorSpec([None], tf.string, "image_bytes")
    return tf.function(call, input_signature=[spec], autograph=False)


def save(folder: Path, call: Callable, module: tf.Module | None = None) -> Path:
    """Saves a model whose signature calls a function."""
    module = module or tf.Module()
    module.call = signature(call)
    tf.saved_model.save(module, str(folder), module.call)
    return folder


def harmless(folder: Path, places: Places) -> Path:
    """One that does what an export does."""
    module = tf.Module()
    module.names = tf.Variable(["a bee"])
    return save(folder, lambda x: answer(x, module.names[0]), module)


def reads(folder: Path, places: Places) -> Path:
    """One that answers with what is in a file."""
    return save(
        folder, lambda x: answer(x, tf.io.read_file(str(places.secret)))
    )


def lists(folder: Path, places: Places) -> Path:
    """One that answers with the names of files."""
    pattern = str(places.secret.parent / "*")
    return save(folder, lambda x: answer(x, tf.io.matching_files(pattern)[0]))


def writes(folder: Path, places: Places) -> Path:
    """One that writes a file when it is asked."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        write = tf.io.write_file(str(places.written), "x")
        with tf.control_dependencies([write]):
            return answer(images, tf.identity("a bee"))

    return save(folder, call)


def hides(folder: Path, places: Places) -> Path:
    """One that reads a file in a branch of a function of a function."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        deep = tf.function(lambda: tf.io.read_file(str(places.secret)))
        name = tf.cond(tf.size(images) > 0, deep, lambda: tf.constant("a bee"))
        return answer(images, name)

    return save(folder, call)


def hides_in_a_data_set(folder: Path, places: Places) -> Path:
    """One that reads a file for each row of a data set."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.data.Dataset.from_tensors(str(places.secret))
        read = rows.map(tf.io.read_file).get_single_element()
        return answer(images, read)

    return save(folder, call)


def reads_lines(folder: Path, places: Places) -> Path:
    """One whose data set is the lines of a file."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        # tf.data's own wraps it in another operation that is refused.
        lines = tf.raw_ops.TextLineDataset(
            filenames=str(places.secret), compression_type="", buffer_size=0
        )
        (line,) = tf.raw_ops.DatasetToSingleElement(
            dataset=lines, output_types=[tf.string], output_shapes=[[]]
        )
        return answer(images, line)

    return save(folder, call)


def calls_python(folder: Path, places: Places) -> Path:
    """One that calls Python."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        name = tf.py_function(lambda: "a bee", [], tf.string)
        return answer(images, tf.ensure_shape(name, []))

    return save(folder, call)


def prints(folder: Path, places: Places) -> Path:
    """One that prints into a file."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.print("x", output_stream=f"file://{places.written}")
        return answer(images, "a bee")

    return save(folder, call)


def maps_a_file(folder: Path, places: Places) -> Path:
    """One whose scores are the bytes of a file, by no op that is stateful."""

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        levels = tf.raw_ops.ImmutableConst(
            dtype=tf.uint8,
            shape=[4],
            memory_region_name=str(places.secret),
        )
        return answer(images, tf.strings.as_string(levels)[0])

    return save(folder, call)


def writes_when_loaded(folder: Path, places: Places) -> Path:
    """One that writes a file as it is loaded, by its initialiser."""

    class Writer(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self) -> tf.Tensor:
            return tf.raw_ops.VarHandleOp(dtype=tf.string, shape=[])

        def _initialize(self) -> tf.Tensor:
            tf.io.write_file(str(places.written), "x")
            return tf.constant(1)

    module = tf.Module()
    module.writer = Writer()

    def call(images: tf.Tensor) -> dict[str, tf.Tensor]:
        # What the signature captures is initialised.
        handle = module.writer.resource_handle
        with tf.control_dependencies([handle]):
            return answer(images, tf.identity("a bee"))

    return save(folder, call, module)


def edited(
    make: Callable[[meta_graph_pb2.MetaGraphDef, Places], None],
) -> Callable[[Path, Places], Path]:
    """One whose graph was edited afterwards."""

    @functools.wraps(make)
    def build(folder: Path, places: Places) -> Path:
        harmless(folder, places)
        file = folder / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        make(saved.meta_graphs[0], places)
        file.write_bytes(saved.SerializeToString())
        return folder

    return build


def node(graph: meta_graph_pb2.MetaGraphDef, name: str):
    """A node of a graph."""
    (found,) = (each for each in graph.graph_def.node if each.name == name)
    return found


def remove(graph: meta_graph_pb2.MetaGraphDef, name: str) -> None:
    """Removes a node of a graph."""
    graph.graph_def.node.remove(node(graph, name))


def restoring(graph: meta_graph_pb2.MetaGraphDef):
    """The function that restores variables."""
    called = node(graph, graph.saver_def.restore_op_name).attr["f"].func.name
    (found,) = (
        function
        for function in graph.graph_def.library.function
        if function.signature.name == called
    )
    return found


def add_constant(nodes, name: str, text: str) -> None:
    """Adds a string constant to a graph or to a function."""
    added = nodes.add(name=name, op="Const")
    added.attr["dtype"].type = tf.string.as_datatype_enum
    added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))


@edited
def restores_another_file(graph, places):
    """The restoring function names a file by itself."""
    function = restoring(graph)
    add_constant(function.node_def, "other", str(places.secret))
    for each in function.node_def:
        if each.op == "RestoreV2":
            each.input[0] = "other:output:0"


@edited
def is_told_another_file(graph, places):
    """The restoring function is called with another file."""
    add_constant(graph.graph_def.node, "other", str(places.secret))
    node(graph, graph.saver_def.restore_op_name).input[0] = "other"


@edited
def takes_the_file_after_another(graph, places):
    """The saver's file only looks like the first argument."""
    add_constant(graph.graph_def.node, "other", str(places.secret))
    inputs = node(graph, graph.saver_def.restore_op_name).input
    inputs[:] = [f"^{inputs[0]}", "other", *inputs[1:]]


@edited
def shadows_the_file(graph, places):
    """The restoring function has a file of the argument's name."""
    function = restoring(graph)
    name = function.signature.input_arg[0].name
    add_constant(function.node_def, name, str(places.secret))


@edited
def restores_by_a_condition(graph, places):
    """The restoring function is called with other arguments."""
    node(graph, graph.saver_def.restore_op_name).op = "If"


@edited
def calls_a_function_by_its_name(graph, places):
    """A function takes the place of an operation."""
    graph.graph_def.library.function.add().signature.name = "Abs"


@edited
def has_a_file_of_its_own(graph, places):
    """The saver's file is computed."""
    name = graph.saver_def.filename_tensor_name.partition(":")[0]
    remove(graph, name)
    add_constant(graph.graph_def.node, name, str(places.secret))


@edited
def asks_clients_for_the_file(graph, places):
    """What clients send names the file to restore from."""
    graph.signature_def["serving_default"].inputs[
        "image_bytes"
    ].name = graph.saver_def.filename_tensor_name


@edited
def answers_from_the_saver(graph, places):
    """What is fetched is what saves the variables."""
    graph.signature_def["serving_default"].outputs[
        "path"
    ].name = graph.saver_def.save_tensor_name


@edited
def restores_for_clients(graph, places):
    """Another node calls the function that restores."""
    added = graph.graph_def.node.add()
    added.CopyFrom(node(graph, graph.saver_def.restore_op_name))
    added.name = "again"
    add_constant(graph.graph_def.node, "other", str(places.secret))
    added.input[0] = "other"


@edited
def saves_when_restored(graph, places):
    """The loader runs what saves in place of what restores."""
    saver = graph.saver_def
    graph.graph_def.library.function.remove(restoring(graph))
    remove(graph, saver.restore_op_name)
    saver.restore_op_name = saver.save_tensor_name.partition(":")[0]


@edited
def saves_before_it_restores(graph, places):
    """What the loader runs waits for what saves."""
    saver = graph.saver_def
    save = saver.save_tensor_name.partition(":")[0]
    node(graph, saver.restore_op_name).input.append(f"^{save}")


@edited
def saves_as_its_main_op(graph, places):
    """The loader runs what saves once all is restored."""
    save = graph.saver_def.save_tensor_name.partition(":")[0]
    graph.collection_def["saved_model_main_op"].node_list.value[:] = [save]


@edited
def has_assets(graph, places):
    """The loader is to feed the name of a file."""
    asset = graph.asset_file_def.add(filename=f"../..{places.secret}")
    asset.tensor_info.name = graph.saver_def.filename_tensor_name


@edited
def has_another_collection(graph, places):
    """Python would make objects of what is in it."""
    graph.collection_def["queue_runners"].bytes_list.value.append(b"")


@edited
def assigns(graph, places):
    """A request changes what the next one is told."""
    called = graph.signature_def["serving_default"].outputs["path"].name
    name = node(graph, called.partition(":")[0]).attr["f"].func.name
    for function in graph.graph_def.library.function:
        if function.signature.name == name:
            function.node_def.add(name="assign", op="AssignVariableOp")


@edited
def may_swap_functions(graph, places):
    """TensorFlow may put the restoring function in another's place."""
    restoring(graph).attr["api_implements"].s = b"anything"


def hides_in_another_graph(folder: Path, places: Places) -> Path:
    """One that writes in the second of its graphs."""
    harmless(folder, places)
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    saved.meta_graphs.add().graph_def.node.add(name="w", op="WriteFile")
    file.write_bytes(saved.SerializeToString())
    return folder


# By what is refused, what does it.
HOSTILE = {
    "ReadFile in function": (reads, hides, hides_in_a_data_set),
    "MatchingFiles": (lists,),
    "WriteFile": (writes, writes_when_loaded),
    "TextLineDataset in function": (reads_lines,),
    "EagerPyFunc": (calls_python,),
    "PrintV2": (prints,),
    "ImmutableConst": (maps_a_file,),
    "another file": (restores_another_file, shadows_the_file),
    "a file of its own": (is_told_another_file, takes_the_file_after_another),
    "saves or restores by an operation If": (restores_by_a_condition,),
    "function called Abs": (calls_a_function_by_its_name,),
    "computes the name of the file": (has_a_file_of_its_own,),
    "a signature uses the saver's": (
        asks_clients_for_the_file,
        answers_from_the_saver,
        saves_as_its_main_op,
    ),
    "calls the saver's": (restores_for_clients,),
    "in function __inference__traced_save": (saves_when_restored,),
    "uses the saver's": (saves_before_it_restores,),
    "holds assets": (has_assets,),
    "WriteFile in the graph": (hides_in_another_graph,),
    "collection queue_runners": (has_another_collection,),
    "AssignVariableOp in": (assigns,),
    "api_implements": (may_swap_functions,),
}
CASES = [
    (make, named) for named, several in HOSTILE.items() for make in several
]
NAMES = [make.__name__ for make, _ in CASES]
