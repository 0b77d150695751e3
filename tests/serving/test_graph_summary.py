"""The graph of an export in TensorBoard, and all else of a real step."""

from etils import epath
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from hierkeras.serving import graph_summary
from hierkeras.tree.store import Store


def read(run):
    return EventAccumulator(str(run), {"tensors": 0, "graph": 1}).Reload()


def test_the_run_of_a_step_holds_the_graph_that_is_served(digits_tree):
    workdir = epath.Path(digits_tree.workdir)
    events = read(workdir / "tensorboard" / "step-000002")

    assert events.Tags()["graph"]
    functions = events.Graph().library.function
    operations = {
        node.op for function in functions for node in function.node_def
    }
    assert {"Conv2D", "MatMul", "DecodeJpeg"} & operations
    # A branch runs a leaf if an image goes there.
    assert {"If", "StatelessIf"} & operations


def test_a_real_step_has_its_figures_and_its_files(digits_tree):
    store = Store(digits_tree.workdir)
    tree = store.latest().tree
    run = store.tensorboard / "step-000002"

    tags = set(read(run).Tags()["tensors"])

    curves = {f"precision_recall/{name}/pr_curves" for name in tree.classes}
    assert curves | {"confusion/before", "confusion/after"} < tags
    assert {
        path.name for path in run.iterdir() if "tfevents" not in path.name
    } == {
        "projector_config.pbtxt",
        "embedding.tsv",
        "embedding_labels.tsv",
        "embedding_images.png",
    }
    # Each job of the steps has its run, which says what it is for.
    runs = {path.name for path in store.tensorboard.iterdir()}
    for number in (1, 2):
        for use in store.read(number).step.jobs:
            label = use.label.replace(" ", "-")
            assert any(
                name.startswith(f"{label}-") and name.endswith(use.job[:8])
                for name in runs
            )


def test_a_graph_that_no_browser_draws_is_left_out(
    digits_tree, tmp_path, monkeypatch
):
    version = epath.Path(digits_tree.workdir) / "serving" / "2"
    monkeypatch.setattr(graph_summary, "_MOST_BYTES", 1000)

    graph_summary.write(version, epath.Path(tmp_path) / "run", 2)

    assert not (tmp_path / "run").exists()
