"""Trees for LiteRT: they answer as what is exported, routed or not."""

import json
import shutil
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from hierkeras import export
from hierkeras._errors import UserError
from hierkeras.serving import litert
from hierkeras.serving.checks.sample import Sample
from hierkeras.serving.graph.composite import Composite
from hierkeras.tree import routing
from hierkeras.tree.nodes import Branch, Leaf, Tree
from hierkeras.tree.routing import Routing
from hierkeras.tree.store import Store

SIZE = 12
LETTERS = tuple("abcdef")
FLAT = Tree(Leaf("root", LETTERS, "all"))
# Two levels, and more children than one group of conditions holds.
DEEP = Tree(
    Branch(
        "root",
        LETTERS,
        "all",
        (
            Branch(
                "root.1",
                LETTERS[:4],
                "four",
                (
                    Leaf("root.1.1", LETTERS[:2], "ab"),
                    Leaf("root.1.2", LETTERS[2:4], "cd"),
                ),
                0.3,
            ),
            Leaf("root.2", LETTERS[4:], "ef"),
        ),
        0.6,
    )
)
NUMBERS = tuple(map(str, range(20)))
WIDE = Tree(
    Branch(
        "root",
        NUMBERS,
        "twenty",
        tuple(
            Leaf(f"root.{k + 1}", NUMBERS[2 * k : 2 * k + 2], f"pair{k}")
            for k in range(10)
        ),
        0.5,
    )
)


def network(classes: int, seed: int) -> keras.Model:
    """One that goes by the mean colour, about that of all images."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 255, -1 / 6)(images)
    x = layers.GlobalAveragePooling2D()(x)
    spread = keras.initializers.RandomNormal(stddev=20.0)
    logits = layers.Dense(classes, kernel_initializer=spread, name="logits")(x)
    return keras.Model(images, logits)


@pytest.fixture(scope="module")
def networks() -> dict[str, keras.Model]:
    sizes = {"all": 6, "four": 4, "ab": 2, "cd": 2, "ef": 2, "twenty": 20}
    sizes |= {f"pair{k}": 2 for k in range(10)}
    return {
        job: network(n, seed) for seed, (job, n) in enumerate(sizes.items())
    }


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    random = np.random.default_rng(1)
    # Of different colours, which the networks tell apart.
    scale = random.uniform(0, 1, (48, 1, 1, 3)) ** 2
    noise = random.integers(0, 256, (48, SIZE, SIZE, 3))
    return (noise * scale).astype(np.uint8)


@pytest.mark.parametrize(
    ("tree", "how"),
    [
        (FLAT, Routing("hard")),
        (DEEP, Routing("hard")),
        pytest.param(DEEP, Routing("soft", 2), marks=pytest.mark.slow),
        (DEEP, Routing("fused", 2, 0.5)),
        pytest.param(WIDE, Routing("fused", 3), marks=pytest.mark.slow),
    ],
)
def test_what_is_converted_answers_as_the_tree(tree, how, networks, images):
    used = {node.job: networks[node.job] for node in tree.nodes()}
    content = litert._content(Composite(tree, used, how, is_inlined=True), SIZE)

    def softmax(node, rows):
        logits = used[node.job](images[rows].astype("float32"))
        return np.asarray(keras.ops.softmax(logits))

    routed = routing.route(tree, softmax, np.arange(len(images)), how)
    # Not all of them on one path.
    assert len(np.unique(routed.leaves)) >= min(3, len(tree.leaves))
    found = litert._answers(content, images)
    np.testing.assert_allclose(found, routed.probabilities, rtol=0, atol=1e-4)


def test_what_has_no_operation_is_refused_by_its_name():
    images = keras.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(images)
    x = keras.ops.erfinv(layers.Dense(6, name="logits", activation="tanh")(x))
    composite = Composite(
        FLAT, {"all": keras.Model(images, x)}, Routing("hard"), is_inlined=True
    )
    with pytest.raises(UserError, match=r"no operations.*tf\.Erfinv"):
        litert._content(composite, SIZE)


def sampled(probabilities: np.ndarray, margins: list[float]) -> Sample:
    number = len(probabilities)
    nothing = np.zeros(0)
    return Sample(
        images=np.zeros((number, 1, 1, 3), np.uint8),
        encoded=nothing,
        probabilities=probabilities,
        named=nothing,
        second=np.sort(probabilities, axis=1)[:, -2],
        paths=nothing,
        of_leaves=nothing,
        margins=np.array(margins),
    )


def test_other_answers_than_those_that_are_served_are_refused():
    served = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]], np.float32)
    best = np.argsort(-served, axis=1)[:, :2]
    answer = {
        "classes": tf.constant(np.array([b"a", b"b", b"c"], object)[best]),
        "scores": tf.constant(np.take_along_axis(served, best, axis=1)),
    }

    def compare(difference, margins):
        return litert._compare(
            served + np.float32([[0, difference, 0], [0, 0, 0]]),
            lambda _: answer,
            sampled(served, margins),
            ("a", "b", "c"),
        )

    assert compare(5e-5, [1, 1]) == pytest.approx(5e-5, rel=1e-2)
    for wrong in (2e-4, 0.6, np.nan):
        with pytest.raises(UserError, match="answers otherwise"):
            compare(wrong, [1, 1])
    # Where the last digits decide which networks run, nothing is compared.
    assert compare(0.6, [1e-6, 1]) == 0


def test_a_tree_is_written_with_its_classes(digits_tree, run_main, tmp_path):
    file = tmp_path / "digits.tflite"
    # An export holds the lock, which other tests of that tree find free.
    workdir = shutil.copytree(digits_tree.workdir, tmp_path / "workdir")
    outcome = run_main(
        export,
        *(f"--workdir={workdir}", f"--litert={file}"),
        "--format=json",
    )

    assert outcome.status == 0, outcome.stderr
    said = json.loads(outcome.stdout)["litert"]
    assert said["num_bytes"] == file.stat().st_size
    assert said["score_difference"] < 1e-4
    assert said["images"] == 64
    classes = (tmp_path / "digits.txt").read_text().splitlines()
    tree = Store(str(digits_tree.workdir)).latest().tree
    assert tuple(classes) == tree.classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(model_content=file.read_bytes())
    (taken,) = interpreter.get_input_details()
    (given,) = interpreter.get_output_details()
    assert taken["dtype"] == np.uint8
    assert taken["shape"].tolist() == [1, 8, 8, 3]
    assert given["shape_signature"].tolist()[-1] == len(classes)


@pytest.mark.parametrize(
    ("flags", "status", "named"),
    [
        (["--litert=tree.onnx"], 2, ["ends in .tflite", "tree.onnx"]),
        (["--litert=gone/tree.tflite"], 2, ["no folder", "gone"]),
        (
            ["--litert=/tmp/tree.tflite", "--routing=hard"],
            1,
            ["was made with routing fused instead of hard", "remove it"],
        ),
    ],
)
def test_what_cannot_be_written_is_refused(
    digits_tree, run_main, flags, status, named
):
    outcome = run_main(export, f"--workdir={digits_tree.workdir}", *flags)
    outcome.check_refused(status, *named)
    assert not Path("/tmp/tree.tflite").exists()
