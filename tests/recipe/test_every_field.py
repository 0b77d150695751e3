"""Every field of the recipe, given as a user gives it, decides something.

Of each field: a value, what else has to be so that it matters, and what it
changes. A field that nothing uses any more changes nothing.
"""

import asyncio
import dataclasses
import functools
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from hierkeras import _export_flags, _recipe_flags, increment
from hierkeras._errors import UsageError
from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import Catalogue
from hierkeras.growth.assess import Assessor
from hierkeras.growth.grower import Grower
from hierkeras.growth.incremental import grow_tree
from hierkeras.growth.specs import Specs
from hierkeras.recipe import fields, presets
from hierkeras.recipe.compose import compose
from hierkeras.training.spec import Solved
from hierkeras.tree.nodes import Branch, Leaf, Tree
from hierkeras.tree.routing import route
from tests import builders, small_trunks

CLASSES = tuple("abcdefghijkl")


def catalogue_of(classes, images_each):
    """Training and validation images of some classes, in turn."""
    labels = np.repeat(np.arange(len(classes)), images_each).astype(np.int32)
    splits = (np.arange(len(labels)) % 2).astype(np.int8)
    keys = np.array([f"k{i}" for i in range(len(labels))])
    return Catalogue(tuple(classes), keys, labels, splits, np.arange(len(keys)))


# What fields of the network and of training decide -------------------------


def network(recipe):
    from hierkeras.models import registry

    try:
        return registry.build_model(recipe.network, 3).to_json()
    except UsageError as error:
        return str(error)


@functools.cache
def trained(recipe):
    """The history and the weights of a training of some seconds."""
    import keras

    from hierkeras.data.images import Images
    from hierkeras.training import fit, losses
    from hierkeras.training.context import Runtime

    catalogue = catalogue_of("ab", 40)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
    pixels[:40] //= 2
    catalogue = dataclasses.replace(catalogue, digests=checksums(pixels))
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    scaled = keras.layers.Rescaling(1 / 64, offset=-1)(images)
    hidden = keras.layers.Dense(4)(keras.layers.Flatten()(scaled))
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(hidden))
    source = ArraySource("pixels", "npz", catalogue, pixels)

    def samples(split):
        indices = catalogue.indices(split, "ab")
        return indices, catalogue.labels_among(indices, "ab")

    fitted = fit.fit(
        losses.Objective(model),
        recipe.training,
        fit.Examples(
            Images(source, 8), samples("train"), samples("validation")
        ),
        fit.Run("probe", seed=0, runtime=Runtime(progress="none")),
    )
    kept = [
        {k: v for k, v in epoch.items() if k != "images_per_second"}
        for epoch in fitted.history
    ]
    return kept, [weight.tolist() for weight in model.get_weights()]


def made_job(recipe):
    """Types of the layers of a job's model, which is made and not trained."""
    import keras

    from hierkeras.training import run_job

    before = keras.config.dtype_policy().name
    with run_job._dtype_policy(recipe.training.precision):
        inside = keras.config.dtype_policy().name
    assert keras.config.dtype_policy().name == before
    return inside


def seeded(recipe):
    return Specs(recipe, catalogue_of("ab", 8)).scratch("ab").random_seed


def of_few_images(recipe):
    """How many images of each class the loss makes up for."""
    from hierkeras.training import run_job

    specs = Specs(recipe, catalogue_of("ab", 8), has_exemplars=True)
    return run_job._class_counts(specs.scratch("ab"), np.array([0, 0, 1]))


def opened_trunk(recipe):
    """The id of what becomes of a network that is given as a file."""
    from hierkeras.training import trunk_files

    with tempfile.TemporaryDirectory() as folder:
        file = small_trunks.write(Path(folder) / "network.keras")
        given = fields.changed(recipe, {"backbone": str(file)})
        return trunk_files.opened(given).recipe.network.backbone


@functools.cache
def solved(recipe):
    """The head of two digits above a small trunk, and what was chosen."""
    from hierkeras.training import solving, trunk_files

    with tempfile.TemporaryDirectory() as folder:
        file = small_trunks.write(Path(folder) / "network.keras", size=8)
        opened = trunk_files.opened(
            fields.changed(recipe, {"backbone": str(file)})
        )
        recipe, trunk = opened.recipe, opened.trunk
        context = builders.open_context(Path(folder) / "workdir")
        trunk_files.keep(context.store, trunk, recipe.network)
        spec = Specs(recipe, context.catalogue).scratch("01")
        found = solving.solve(spec, Solved(None), context)
        return found.solution.head.kernel.tolist(), found.choice.shrinkage


def start(recipe):
    return Specs(recipe, catalogue_of("ab", 8)).scratch("ab").start


# What fields of growth decide: a tree that grows twice ---------------------


@dataclasses.dataclass
class Noted:
    """In place of jobs: notes the specs; nothing is trained."""

    specs: dict
    labels: list

    async def run(self, spec, label):
        self.specs[spec.job] = spec
        self.labels.append((label, spec))

    def spec(self, job):
        return self.specs[job]


@dataclasses.dataclass
class Opinions:
    """In place of models: each is wrong now and then, a cut-out less often.

    Neighbours, ab, cd, …, are taken for each other; what is not known for the
    first class.
    """

    catalogue: Catalogue
    jobs: Noted

    def probabilities(self, job, indices):
        spec = self.jobs.spec(job)
        names = [self.catalogue.class_names[i] for i in self._labels(indices)]
        rows = np.full((len(indices), len(spec.classes)), 0.01)
        share = 20 if len(spec.classes) <= 5 else 32
        for row, name, index in zip(rows, names, indices, strict=True):
            neighbour = CLASSES[CLASSES.index(name) ^ 1]
            draw = zlib.crc32(f"{index}".encode()) % 100
            taken = neighbour if draw < share else name
            likely = CLASSES[(CLASSES.index(name) + 4) % len(CLASSES)]
            if likely in spec.classes:  # never the answer, and yet confused
                row[spec.classes.index(likely)] = 0.4
            known = taken if taken in spec.classes else spec.classes[0]
            row[spec.classes.index(known)] = 0.55 + draw / 400
        return rows / rows.sum(axis=1, keepdims=True)

    def _labels(self, indices):
        return self.catalogue.labels[indices].tolist()

    def node_probabilities(self, node, rows):
        return self.probabilities(node.job, rows)


class PricedAssessor(Assessor):
    """Every node costs as much; models are not there to be measured."""

    def flops(self, tree):
        return float(len(list(tree.nodes())))


def grown(recipe):
    """The jobs of two steps by name, the trees, and why they are so."""
    catalogue = catalogue_of(CLASSES, 40)
    jobs = Noted({}, [])
    grower = Grower(
        recipe,
        Specs(recipe, catalogue, has_exemplars=True),
        jobs,
        PricedAssessor(catalogue, Opinions(catalogue, jobs), recipe.routing),
    )
    tree, told = None, []
    for batch in (CLASSES[:6], CLASSES[6:10], CLASSES[10:]):
        tree, decisions = asyncio.run(grow_tree(tree, batch, grower))
        told += [(d.growth, d.reason, d.evidence) for d in decisions]
    return jobs.labels, tree, told


def exemplars(step):
    return len(step.exemplars)


def baseline(step):
    return step.scratch is not None


@pytest.fixture(scope="module")
def last_step(tmp_path_factory):
    """The second step of a real run with exemplars and a baseline."""
    from hierkeras.data.source import DataConfig
    from hierkeras.growth.steps import Workshop, grow
    from hierkeras.recipe.remembered import Remembered
    from hierkeras.training.context import Context, ContextConfig, Runtime
    from hierkeras.training.executors import InlineExecutor
    from hierkeras.training.predictor import Predictor

    asked = given("memory_per_class", "3") | given("scratch_baseline", "true")
    small = {"width_multiplier": 0.25, "increments": "flat"}
    recipe = fields.changed(presets.preset("digits"), BASE | small | asked)
    data, quiet = DataConfig("digits"), Runtime(progress="none")
    folder = tmp_path_factory.mktemp("digits")
    context = Context(ContextConfig(str(folder), data, 8, runtime=quiet))
    workshop = Workshop(
        context,
        Remembered(data, "digits", recipe, "digits"),
        InlineExecutor(),
        Predictor(context),
    )
    *_, last = grow(workshop, [("0", "1"), ("2", "3")])
    return last.step


# What fields of routing and serving decide ---------------------------------


def answers(recipe):
    """The answers of a tree that is in two minds."""
    leaves = tuple(
        Leaf(f"root.{k}", (c, d), c)
        for k, (c, d) in enumerate((("a", "b"), ("c", "d"), ("e", "f")))
    )
    tree = Tree(Branch("root", tuple("abcdef"), "root", leaves, 0.5))
    says = {
        "root": [0.3, 0.1, 0.2, 0.15, 0.14, 0.11],
        "root.0": [0.4, 0.6],
        "root.1": [0.9, 0.1],
        "root.2": [0.8, 0.2],
    }
    routed = route(
        tree,
        lambda node, rows: np.array([says[node.name]]),
        np.array([0]),
        recipe.routing,
    )
    return routed.probabilities.tolist()


def pixels(recipe):
    """What is made of an image that is twice as wide as high, and clear."""
    from hierkeras.data.decoding.graph import decode_and_resize

    image = np.zeros((4, 8, 4), np.uint8)
    image[:, ::3] = 255
    image[:, 1::3, 3] = 255
    return decode_and_resize(image, 4, recipe.pixels).numpy().tolist()


def export(recipe):
    return _export_flags.export_config(recipe)


def looked_at(recipe):
    """How often a job is looked at; tests of the probes tell what is seen."""
    with flagsaver.flagsaver():
        flags.FLAGS([increment.__name__])
        return increment._runtime(recipe).probes


COSINE = {"schedule": "cosine", "max_epochs": 2}
ADAPTIVE = {
    "schedule": "adaptive",
    "samples_per_check": 16,
    "max_epochs": 12,
    "min_error_drop": 1.0,  # nothing counts as progress
    "initial_learning_rate": 0.01,
    "patience": 1,
    "batch_size": 8,
}
TREE = {"increments": "clone", "leaves": "after", "max_epochs": 10}
SOLVED = {"heads": "solved", "image_size": 8}
EXACT = {"increments": "compete", "leaves": "after", "compete_by": "evidence"}

# Field -> (value, what else has to be so, what it decides).
FIELDS = {
    "backbone": ("small_resnet", {}, network),
    "image_size": ("16", {}, network),
    "resize": ("stretch", {}, pixels),
    "background": ("black", {}, pixels),
    "width_multiplier": ("2", {}, network),
    "backbone_weights": ("missing.h5", {}, network),
    "dropout": ("0.9", {}, network),
    "input_range": ("unit", {}, opened_trunk),
    "feature_depths": ("1", {}, opened_trunk),
    "heads": ("solved", {}, start),
    "crops": ("1", SOLVED, solved),
    "shrinkage": ("0.9", SOLVED, solved),
    "max_epochs": ("3", COSINE, trained),
    "batch_size": ("5", COSINE, trained),
    "initial_learning_rate": ("0.02", COSINE, trained),
    "augment": ("shift_mirror", COSINE, trained),
    "seed": ("7", {}, seeded),
    "schedule": ("adaptive", COSINE | {"samples_per_check": 16}, trained),
    "optimizer": ("muon", COSINE, trained),
    "momentum": ("0.1", COSINE, trained),
    "weight_decay": ("0.3", COSINE, trained),
    "warmup_epochs": ("1", COSINE, trained),
    "samples_per_check": ("32", ADAPTIVE, trained),
    "validation_samples": ("3", COSINE, trained),
    "min_error_drop": ("0", ADAPTIVE, trained),
    "patience": ("3", ADAPTIVE, trained),
    "learning_rate_cuts": ("0", ADAPTIVE, trained),
    "learning_rate_cut_factor": ("1.5", ADAPTIVE, trained),
    "precision": ("mixed_bfloat16", {}, made_job),
    "balanced_softmax": ("false", {}, of_few_images),
    "increments": ("flat", TREE, grown),
    "leaves": ("together", TREE, grown),
    "num_superclasses": ("3", TREE, grown),
    "min_classes_to_clone": ("11", TREE, grown),
    "memory_per_class": ("3", {}, exemplars),
    "scratch_baseline": ("true", {}, baseline),
    "compete_by": ("error", EXACT, grown),
    "significance": ("1e-06", EXACT, grown),
    "min_gain_per_doubling": ("1", EXACT, grown),
    "partition_by": (
        "predicted_error",
        TREE | {"num_superclasses": 0},
        grown,
    ),
    "confusion_counts": ("hard", TREE, grown),
    "leaf_layers": ("2", TREE, grown),
    "refine_branches": ("none", TREE, grown),
    "new_columns": ("imprinted", TREE, grown),
    "flat_share": ("0.5", TREE, grown),
    "leaf_share": ("0.5", TREE, grown),
    "refine_share": ("0.5", TREE, grown),
    "shrink": ("0.5", TREE, grown),
    "perturb": ("0.5", TREE, grown),
    "leaf_shrink": ("0.5", TREE, grown),
    "leaf_perturb": ("0.5", TREE, grown),
    "flat_distillation": ("0", TREE, grown),
    "calibrate": ("false", TREE, grown),
    "rule": ("soft", {}, answers),
    "beam_width": ("1", {"rule": "soft"}, answers),
    "contention": ("0.9", {"rule": "soft"}, answers),
    "top": ("2", {}, export),
    "max_pixels": ("9", {}, export),
    "bad_images": ("empty", {}, export),
    "max_old_class_regression": ("0.5", {}, export),
    "probes": ("100", {}, looked_at),
}
# Quick, and with nothing left open.
BASE = {"batch_size": 8, "max_epochs": 1, "augment": "none"}


def given(name, text):
    """The recipe of a command line that gives one field."""
    field = fields.fields()[name]
    flag = f"--{field.flag}={text}" if field.flag else f"--set={name}={text}"
    with flagsaver.flagsaver():
        flags.FLAGS([increment.__name__, flag])
        return _recipe_flags.asked().changes


@pytest.mark.parametrize("name", list(fields.fields()))
def test_a_field_is_taken_from_the_flags_and_decides_something(name, request):
    text, others, effect = FIELDS[name]
    changes = given(name, text)
    assert list(changes) == [name]
    before = fields.changed(presets.preset("digits"), BASE | others)
    after = fields.changed(before, changes)
    assert fields.value(after, name) != fields.value(before, name)
    assert fields.as_text(fields.value(after, name)) == text
    composed = compose(_asked(changes), None, "digits").recipe
    assert fields.value(composed, name) == fields.value(after, name)
    if effect in (exemplars, baseline):
        assert effect(request.getfixturevalue("last_step"))
    else:
        assert effect(before) != effect(after)


def _asked(changes):
    from hierkeras.recipe.compose import Asked

    return Asked(None, changes)


def test_every_field_is_tried():
    assert set(FIELDS) == set(fields.fields())
