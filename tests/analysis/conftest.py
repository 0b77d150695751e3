"""A tree of hand-made softmax outputs, so that every number is known.

The root branches into `root.1` (classes a, b) and `root.2` (c, d). Images 0
to 8 are of the test split, 9 to 12 of validation; the numbers in the tests
follow from the tables below with pencil and paper.
"""

import keras
import numpy as np
import pytest

from hierkeras.analysis.evaluation import evaluate
from hierkeras.data.arrays import ArraySource
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.source import DataConfig
from hierkeras.models.registry import ModelConfig
from hierkeras.training import results
from hierkeras.training.context import Context, ContextConfig
from hierkeras.training.spec import JobSpec, Recipe
from hierkeras.tree.generation import Decision, Generation, JobUse, Step
from hierkeras.tree.nodes import Branch, Leaf, Tree
from hierkeras.tree.routing import Routing

# Class, branch (a b c d), leaf root.1 (a b), leaf root.2 (c d).
IMAGES = [
    ("a", (0.30, 0.50, 0.10, 0.10), (0.90, 0.10), (0.50, 0.50)),
    ("a", (0.30, 0.10, 0.40, 0.20), (0.95, 0.05), (0.55, 0.45)),
    ("b", (0.40, 0.30, 0.20, 0.10), (0.30, 0.70), (0.60, 0.40)),
    ("b", (0.30, 0.50, 0.10, 0.10), (0.62, 0.38), (0.50, 0.50)),
    ("c", (0.10, 0.10, 0.30, 0.50), (0.50, 0.50), (0.82, 0.18)),
    ("c", (0.10, 0.10, 0.50, 0.30), (0.50, 0.50), (0.38, 0.62)),
    ("d", (0.50, 0.20, 0.10, 0.20), (0.75, 0.25), (0.90, 0.10)),
    ("d", (0.05, 0.05, 0.50, 0.40), (0.50, 0.50), (0.18, 0.82)),
    ("d", (0.10, 0.10, 0.20, 0.60), (0.50, 0.50), (0.10, 0.90)),
]
VALIDATION = [IMAGES[0], IMAGES[3], IMAGES[5], IMAGES[8]]

# The branch's classes and the leaf's need not stand in one order.
BRANCH = ("a", "c", "b", "d")
LEAF = Leaf("root.1", ("b", "a"), "one")
SIBLING = Leaf("root.2", ("c", "d"), "two")
FLAT = Leaf("root", BRANCH, "flat")
CLONE = Branch("root", BRANCH, "flat", (LEAF, SIBLING), fusion_exponent=0.5)


class TablePredictor:
    """Answers from a table: job -> float array of shape (n, classes)."""

    def __init__(self, tables):
        self.tables = tables

    def probabilities(self, job, indices):
        return self.tables[job][indices]

    def node_probabilities(self, node, rows):
        return self.probabilities(node.job, rows)

    def forget_outputs(self):
        pass

    def model(self, job):
        # 12 inputs: 13 parameters and 24 FLOP for each unit.
        units = {"flat": 4, "one": 2, "two": 3}[job]
        image = keras.Input((2, 2, 3))
        x = keras.layers.Flatten()(image)
        return keras.Model(image, keras.layers.Dense(units)(x))


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    rows = [*IMAGES, *VALIDATION]
    splits = [2] * len(IMAGES) + [1] * len(VALIDATION)
    catalogue = Catalogue(
        ("d", "c", "b", "a"),
        np.array([f"k{index}" for index in range(len(rows))]),
        np.array(["dcba".index(row[0]) for row in rows], np.int32),
        np.array(splits, np.int8),
        np.zeros(len(rows)),
    )
    pixels = np.zeros((len(rows), 2, 2, 3), np.uint8)
    source = ArraySource("hand-made", "npz", catalogue, pixels)
    workdir = str(tmp_path_factory.mktemp("workdir"))
    return Context(ContextConfig(workdir, DataConfig("digits"), 2), source)


@pytest.fixture(scope="session")
def scratch(context):
    """The baseline from scratch, whose spec is read from its job."""
    spec = JobSpec(
        classes=("d", "c", "b", "a"),
        model=ModelConfig("small_cnn", 8),
        recipe=Recipe(),
        data="0",
    )
    measured = results.Measured(0.1, 0.1, 0.0)
    result = results.JobResult(spec, "scratch", measured, 500, 1, 1.0, {})
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1)(image))
    with context.store.new_job(spec.job) as folder:
        results.write(folder, result, [], model)
    return JobUse(spec.job, "scratch baseline", 500, False)


@pytest.fixture(scope="session")
def predictor(scratch):
    rows = [*IMAGES, *VALIDATION]
    flat = np.array([row[1] for row in rows])
    # The baseline is right but for image 0, which it takes for b.
    right = np.eye(4)[["dcba".index(row[0]) for row in rows]]
    right[0] = [0.0, 0.0, 1.0, 0.0]
    return TablePredictor(
        {
            "flat": flat[:, ["abcd".index(name) for name in BRANCH]],
            "one": np.array([row[2][::-1] for row in rows]),
            "two": np.array([row[3] for row in rows]),
            scratch.job: right,
        }
    )


@pytest.fixture(scope="session")
def generation(scratch):
    decision = Decision(
        node="root",
        received=("b", "d"),
        growth="clone",
        reason="its error is lower",
        flat=FLAT,
        flat_error=0.25,
        clone=CLONE,
        clone_error=0.125,
    )
    step = Step(
        new_classes=("d",),
        decisions=(decision,),
        jobs=(
            JobUse("flat", "root flat", 100, False),
            JobUse("one", "root.1 leaf", 30, False),
            JobUse("two", "root.2 leaf", 40, True),
        ),
        scratch=scratch,
        unreadable_images=(),
        old_error_before=0.5,
        old_error_after=0.375,
        error_after=0.125,
        seconds=2.0,
    )
    return Generation(2, {}, Tree(CLONE), step)


@pytest.fixture(scope="session")
def evaluation(generation, context, predictor):
    steps = (
        {
            "generation": 1,
            "new_classes": 3,
            "images_swept": 12_000,
            "jobs": 1,
            "jobs_reused": 0,
            "seconds": 61.6,
        },
        {
            "generation": 2,
            "new_classes": 1,
            "images_swept": 170,
            "jobs": 3,
            "jobs_reused": 1,
            "seconds": 2.0,
        },
    )
    return evaluate(generation, steps, context, predictor, Routing("hard"))
