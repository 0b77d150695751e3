"""Runs a contender through the project's own jobs, and measures it."""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from etils import epath
from hierkeras.growth.plan import JobPlan

from hierkeras.analysis.answers import answer
from hierkeras.analysis.calibration import expected_calibration_error
from hierkeras.growth.assess import Assessor
from hierkeras.growth.changes import new_leaves
from hierkeras.growth.extend_leaf import Grower
from hierkeras.growth.incremental import first_tree, incremental
from hierkeras.growth.memory import choose_exemplars
from hierkeras.models import grafting
from hierkeras.models.cost import Cost, forward_cost
from hierkeras.models.registry import ModelConfig, build_model
from hierkeras.training import interruption, results, sharing
from hierkeras.training.context import Context
from hierkeras.training.executors import InlineExecutor
from hierkeras.training.jobs import Jobs
from hierkeras.training.predictor import Predictor
from hierkeras.training.spec import JobSpec
from hierkeras.tree import nodes
from hierkeras.tree.generation import Decision
from hierkeras.tree.routing import Routing, route
from study_parts import contenders, records
from study_parts.contenders import Contender, Ensemble, Grown, Scratch
from study_parts.records import Curve, Reading, Record, StepRecord

ONE = "one"  # the reading of a single network
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


class _Remembering(Predictor):
    """Keeps its outputs: each routing asks for the same ones."""

    def forget_outputs(self) -> None:
        pass


class _Averaging(_Remembering):
    """Answers for an ensemble as for a network.

    Args:
        members: Trees whose probabilities are averaged.
        context: The work directory and the images.
    """

    def __init__(self, members: Sequence[nodes.Tree], context: Context) -> None:
        super().__init__(context)
        self._members = members

    def node_probabilities(
        self, node: nodes.Node, rows: np.ndarray
    ) -> np.ndarray:
        """The mean of the members' probabilities, in the node's order."""
        opinions = []
        for member in self._members:
            run = super().node_probabilities
            routed = route(member, run, rows, READINGS["hard"])
            column = {name: i for i, name in enumerate(member.classes)}
            columns = [column[name] for name in node.classes]
            opinions.append(routed.probabilities[:, columns])
        return np.mean(opinions, axis=0)


class SeedRunner:
    """Runs contenders with one seed, in one work directory.

    Args:
        context: The work directory, which the caller holds the lock of, and
            the images, of which the unreadable ones are left out.
        batches: The classes of each step.
        plan: How models are trained, with the seed.
        folder: Where the records are kept.
    """

    def __init__(
        self,
        context: Context,
        batches: Sequence[tuple[str, ...]],
        plan: JobPlan,
        folder: epath.Path,
    ) -> None:
        self._context = context
        self._batches = batches
        self._plan = plan
        self._folder = folder
        known = [name for batch in batches for name in batch]
        self._data = context.catalogue.fingerprint(known)

    def record(self, contender: Contender) -> Record:
        """The record of a contender, which is run unless it is there."""
        path = self._folder / f"{contender.name}.json"
        made_from = self._made_from(contender)
        found = records.read(path, made_from)
        if found is not None:
            return found
        steps = (
            self._ensemble(contender)
            if isinstance(contender, Ensemble)
            else self._run(contender)
        )
        try:
            made = Record(
                made_from, contender.name, self._plan.seed, tuple(steps)
            )
        finally:
            self._context.keep_only({})  # the next contender has every image
        records.write(path, made)
        gc.collect()  # a contender's networks hold each other
        return made

    def _made_from(self, contender: Contender) -> str:
        parts = [contender]
        if isinstance(contender, Ensemble):
            parts += self._members(contender)
        return json.dumps(
            {
                "contenders": [
                    {"kind": type(part).__name__, **dataclasses.asdict(part)}
                    for part in parts
                ],
                "plan": repr(self._plan),
                "batches": self._batches,
                "readings": {
                    name: msgspec.to_builtins(how)
                    for name, how in READINGS.items()
                },
                "data": self._data,
            },
            sort_keys=True,
        )

    def _members(self, ensemble: Ensemble) -> list[Contender]:
        return [contenders.CONTENDERS[name] for name in ensemble.members]

    def _run(self, contender: Scratch | Grown) -> Iterator[StepRecord]:
        predictor = _Remembering(self._context)
        plan, options = contenders.apply(contender, self._plan)
        if isinstance(contender, Scratch) and contender.networks > 1:
            total = sum(map(len, self._batches))
            model = widened(plan.model, contender.networks, total)
            plan = dataclasses.replace(plan, model=model)
        tree: nodes.Tree | None = None
        for number, batch in enumerate(self._batches):
            assessor = Assessor(
                self._context.catalogue, predictor, options.routing
            )
            jobs = Jobs(self._context, InlineExecutor())
            # The first network is everyone's.
            own = plan if number else self._plan
            is_last = number == len(self._batches) - 1
            now = contenders.growth_in(contender, options, is_last)
            grower = Grower(now, own, jobs, assessor)
            growing = (
                first_tree(self._known(number), grower)
                if tree is None or isinstance(contender, Scratch)
                else incremental(tree, batch, grower)
            )
            grown: tuple[nodes.Tree, tuple[Decision, ...]]
            grown = interruption.run(growing)
            before, tree = tree, grower.calibrated(grown[0])
            yield self._measure(number, tree, grower)
            self._context.keep_only(
                choose_exemplars(
                    new_leaves(tree, before),
                    options.memory_per_class,
                    self._context,
                    predictor,
                )
            )

    def _known(self, number: int) -> tuple[str, ...]:
        return tuple(itertools.chain(*self._batches[: number + 1]))

    def _measure(
        self, number: int, tree: nodes.Tree, grower: Grower
    ) -> StepRecord:
        predictor = grower.assessor.predictor
        models = {node.job: predictor.model(node.job) for node in tree.nodes()}
        unshared = {
            node.name: forward_cost(models[node.job]) for node in tree.nodes()
        }
        shared = sharing.costs(tree, models)
        rules = READINGS if tree.branches else {ONE: READINGS["hard"]}
        store = self._context.store
        uses = [
            (use, results.read(store, use.job)) for use in grower.jobs.uses()
        ]
        return StepRecord(
            num_classes=len(tree.classes),
            jobs={use.job: use.images_swept for use, _ in uses},
            seconds=sum(result.seconds for _, result in uses),
            training_flops=sum(
                use.images_swept * trained_flops(result.spec)
                for use, result in uses
                if use.images_swept
            ),
            tree=tree,
            num_leaves=len(tree.leaves),
            parameters=sum(cost.parameters for cost in shared.values()),
            unshared_parameters=sum(
                cost.parameters for cost in unshared.values()
            ),
            readings={
                name: self._read(
                    number,
                    self._calibrated(tree, grower, how),
                    predictor,
                    how,
                    shared,
                    unshared,
                )
                for name, how in rules.items()
            },
            curves=tuple(
                Curve(
                    use.label,
                    tuple(
                        (epoch["images_swept"], epoch["validation_error"])
                        for epoch in results.read_history(store, use.job)
                    ),
                )
                for use, _ in uses
            ),
        )

    def _calibrated(
        self, tree: nodes.Tree, grower: Grower, how: Routing
    ) -> nodes.Tree:
        """The tree with temperatures for one way of routing."""
        assessor = Assessor(
            self._context.catalogue, grower.assessor.predictor, how
        )
        return dataclasses.replace(grower, assessor=assessor).calibrated(tree)

    def _read(
        self,
        number: int,
        tree: nodes.Tree,
        predictor: Predictor,
        how: Routing,
        shared: Mapping[str, Cost],
        unshared: Mapping[str, Cost],
    ) -> Reading:
        catalogue = self._context.catalogue
        answers, labels = {}, {}
        for split in ("validation", "test"):
            indices = catalogue.indices(split, tree.classes)
            labels[split] = catalogue.labels_among(indices, tree.classes)
            answers[split] = answer(
                tree, indices, labels[split], predictor, how, (how.rule,)
            )
        test = answers["test"].by_routing[how.rule]
        wrong = test.named != labels["test"]
        batch_of = np.empty(len(tree.classes), int)
        for arrived, batch in enumerate(self._batches[: number + 1]):
            batch_of[[tree.classes.index(name) for name in batch]] = arrived
        batch_of = batch_of[labels["test"]]
        is_new = batch_of == number
        chosen = answers["validation"].by_routing[how.rule].named
        runs = answers["test"].images_run
        return Reading(
            validation_error=float((chosen != labels["validation"]).mean()),
            test_error=float(wrong.mean()),
            top5_error=float(1.0 - test.in_top5.mean()),
            calibration_error=expected_calibration_error(
                test.confidence, ~wrong
            ),
            old_error=float(wrong[~is_new].mean()) if number else None,
            new_error=float(wrong[is_new].mean()),
            batch_accuracies=tuple(
                float(1.0 - wrong[batch_of == k].mean())
                for k in range(number + 1)
            ),
            flops=sharing.flops_per_image(shared, runs, len(wrong)),
            unshared_flops=sharing.flops_per_image(unshared, runs, len(wrong)),
        )

    def _ensemble(self, ensemble: Ensemble) -> Iterator[StepRecord]:
        found = [self.record(member) for member in self._members(ensemble)]
        steps_of_each = zip(*(record.steps for record in found), strict=True)
        for number, steps in enumerate(steps_of_each):
            trees = [step.tree for step in steps if step.tree]
            if len(trees) < len(steps) or any(t.branches for t in trees):
                raise ValueError(f"{ensemble.name} has no networks as members")
            jobs = {job: n for step in steps for job, n in step.jobs.items()}
            # As one network of so many times the cost.
            predictor = _Averaging(trees, self._context)
            mean = Assessor(
                self._context.catalogue, predictor, READINGS["hard"]
            ).with_temperatures(
                nodes.Tree(nodes.Leaf("root", trees[0].classes, "mean"))
            )
            flops = sum(step.readings[ONE].flops for step in steps)
            parameters = sum(step.parameters for step in steps)
            cost = {"root": Cost(parameters, round(flops))}
            yield StepRecord(
                num_classes=len(mean.classes),
                jobs=jobs,
                seconds=sum(
                    results.read(self._context.store, job).seconds
                    for job in jobs
                ),
                training_flops=sum(step.training_flops for step in steps),
                tree=None,
                num_leaves=len(trees),
                parameters=parameters,
                unshared_parameters=parameters,
                readings={
                    ONE: self._read(
                        number,
                        mean,
                        predictor,
                        READINGS["hard"],
                        cost,
                        cost,
                    )
                },
                curves=(),
            )


@functools.cache
def trained_flops(spec: JobSpec) -> int:
    """Operations of an image's forward pass through what a job trains."""
    branch = build_model(spec.model, len(spec.classes))
    if spec.leaves is None:
        return forward_cost(branch).flops
    leaves = [build_model(spec.model, len(own)) for own in spec.leaves.classes]
    joint = grafting.with_leaves(branch, leaves, spec.leaves.top_layers)
    return forward_cost(joint).flops


def widened(model: ModelConfig, networks: int, num_classes: int) -> ModelConfig:
    """The width at which a network has the parameters of several.

    Args:
        model: The network.
        networks: How many.
        num_classes: Classes of each.
    """

    def parameters(width: float) -> int:
        config = dataclasses.replace(model, width_multiplier=width)
        return build_model(config, num_classes).count_params()

    wanted = networks * parameters(model.width_multiplier)
    # Parameters grow about as the square of the width.
    guess = model.width_multiplier * networks**0.5
    widths = [guess * (0.7 + 0.025 * step) for step in range(25)]
    nearest = min(widths, key=lambda width: abs(parameters(width) - wanted))
    return dataclasses.replace(model, width_multiplier=round(nearest, 4))
