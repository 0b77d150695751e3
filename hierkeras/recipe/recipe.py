"""The recipe, one value: every option of growing a tree."""

from __future__ import annotations

import msgspec

from hierkeras._errors import UsageError
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.models.registry import ModelConfig, check_config
from hierkeras.recipe.growth import Growth
from hierkeras.recipe.serving import Serving
from hierkeras.recipe.training import Training
from hierkeras.recipe.watching import Watching
from hierkeras.tree.routing import Routing


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides how a tree is trained, grown and served.

    A new option is a field of one of these, its use and its test: flags,
    help, the generation's file and job ids are made from the fields.

    Args:
        network: The network of every node.
        training: How it is trained.
        growth: How the tree grows.
        routing: How the tree answers; the competition is judged under it.
        serving: What a served tree answers.
        watching: What is told of trainings; it decides nothing.
    """

    network: ModelConfig = ModelConfig()
    training: Training = Training()
    growth: Growth = Growth()
    routing: Routing = Routing()
    serving: Serving = Serving()
    watching: Watching = Watching()

    @property
    def pixels(self) -> Pixels:
        """How images become squares of the network's size."""
        network = self.network
        return Pixels(
            network.resize, network.background, self.serving.max_pixels
        )


def check(recipe: Recipe) -> None:
    """Checks that the fields of a resolved recipe fit each other.

    Raises:
        UsageError: If they do not; the message names what to change.
    """
    check_config(recipe.network)
    if recipe.training.heads == "solved":
        _check_solved(recipe)
    else:
        _check_trained(recipe.training)
    if not recipe.network.trunk:
        _check_without_trunk(recipe.network)
    if recipe.growth.increments != "flat":
        _check_clones(recipe.growth)


def _check_solved(recipe: Recipe) -> None:
    """Refuses what does not go with heads that are solved."""
    if not recipe.network.trunk:
        raise UsageError(
            "heads=solved needs a trunk; give --backbone=FILE.keras. "
            f"Received: backbone={recipe.network.backbone}"
        )
    if recipe.training.augment not in ("none", "mirror"):
        raise UsageError(
            "heads=solved takes augment=none or augment=mirror: features are "
            "computed once, so that nothing is changed at random. "
            f"Received: augment={recipe.training.augment}"
        )
    if recipe.growth.memory_per_class:
        raise UsageError(
            "heads=solved needs no exemplars: features of every image are "
            "kept; give memory_per_class=0. Received: "
            f"memory_per_class={recipe.growth.memory_per_class}"
        )
    grows = recipe.growth.increments != "flat"
    if grows and recipe.growth.leaves == "together":
        raise UsageError(
            "heads=solved and leaves=together exclude each other: nothing is "
            "learnt together; give leaves=after or leaves=beside"
        )


def _check_trained(training: Training) -> None:
    """Refuses what networks that are trained would ignore."""
    for name, neutral in (("crops", 0), ("shrinkage", None)):
        if (value := getattr(training, name)) != neutral:
            raise UsageError(
                f"{name} is of solved heads; give heads=solved, or "
                f"{name}={'unset' if neutral is None else neutral}. "
                f"Received: {name}={value}, heads=trained"
            )


def _check_without_trunk(network: ModelConfig) -> None:
    """Refuses what a network that nobody trained would ignore."""
    if network.feature_depths:
        raise UsageError(
            "feature_depths is of a trunk; give --backbone=FILE.keras, or "
            "feature_depths=0. Received: "
            f"feature_depths={network.feature_depths}, "
            f"backbone={network.backbone}"
        )
    if network.input_range is not None:
        raise UsageError(
            "input_range is of the network of a file; give "
            "--backbone=FILE.keras, or input_range=unset. Received: "
            f"input_range={network.input_range}, backbone={network.backbone}"
        )


def _check_clones(growth: Growth) -> None:
    """Refuses what clone increments cannot do, or would ignore."""
    if growth.num_superclasses == 1:
        raise UsageError(
            "num_superclasses=1 divides nothing; give at least 2, or 0 to "
            "have it chosen"
        )
    if growth.partition_by == "predicted_error" and growth.leaves == "beside":
        raise UsageError(
            "partition_by=predicted_error needs leaves=after or "
            "leaves=together, which know what new classes are confused with"
        )
    if growth.leaves == "beside" and growth.leaf_layers:
        raise UsageError(
            f"leaves=beside and leaf_layers={growth.leaf_layers} exclude each "
            "other: such leaves would keep layers of the old leaf, which no "
            "branch shares; give leaves=after or leaves=together"
        )
    if growth.leaves == "together":
        _check_together(growth)


def _check_together(growth: Growth) -> None:
    """Refuses what leaves that learn with their branch would ignore."""
    for name, neutral in (("leaf_shrink", 1.0), ("leaf_perturb", 0.0)):
        value = getattr(growth, name)
        if value != neutral:
            raise UsageError(
                f"leaves=together and {name}={value:g} exclude each other: "
                "such leaves begin as their branch does; give shrink and "
                "perturb, or leaves=after"
            )
    if growth.memory_per_class:
        raise UsageError(
            f"leaves=together and memory_per_class={growth.memory_per_class} "
            "exclude each other: a branch that learns with its leaves cannot "
            "keep to the old model's opinion; give leaves=after, or "
            "--recipe=exemplars"
        )
