"""A trunk that is trained on the first classes, and stays as it is then."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hierkeras.growth.specs import Specs
from hierkeras.recipe.recipe import Recipe
from hierkeras.training import results, trunk_files
from hierkeras.training.context import Context
from hierkeras.training.jobs import Jobs
from hierkeras.training.spec import Tuned
from hierkeras.training.trunk_files import Opened
from hierkeras.tree.generation import Generation
from hierkeras.tree.names import JobId
from hierkeras.tree.nodes import Tree
from hierkeras.tree.store import Store


def is_pending(recipe: Recipe, tree: Tree | None) -> bool:
    """Whether a step begins with a trunk that is to be trained.

    Args:
        recipe: Its recipe.
        tree: What it begins with; None: there is none.
    """
    return tree is None and recipe.network.tuned_epochs > 0


async def tuned(
    recipe: Recipe, classes: Sequence[str], context: Context, jobs: Jobs
) -> Recipe:
    """Trains the trunk that a recipe names, and keeps what it becomes.

    Args:
        recipe: Its `tuned_epochs` are at least 1.
        classes: What it is trained to tell apart: the first step's classes.
        context: Their images.
        jobs: Runs what is needed.

    Returns:
        The recipe, of the trunk that it became.
    """
    specs = Specs(recipe, context.catalogue)
    done = await jobs.run(specs.tuned(classes), "trunk")
    model = results.load_model(context.store, done.job)
    trunk, network = trunk_files.tuned(model, recipe.network)
    trunk_files.keep(context.store, trunk, network)
    return msgspec.structs.replace(recipe, network=network)


def followed(
    opened: Opened, history: Sequence[Generation], store: Store
) -> Opened:
    """What a trunk became, if a tree grew from that.

    The command that began a work directory names the trunk as it was given,
    whenever it is run.

    Args:
        opened: The trunk as it was given.
        history: The generations that led to the tree, the first one first.
        store: The work directory.
    """
    network = opened.recipe.network
    for job in _trainings(history[0], network.trunk, store):
        trunk, became = trunk_files.tuned(
            results.load_model(store, job), network
        )
        recipe = msgspec.structs.replace(opened.recipe, network=became)
        return Opened(recipe, trunk)
    return opened


def _trainings(first: Generation, trunk: str, store: Store) -> list[JobId]:
    """Ids of the jobs of a generation that trained a trunk."""
    specs = [results.read(store, use.job).spec for use in first.step.jobs]
    return [
        spec.job
        for spec in specs
        if isinstance(spec.start, Tuned) and spec.network.trunk == trunk
    ]
