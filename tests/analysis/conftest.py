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
from hierkeras.growth.specs import Specs
from hierkeras.tree.generation import JobUse
from hierkeras.tree.nodes import Tree
from hierkeras.tree.routing import Routing
from tests import builders

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
LEAF = builders.leaf("root.1", "ba", "one")
SIBLING = builders.leaf("root.2", "cd", "two")
FLAT = builders.leaf("root", BRANCH, "flat")
CLONE = builders.branch(
    "root", BRANCH, LEAF, SIBLING, job="flat", fusion_exponent=0.5
)


def network(units):
    """Of 12 inputs: 13 parameters and 24 FLOP for each unit."""
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
    workdir = tmp_path_factory.mktemp("workdir")
    return builders.open_context(workdir, source=source, image_size=2)


@pytest.fixture(scope="session")
def scratch(context):
    """The baseline from scratch, whose spec is read from its job."""
    spec = Specs(builders.recipe(), context.catalogue).scratch("dcba")
    job = builders.write_job(context.store, spec, network(4), 500)
    return JobUse(job, "scratch baseline", 500, False)


@pytest.fixture(scope="session")
def predictor(scratch):
    rows = [*IMAGES, *VALIDATION]
    flat = np.array([row[1] for row in rows])
    # The baseline is right but for image 0, which it takes for b.
    right = np.eye(4)[["dcba".index(row[0]) for row in rows]]
    right[0] = [0.0, 0.0, 1.0, 0.0]
    tables = {
        "flat": flat[:, ["abcd".index(name) for name in BRANCH]],
        "one": np.array([row[2][::-1] for row in rows]),
        "two": np.array([row[3] for row in rows]),
        scratch.job: right,
    }
    units = {"flat": 4, "one": 2, "two": 3}
    return builders.Tables(
        tables, {job: network(count) for job, count in units.items()}
    )


@pytest.fixture(scope="session")
def generation(scratch):
    decision = builders.decision(
        FLAT,
        "clone",
        received=("b", "d"),
        reason="its error is lower",
        flat_error=0.25,
        clone=CLONE,
        clone_error=0.125,
    )
    return builders.generation(
        Tree(CLONE),
        2,
        new_classes=("d",),
        decisions=(decision,),
        jobs=(
            JobUse("flat", "root flat", 100, False),
            JobUse("one", "root.1 leaf", 30, False),
            JobUse("two", "root.2 leaf", 40, True),
        ),
        scratch=scratch,
        old_error_before=0.5,
        old_error_after=0.375,
        error_after=0.125,
        seconds=2.0,
    )


@pytest.fixture(scope="session")
def evaluation(generation, context, predictor):
    numbers = ("generation", "new_classes", "images_swept", "jobs")
    numbers += ("jobs_reused", "seconds")
    rows = ((1, 3, 12_000, 1, 0, 61.6), (2, 1, 170, 3, 1, 2.0))
    steps = tuple(dict(zip(numbers, row, strict=True)) for row in rows)
    return evaluate(generation, steps, context, predictor, Routing("hard"))
