"""Algorithm 1 of the paper: a leaf that received new classes grows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import numpy as np

from hierkeras.growth.assess import Assessor
from hierkeras.growth.capacity import capacities
from hierkeras.growth.competition import compete
from hierkeras.growth.options import GrowthOptions
from hierkeras.growth.partition import partition, partition_by_gain
from hierkeras.growth.plan import JobPlan
from hierkeras.growth.preview import confusion_rates
from hierkeras.training.jobs import Jobs
from hierkeras.training.spec import JobSpec
from hierkeras.tree.generation import Decision
from hierkeras.tree.names import JobId
from hierkeras.tree.nodes import Branch, Leaf, Node, Tree


@dataclasses.dataclass(frozen=True)
class Grower:
    """What growing needs: how, with which jobs, judged on which images."""

    options: GrowthOptions
    plan: JobPlan
    jobs: Jobs
    assessor: Assessor

    def plan_from(self, parent: JobId) -> JobPlan:
        """The plan of what starts from a job: it is as wide.

        Raises:
            UserError: If the job is missing or damaged.
        """
        return self.plan.with_width(self.width(parent))

    def width(self, job: JobId) -> float:
        """The `width_multiplier` of a finished job's network."""
        return self.jobs.spec(job).model.width_multiplier

    def temperature(self, job: JobId, classes: tuple[str, ...]) -> float:
        """The temperature of a model that was just trained."""
        if self.options.calibrate not in ("nodes", "both"):
            return 1.0
        return self.assessor.temperature(job, classes)

    async def train(self, spec: JobSpec, name: str, part: str) -> Leaf:
        """Runs a job.

        Args:
            spec: The job.
            name: Of the node that it makes, or makes a part of.
            part: What its model is for, in messages.

        Returns:
            Its model as a leaf of that name, which knows its classes.
        """
        await self.jobs.run(spec, f"{name} {part}")
        temperature = self.temperature(spec.job, spec.classes)
        return Leaf(name, spec.classes, spec.job, temperature)

    def calibrated(self, tree: Tree) -> Tree:
        """The step's tree, with temperatures of its whole answer if wanted."""
        if self.options.calibrate not in ("tree", "both"):
            return tree
        return self.assessor.with_temperatures(tree)


async def extend_leaf(
    leaf: Leaf, received: tuple[str, ...], grower: Grower
) -> tuple[Node, Decision]:
    """Grows a leaf by the better of flat and clone increment (Algorithm 1).

    Args:
        leaf: The leaf.
        received: The new classes, at least one.
        grower: What growing needs.

    Returns:
        What takes the leaf's place, a wider leaf or a branch with cloned
        leaves, of the same name; and why.
    """
    classes = (*leaf.classes, *received)
    options = grower.options
    if options.growth == "flat" or len(classes) < options.min_classes_to_clone:
        flat = await _flat_increment(leaf, classes, grower)
        return flat, _forced(flat, received, grower)
    joint = bool(grower.plan.joint_epochs)
    if options.confusion_from == "flat":
        # The job is there when the increments ask for it again.
        knowing = _preview if joint else _flat_increment
        groups = superclasses(await knowing(leaf, classes, grower), (), grower)
    else:
        groups = superclasses(leaf, received, grower)
    if len(groups) < 2:
        flat = await _flat_increment(leaf, classes, grower)
        return flat, _forced(flat, received, grower)
    grow = _trained_together if joint else _both_increments
    clone, flat = await grow(leaf, classes, groups, grower)
    verdict = compete(flat, clone, grower.assessor, options)
    is_forced = options.growth == "clone"
    takes_clone = is_forced or verdict.takes_clone
    evidence = verdict.evidence
    if options.leaf_capacity > 1:
        widths = [grower.width(child.job) for child in clone.children]
        evidence += f"; leaves of width {', '.join(f'{w:g}' for w in widths)}"
    decision = Decision(
        node=leaf.name,
        received=received,
        growth="clone" if takes_clone else "flat",
        reason=("--growth=clone; " if is_forced else "") + evidence,
        flat=flat,
        flat_error=verdict.flat_error,
        clone=clone,
        clone_error=verdict.clone_error,
        flat_flops=verdict.flat_flops,
        clone_flops=verdict.clone_flops,
    )
    return (clone if takes_clone else flat), decision


def superclasses(
    leaf: Leaf, received: tuple[str, ...], grower: Grower
) -> tuple[tuple[str, ...], ...]:
    """Divides a leaf's classes, and new ones that it previews.

    Args:
        leaf: The leaf.
        received: Classes that it does not know, if any.
        grower: What growing needs.

    Returns:
        The classes of each superclass; a single one if there is nothing to
        divide.
    """
    rates = []
    for classes in (leaf.classes, received):
        indices, true = grower.assessor.samples(classes)
        outputs = grower.assessor.predictor.node_probabilities(leaf, indices)
        rates.append(
            confusion_rates(
                outputs,
                true,
                len(classes),
                grower.options.confusion_counts,
            )
        )
    count, seed = grower.options.num_superclasses, grower.plan.seed
    labels = (
        partition_by_gain(rates[0], count, seed)
        if grower.options.partition_by == "predicted_error"
        else partition(rates[0], rates[1], count, seed)
    )
    names = np.array([*leaf.classes, *received], dtype=object)
    return tuple(
        tuple(names[labels == k]) for k in range(int(labels.max()) + 1)
    )


async def _flat_increment(
    leaf: Leaf, classes: tuple[str, ...], grower: Grower
) -> Leaf:
    spec = grower.plan_from(leaf.job).flat(
        leaf.job, classes, grower.assessor.catalogue
    )
    return await grower.train(spec, leaf.name, "flat")


async def _both_increments(
    leaf: Leaf,
    classes: tuple[str, ...],
    groups: tuple[tuple[str, ...], ...],
    grower: Grower,
) -> tuple[Branch, Leaf]:
    async def clone(parent: Leaf, k: int, capacity: float = 1.0) -> Leaf:
        spec = grower.plan_from(parent.job).leaf(
            parent.job, groups[k], grower.assessor.catalogue, capacity
        )
        return await grower.train(spec, f"{leaf.name}.{k + 1}", "leaf")

    flat_increment = _flat_increment(leaf, classes, grower)
    if grower.options.clone_from == "flat":
        flat = await flat_increment
        factors = capacities(
            flat,
            groups,
            grower.options.leaf_capacity,
            grower.options.capacity_rule,
            grower.assessor,
        )
        clones = [clone(flat, k, factor) for k, factor in enumerate(factors)]
        leaves = await asyncio.gather(*clones)
    else:
        clones = [clone(leaf, k) for k in range(len(groups))]
        flat, *leaves = await asyncio.gather(flat_increment, *clones)
    return _branch(flat, leaves, grower), flat


def _branch(router: Leaf, leaves: Sequence[Leaf], grower: Grower) -> Branch:
    """Figure 4: the branch is a model of all classes, its units summed."""
    branch = Branch(
        router.name,
        router.classes,
        router.job,
        tuple(leaves),
        temperature=router.temperature,
    )
    return grower.assessor.with_exponent(branch)


async def _preview(
    leaf: Leaf, classes: tuple[str, ...], grower: Grower
) -> Leaf:
    """The leaf with columns for new classes, of which it learnt nothing."""
    spec = grower.plan_from(leaf.job).preview(
        leaf.job, classes, grower.assessor.catalogue
    )
    await grower.jobs.run(spec, f"{leaf.name} preview")
    return Leaf(leaf.name, classes, spec.job)


async def _trained_together(
    leaf: Leaf,
    classes: tuple[str, ...],
    groups: tuple[tuple[str, ...], ...],
    grower: Grower,
) -> tuple[Branch, Leaf]:
    """A branch with its leaves, and the branch alone: the flat increment."""
    plan, catalogue = grower.plan_from(leaf.job), grower.assessor.catalogue
    preview = await _preview(leaf, classes, grower)
    joint = plan.joint(preview.job, groups, classes, catalogue)
    flat = await grower.train(joint, leaf.name, "joint")

    async def cut_out(k: int) -> Leaf:
        spec = plan.cut_out(joint.job, k, groups[k], catalogue)
        return await grower.train(spec, f"{leaf.name}.{k + 1}", "leaf")

    leaves = await asyncio.gather(*map(cut_out, range(len(groups))))
    return _branch(flat, leaves, grower), flat


def _forced(flat: Leaf, received: tuple[str, ...], grower: Grower) -> Decision:
    options = grower.options
    few = (
        f"{len(flat.classes) - len(received)} old and {len(received)} new "
        "classes are"
    )
    if options.growth == "flat":
        reason = "--growth=flat"
    elif len(flat.classes) < options.min_classes_to_clone:
        least = options.min_classes_to_clone
        reason = f"{few} fewer than --min_classes_to_clone={least}"
    else:
        reason = f"{few} too few to divide"
    return Decision(
        node=flat.name,
        received=received,
        growth="flat",
        reason=reason,
        flat=flat,
        flat_error=grower.assessor.error(Tree(flat), flat.classes),
    )
