"""Takes a contender through the batches of classes, and measures it."""

from __future__ import annotations

import dataclasses
import functools
import gc
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from etils import epath

from hierkeras.analysis.answers import answer
from hierkeras.analysis.calibration import expected_calibration_error
from hierkeras.growth.assess import Assessor
from hierkeras.growth.changes import new_leaves
from hierkeras.growth.grower import Grower, grower
from hierkeras.growth.incremental import grow_tree
from hierkeras.growth.memory import choose_exemplars
from hierkeras.models import grafting
from hierkeras.models.cost import Cost, forward_cost
from hierkeras.models.registry import build_model
from hierkeras.recipe.recipe import Recipe
from hierkeras.training import interruption, results, sharing
from hierkeras.training.context import Context
from hierkeras.training.executors import Executor
from hierkeras.training.predictor import Predictor
from hierkeras.training.spec import JobSpec, Together
from hierkeras.tree.nodes import Leaf, Node, Tree
from hierkeras.tree.routing import Routing, route
from study_parts import records
from study_parts.contenders import CONTENDERS
from study_parts.records import Reading, Record, StepRecord

Batches = Sequence[tuple[str, ...]]

# How each tree answers; a number is the width of the beam, one below 1 the
# contention. With hard routing and a beam of 1, a tree of depth 2 runs two
# networks for an image.
READINGS: Mapping[str, Routing] = {
    "hard": Routing("hard"),
    "soft 2": Routing("soft", 2),
    "fused 1": Routing("fused", 1),
    "fused 2": Routing("fused", 2),
    "fused 2 0.6": Routing("fused", 2, 0.6),
}
# How a single network does.
_ONE: Mapping[str, Routing] = {"one": Routing("hard")}


class _Remembering(Predictor):
    """Keeps its outputs: each routing asks for the same ones."""

    def forget_outputs(self) -> None:
        pass


class _Averaging(_Remembering):
    """Answers for networks of the same classes as for one."""

    def __init__(self, members: Sequence[Tree], context: Context) -> None:
        super().__init__(context)
        self._members = members

    def node_probabilities(self, node: Node, rows: np.ndarray) -> np.ndarray:
        """The mean of the members' probabilities."""
        run = super().node_probabilities
        how = Routing("hard")
        return np.mean(
            [route(t, run, rows, how).probabilities for t in self._members],
            axis=0,
        )


@dataclasses.dataclass(frozen=True)
class Seed:
    """What contenders are run with, in one work directory a seed.

    Args:
        context: The work directory, whose lock is held, and the images.
        batches: The classes of each step.
        base: The recipe that contenders differ from, with the seed.
        executor: Where jobs run.
        folder: Where the records are kept.
    """

    context: Context
    batches: Batches
    base: Recipe
    executor: Executor
    folder: epath.Path

    def record(self, name: str) -> Record:
        """The record of a contender, which is run unless it is there.

        Raises:
            UserError: If a record is damaged, or a job fails.
        """
        path = self.folder / f"{name}.json"
        made_from = self._made_from(name)
        found = records.read(path, made_from)
        if found is None:
            is_one = not CONTENDERS[name].members
            steps = self._grown(name) if is_one else self._ensemble(name)
            seed = self.base.training.seed
            found = Record(made_from, name, seed, tuple(steps))
            records.write(path, found)
            gc.collect()  # a contender's networks hold each other
        return found

    def _made_from(self, name: str) -> str:
        known = sum(self.batches, ())
        about = [
            [
                self._recipes(each)
                for each in CONTENDERS[name].members or [name]
            ],
            [CONTENDERS[name].scratch, self.batches, READINGS],
            self.context.catalogue.fingerprint(known),
        ]
        return hashlib.sha256(msgspec.json.encode(about)).hexdigest()

    def _recipes(self, name: str) -> list[Recipe]:
        return CONTENDERS[name].recipes(self.base, len(self.batches))

    def _grown(self, name: str) -> Iterator[StepRecord]:
        predictor = _Remembering(self.context)
        context, tree = self.context, None
        for number, recipe in enumerate(self._recipes(name), start=1):
            batches = self.batches[:number]
            before, new = tree, batches[-1]
            if CONTENDERS[name].scratch:
                before, new = None, sum(batches, ())
            own = grower(context, recipe, self.executor, predictor)
            tree, _ = interruption.run(grow_tree(before, new, own))
            yield measured(tree, batches, own, context)
            context = context.keeping(
                choose_exemplars(
                    new_leaves(tree, before),
                    recipe.growth.memory_per_class,
                    context,
                    predictor,
                )
            )

    def _ensemble(self, name: str) -> Iterator[StepRecord]:
        found = [self.record(each) for each in CONTENDERS[name].members]
        members = zip(*(record.steps for record in found), strict=True)
        for number, steps in enumerate(members, start=1):
            trees = [step.tree for step in steps if step.tree]
            predictor = _Averaging(trees, self.context)
            # As one network of the cost of all.
            mean = Tree(Leaf("root", trees[0].classes, "mean"))
            flops = sum(step.readings["one"].flops for step in steps)
            cost = Cost(sum(step.parameters for step in steps), round(flops))
            assessor = Assessor(self.context.catalogue, predictor, _ONE["one"])
            batches, costs = self.batches[:number], {"root": cost}
            yield StepRecord(
                num_classes=len(mean.classes),
                images=sum(step.images for step in steps),
                training_flops=sum(step.training_flops for step in steps),
                tree=None,
                parameters=cost.parameters,
                readings={"one": reading(mean, batches, assessor, costs)},
            )


def measured(
    tree: Tree, batches: Batches, own: Grower, context: Context
) -> StepRecord:
    """Measures a tree under every routing, with what its step was grown."""
    catalogue, predictor = own.assessor.catalogue, own.assessor.predictor
    models = {node.job: predictor.model(node.job) for node in tree.nodes()}
    costs = sharing.costs(tree, models)
    done = [results.read(context.store, use.job) for use in own.jobs.uses()]
    trained = [result for result in done if result.images_swept]
    return StepRecord(
        num_classes=len(tree.classes),
        images=sum(result.images_swept for result in trained),
        training_flops=sum(
            result.images_swept * trained_flops(result.spec)
            for result in trained
        ),
        tree=tree,
        parameters=sum(cost.parameters for cost in costs.values()),
        readings={
            name: reading(
                tree, batches, Assessor(catalogue, predictor, how), costs
            )
            for name, how in (READINGS if tree.branches else _ONE).items()
        },
    )


def reading(
    tree: Tree,
    batches: Batches,
    assessor: Assessor,
    costs: Mapping[str, Cost],
) -> Reading:
    """Measures a tree, with the temperature chosen for one routing.

    Args:
        tree: The tree.
        batches: The classes that it knows, step by step.
        assessor: Judges under the routing.
        costs: Of what each node adds to those above it.
    """
    tree, how = assessor.with_temperatures(tree), assessor.routing
    indices = assessor.catalogue.indices("test", tree.classes)
    labels = assessor.catalogue.labels_among(indices, tree.classes)
    answers = answer(
        tree, indices, labels, assessor.predictor, how, (how.rule,)
    )
    said = answers.by_routing[how.rule]
    wrong = said.named != labels
    steps = {name: n for n, batch in enumerate(batches) for name in batch}
    arrived = np.array([steps[name] for name in tree.classes])[labels]
    old = wrong[arrived < len(batches) - 1]
    return Reading(
        validation_error=assessor.error(tree, tree.classes),
        test_error=float(wrong.mean()),
        top5_error=float(1.0 - said.in_top5.mean()),
        calibration_error=expected_calibration_error(said.confidence, ~wrong),
        old_error=float(old.mean()) if old.size else None,
        batch_errors=tuple(
            float(wrong[arrived == n].mean()) for n in range(len(batches))
        ),
        flops=sharing.flops_per_image(costs, answers.images_run, len(wrong)),
    )


@functools.cache
def trained_flops(spec: JobSpec) -> int:
    """Operations of an image's forward pass through what a job trains."""
    branch = build_model(spec.network, len(spec.classes))
    if not isinstance(spec.start, Together):
        return forward_cost(branch).flops
    leaves = [
        build_model(spec.network, len(own)) for own in spec.start.superclasses
    ]
    whole = grafting.with_leaves(branch, leaves, spec.start.leaf_layers)
    return forward_cost(whole).flops
