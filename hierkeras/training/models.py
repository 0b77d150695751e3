"""The models of finished jobs, trained or solved, and new ones."""

from __future__ import annotations

import keras

from hierkeras.models import blocks, registry, surgery, trunks
from hierkeras.models.registry import ModelConfig
from hierkeras.training import results, solutions
from hierkeras.training.context import Context
from hierkeras.training.spec import Imported, Solved


def load(context: Context, job: str) -> keras.Model:
    """Loads the model of a finished job, not compiled.

    Solved and imported ones share the layers of their trunk.

    Args:
        context: The work directory.
        job: The job id.

    Raises:
        UserError: If it is missing or damaged.
    """
    store = context.store
    spec = results.read(store, job).spec
    if not isinstance(spec.start, Solved | Imported):
        return results.load_model(store, job)
    head = solutions.read_head(store, job)
    trunk = context.trunk(spec.network)
    model = blocks.classifier(
        trunk.input, trunk.output, len(spec.classes), 0.0, "solved"
    )
    with results.naming_damage(store, job):
        model.get_layer(surgery.HEAD).set_weights([head.kernel, head.bias])
    return model


def build(
    context: Context, network: ModelConfig, num_classes: int
) -> keras.Model:
    """A network that no job has trained.

    Args:
        context: The work directory, which holds trunks.
        network: The network.
        num_classes: Number of classes.

    Returns:
        As `registry.build_model`; above a trunk, with the trunk's weights.
    """
    if not network.trunk:
        return registry.build_model(network, num_classes)
    # A copy, whose weights are its own.
    return trunks.with_head(
        context.trunk(network), num_classes, network.dropout or 0.0
    )
