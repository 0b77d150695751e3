"""SavedModels of strangers are read before they are run."""

import os

import keras
import pytest
from tensorflow.python.framework import op_def_registry

from hierkeras._errors import UserError
from hierkeras.data.decoding.pixels import RESIZES, Pixels
from hierkeras.models import registry
from hierkeras.recipe.serving import Serving
from hierkeras.serving.client.saved_model import LocalModel
from hierkeras.serving.graph import signatures
from hierkeras.serving.graph.composite import Composite
from hierkeras.serving.local.versions import Versions
from hierkeras.serving.trust import graphs, operations
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing
from tests.serving.served_tree import encoded, save, write
from tests.serving.trust import others


@pytest.fixture
def places(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return others.Places(tmp_path / "elsewhere")


@pytest.mark.parametrize(("make", "named"), others.CASES, ids=others.NAMES)
def test_what_no_export_does_is_refused(tmp_path, places, make, named):
    folder = make(tmp_path / "1", places)
    with pytest.raises(UserError) as caught:
        LocalModel(str(folder))
    told = str(caught.value)
    assert told.startswith(f"{folder} is not loaded: ")
    assert named in told
    assert told.endswith("give --trust if you trust who made it")
    assert "\n" not in told
    assert not places.written.exists()


def test_a_model_of_somebody_else_that_only_computes_is_asked(tmp_path, places):
    folder = others.harmless(tmp_path / "1", places)
    (answer,) = LocalModel(str(folder)).answer(encoded(1))
    assert answer.classes == ("a bee",)


READING = (others.reads, others.hides, others.hides_in_a_data_set)


@pytest.mark.parametrize("make", READING)
def test_who_is_trusted_may_read(tmp_path, places, make):
    model = LocalModel(str(make(tmp_path / "1", places)), trust=True)
    (answer,) = model.answer(encoded(1))
    assert answer.classes == (others.SECRET,)


def test_who_is_trusted_may_write_when_loaded(tmp_path, places):
    LocalModel(str(others.writes_when_loaded(tmp_path / "1", places)), True)
    assert places.written.exists()


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("make", [others.reads, others.writes_when_loaded])
def test_a_server_does_not_load_it_either(tmp_path, places, make, trust):
    said = []
    (tmp_path / "serving").mkdir()
    make(tmp_path / "serving" / "3", places)
    versions = Versions(str(tmp_path / "serving"), said.append, trust=trust)
    versions.poll()
    (line,) = said
    if trust:
        assert line == "version 3 is served"
    else:
        assert "operation" in line
        assert "--trust" in line
        error = versions.statuses()[3].error
        assert error.code.name == "FAILED_PRECONDITION"
    is_written = make is others.writes_when_loaded and trust
    assert places.written.exists() == is_written
    versions.close()


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
def test_another_file_that_tensorflow_reads_is_refused(tmp_path, name):
    folder = write(tmp_path / "1", 1)
    (folder / name).write_bytes(b"")
    with pytest.raises(graphs.Untrusted, match=name):
        graphs.check(str(folder))
    (folder / "saved_model.pb").rename(folder / name)
    with pytest.raises(graphs.Untrusted, match=name):
        graphs.check(str(folder))


@pytest.mark.parametrize(
    "name",
    ["saved_model.pb", "variables/variables.index", "assets.extra/warmup"],
)
def test_what_never_ends_is_not_opened(tmp_path, name):
    folder = write(tmp_path / "1", 1)
    (folder / "assets.extra").mkdir()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(graphs.Untrusted, match="no regular file"):
        graphs.check(str(folder))
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(graphs.Untrusted, match="no regular file"):
        graphs.check(str(folder))


def test_what_is_larger_than_any_graph_is_not_read(tmp_path):
    folder = write(tmp_path / "1", 1)
    os.truncate(folder / "saved_model.pb", 2**40)  # takes no space
    with pytest.raises(graphs.Untrusted, match="more than 2 GB"):
        graphs.check(str(folder))


def test_names_of_a_stranger_are_printable(tmp_path, places):
    @others.edited
    def escapes(graph, places):
        graph.graph_def.node.add(name="x", op="\x1b[31m" * 100)

    folder = escapes(tmp_path / "1", places)
    with pytest.raises(graphs.Untrusted) as caught:
        graphs.check(str(folder))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000 + len(str(folder))


def routings():
    """Each way to answer, with and without a beam and contention."""
    return [
        Routing(rule, beam, contention)
        for rule in ROUTING_RULES
        for beam in (1, 2)
        for contention in (0.0, 0.3)
    ]


def test_an_export_passes(deep_tree, tmp_path):
    graphs.check(str(save(deep_tree, tmp_path / "1", routings()[-1])))


@pytest.mark.slow
@pytest.mark.parametrize("routing", routings(), ids=str)
def test_every_routing_passes(deep_tree, tmp_path, routing):
    graphs.check(str(save(deep_tree, tmp_path / "1", routing)))


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["wide_tree", "shared_tree"])
def test_every_tree_passes(fixture, request, tmp_path):
    tree = request.getfixturevalue(fixture)
    folder = save(tree, tmp_path / "1", bad_images="empty")
    graphs.check(str(folder))


def single(backbone, image_size):
    """A tree of one network."""
    config = registry.ModelConfig(backbone=backbone, image_size=image_size)
    tree = Tree(Leaf("root", ("a", "b"), "job"))
    return Composite(
        tree, {"job": registry.build_model(config, 2)}, Routing("hard")
    )


@pytest.mark.slow
@pytest.mark.parametrize("resize", RESIZES)
def test_every_resize_passes(tmp_path, resize):
    folder = str(tmp_path / "1")
    composite = single("small_cnn", 8)
    signatures.save(folder, composite, 8, Serving(), Pixels(resize, "grey"))
    graphs.check(folder)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("backbone", registry.BACKBONES)
def test_every_backbone_passes(tmp_path, backbone, policy):
    size = max(32, registry.BACKBONES[backbone].min_image_size)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        composite = single(backbone, size)
        signatures.save(str(tmp_path / "1"), composite, size, Serving())
    finally:
        keras.config.set_dtype_policy(before)
    graphs.check(str(tmp_path / "1"))


# Those of the allowed that TensorFlow calls stateful, and why they are there.
STATEFUL = {
    "Assert",  # refuses a bad row
    *("Case", "If", "StatefulPartitionedCall", "While"),  # call functions
    *("TensorDataset", "TensorSliceDataset", "DatasetToSingleElement"),
    *("ReadVariableOp", "VarHandleOp"),
}


def test_what_is_allowed_computes_and_nothing_else():
    known = {name: op_def_registry.get(name) for name in operations.SAVING}
    assert [name for name, known_as in known.items() if known_as is None] == []
    stateful = {name for name in operations.PURE if known[name].is_stateful}
    assert stateful == STATEFUL
    for name in operations.PURE:
        taken = [*known[name].input_arg, *known[name].attr]
        for each in taken:
            words = set(each.name.split("_"))
            assert not words & {"file", "filename", "path", "url", "token"}
