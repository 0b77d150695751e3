"""Values for tests: recipes, contexts, trees, steps, and given answers.

    recipe = builders.recipe(leaves="after", num_superclasses=2)
    grower = builders.untrained_grower(recipe, {"1378": {"1": "7"}})
    leaf = builders.trained(grower, "1378")

Each function makes a small, valid value; what a test is about it says itself.
Nothing here imports TensorFlow before it is needed.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hierkeras.data.catalogue import Catalogue
from hierkeras.data.source import DataConfig, Source
from hierkeras.growth.assess import Assessor
from hierkeras.growth.grower import Grower
from hierkeras.growth.specs import Specs
from hierkeras.growth.steps import Workshop
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.fields import changed
from hierkeras.recipe.growth import Growth
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.remembered import Remembered, to_settings
from hierkeras.recipe.training import Training
from hierkeras.training import results
from hierkeras.training.context import Context, ContextConfig, Runtime
from hierkeras.training.executors import InlineExecutor
from hierkeras.training.jobs import Jobs
from hierkeras.training.spec import JobSpec
from hierkeras.tree.generation import Decision, Generation, Step
from hierkeras.tree.names import JobId
from hierkeras.tree.nodes import Branch, Leaf, Node, Tree
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    import keras

DIGITS = DataConfig("digits", validation_fraction=0.1)


def recipe(**fields: Any) -> Recipe:
    """An epoch of a tiny network on the digits; any field by its name.

    The lower error wins: to count evidence, networks have to be built.
    """
    tiny = Recipe(
        ModelConfig("small_cnn", image_size=8, width_multiplier=0.5),
        Training(
            schedule="cosine",
            initial_learning_rate=0.1,
            batch_size=64,
            max_epochs=1,
            augment="none",
        ),
        Growth(compete_by="error"),
    )
    return changed(tiny, fields)


def remembered(
    made_by: Recipe | None = None, data: DataConfig = DIGITS
) -> Remembered:
    """What a generation records, of a recipe and a data set."""
    kind = data.dataset.partition(":")[0]
    return Remembered(data, kind, made_by or recipe(), "digits")


def open_context(
    workdir: str | Path,
    *,
    data: DataConfig = DIGITS,
    source: Source | None = None,
    image_size: int = 8,
    **runtime: Any,
) -> Context:
    """A work directory on the digits, silent; fields of `Runtime` by name."""
    runtime = {"progress": "none", **runtime}
    config = ContextConfig(
        str(workdir), data, image_size, runtime=Runtime(**runtime)
    )
    return Context(config, source)


def less(context: Context, split: str, name: str, count: int) -> Context:
    """A context without the first images of a class in a split."""
    rows = context.catalogue.indices(split, [name])[:count]
    return without(context, context.catalogue.keys[rows].tolist())


def without(context: Context, keys: Iterable[str]) -> Context:
    """A context without images of some keys, as if none could be read."""
    every = context.source.catalogue.keys.tolist()
    digest = context.source.catalogue.digest
    return context.without({key: digest(every.index(key)) for key in keys})


def workshop(context: Context, made_by: Recipe, **fields: Any) -> Workshop:
    """What makes steps in this process; fields of `Workshop` by name."""
    from hierkeras.training.predictor import Predictor

    kept = remembered(made_by, context.config.data)
    return Workshop(
        context, kept, InlineExecutor(), Predictor(context), **fields
    )


def leaf(name: str, classes: Sequence[str], job: str = "") -> Leaf:
    """A leaf; its job is called after it unless it is given."""
    return Leaf(name, tuple(classes), job or name.replace(".", ""))


def branch(
    name: str,
    classes: Sequence[str],
    *children: Node,
    job: str = "",
    **fields: Any,
) -> Branch:
    """A branch; its job is called after it unless it is given."""
    job = job or name.replace(".", "")
    return Branch(name, tuple(classes), job, children, **fields)


def tree(*groups: Sequence[str]) -> Tree:
    """A leaf `root`, or a branch over `root.1`, `root.2`, … of some classes."""
    if len(groups) == 1:
        return Tree(leaf("root", groups[0]))
    leaves = [leaf(f"root.{k + 1}", own) for k, own in enumerate(groups)]
    classes = [name for own in groups for name in own]
    return Tree(branch("root", classes, *leaves))


def decision(flat: Leaf, growth: Any = "flat", **fields: Any) -> Decision:
    """Why a leaf grew; fields of `Decision` by name."""
    fields = {"received": flat.classes, "reason": "of a test", **fields}
    fields = {"node": flat.name, "flat_error": 0.5, **fields}
    return Decision(growth=growth, flat=flat, **fields)


def step(new_classes: Sequence[str] = (), **fields: Any) -> Step:
    """A step that did nothing but bring classes; fields of `Step` by name."""
    nothing: dict[str, Any] = {
        "decisions": (),
        "jobs": (),
        "scratch": None,
        "unreadable_images": {},
        "old_error_before": None,
        "old_error_after": None,
        "error_after": 0.5,
        "seconds": 1.0,
    }
    return Step(tuple(new_classes), **{**nothing, **fields})


def generation(
    after: Tree,
    number: int = 1,
    *,
    made_by: Recipe | None = None,
    parent: int | None = None,
    **fields: Any,
) -> Generation:
    """The generation of a tree; fields of its step by name."""
    fields = {"new_classes": after.classes, **fields}
    settings = to_settings(remembered(made_by))
    return Generation(number, settings, after, step(**fields), parent)


def result(
    spec: JobSpec, label: str = "of a test", images_swept: int = 0
) -> results.JobResult:
    """What a job gave that did nothing."""
    measured = results.Measured(0.1, 0.1, 0.0)
    return results.JobResult(spec, label, measured, images_swept, 0, 0.0, {})


def write_job(
    store: Store, spec: JobSpec, model: keras.Model, images_swept: int = 0
) -> JobId:
    """Writes a job's result, of a model that the job did not make."""
    with store.new_job(spec.job) as folder:
        results.write_model(folder, model)
        results.write(folder, result(spec, images_swept=images_swept), [])
    return spec.job


def run_job(context: Context, spec: JobSpec) -> JobId:
    """Runs a job in a work directory."""
    from hierkeras.training.run_job import run_job

    return run_job(spec, "of a test", context).job


class Untrained:
    """In place of an executor: remembers what it was asked, trains nothing.

    Attributes:
        specs: Job id to spec.
    """

    def __init__(self) -> None:
        self.specs: dict[JobId, JobSpec] = {}

    async def run(
        self, spec: JobSpec, label: str, context: Context
    ) -> results.JobResult:
        """As an executor's."""
        self.specs[spec.job] = spec
        await asyncio.sleep(0)  # others come between, as with real jobs
        return result(spec, label)

    def close(self) -> None:
        """Nothing to end."""


class UntrainedJobs(Jobs):
    """The jobs of a step, which the executor alone knows."""

    def __init__(self, context: Context, executor: Untrained) -> None:
        super().__init__(context, executor)
        self.specs = executor.specs

    def spec(self, job: JobId) -> JobSpec:
        """As of a work directory's job."""
        return self.specs[job]


@dataclasses.dataclass
class Answers:
    """In place of a predictor: each image is taken for what it is, or was said.

    Args:
        catalogue: The images.
        specs: Job id to spec, of the models.
        mistakes: A model's classes, joined, to a map from an image's class to
            what it is taken for. A class that the model does not know is taken
            for its first.
    """

    catalogue: Catalogue
    specs: Mapping[JobId, JobSpec]
    mistakes: Mapping[str, Mapping[str, str]]

    def probabilities(self, job: JobId, indices: np.ndarray) -> np.ndarray:
        """As `Predictor.probabilities`, and sure."""
        classes = self.specs[job].classes
        mistakes = self.mistakes.get("".join(classes), {})
        labels = self.catalogue.labels[indices]
        taken = [
            mistakes.get(name, name)
            for name in (self.catalogue.class_names[k] for k in labels)
        ]
        columns = [
            classes.index(name) if name in classes else 0 for name in taken
        ]
        return np.eye(len(classes))[columns]

    def node_probabilities(self, node: Node, rows: np.ndarray) -> np.ndarray:
        """As `Predictor.node_probabilities`."""
        return self.probabilities(node.job, rows)

    def model(self, job: JobId) -> keras.Model:
        """A network as the job's, with weights of its own."""
        from hierkeras.models.registry import build_model

        spec = self.specs[job]
        return build_model(spec.network, len(spec.classes))


@dataclasses.dataclass
class Tables:
    """In place of a predictor: answers, and networks, that are given.

    Args:
        tables: Job id to float array of shape (images, classes).
        models: Job id to network.
    """

    tables: Mapping[JobId, np.ndarray]
    models: Mapping[JobId, keras.Model] = dataclasses.field(
        default_factory=dict
    )

    def probabilities(self, job: JobId, indices: np.ndarray) -> np.ndarray:
        """As `Predictor.probabilities`."""
        return self.tables[job][indices]

    def node_probabilities(self, node: Node, rows: np.ndarray) -> np.ndarray:
        """As `Predictor.node_probabilities`."""
        return self.probabilities(node.job, rows)

    def features(self, job: JobId, indices: np.ndarray) -> np.ndarray:
        """As `Predictor.features`: the answers, for want of a layer below."""
        return self.tables[job][indices]

    def model(self, job: JobId) -> keras.Model:
        """As `Predictor.model`."""
        return self.models[job]

    def forget_outputs(self) -> None:
        """Nothing to free."""


def untrained_grower(
    made_by: Recipe,
    mistakes: Mapping[str, Mapping[str, str]] | None = None,
    context: Context | None = None,
    executor: Untrained | None = None,
) -> Grower:
    """Grows trees of digits without training or writing anything.

    Args:
        made_by: How.
        mistakes: What the models say; see `Answers`.
        context: The images; its work directory stays empty.
        executor: Knows the jobs that ran before.
    """
    context = context or open_context("nowhere")
    executor = executor or Untrained()
    answers = Answers(context.catalogue, executor.specs, mistakes or {})
    return Grower(
        made_by,
        Specs(made_by, context.catalogue, bool(context.config.exemplars)),
        UntrainedJobs(context, executor),
        Assessor(context.catalogue, answers, made_by.routing),
    )


def trained(grower: Grower, classes: Sequence[str], name: str = "root") -> Leaf:
    """A leaf of some classes, from scratch, as an earlier step left it."""
    return asyncio.run(grower.train(grower.specs.scratch(classes), name, "was"))
