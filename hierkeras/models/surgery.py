"""Surgery on trained networks: widen, restrict, imprint, freeze.

Every network here ends in a `Dense` named "logits" with a column for each
class. Classes are matched by name, so that one function widens a softmax,
restricts it to some classes, or reorders it.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

HEAD = "logits"
PARTS = ("all", "head", "none")


def transfer_weights(
    source: keras.Model,
    target: keras.Model,
    source_classes: Sequence[str],
    target_classes: Sequence[str],
) -> tuple[str, ...]:
    """Copies a network into one over other classes.

    Everything below the logits is copied, with the columns of the classes that
    both know: the flat increment's initialisation of section 4.1 where the
    target has more classes, a leaf's where it has fewer.

    Args:
        source: The network to copy from.
        target: A network of the same structure; changed in place.
        source_classes: Names of the source's columns.
        target_classes: Names of the target's columns.

    Returns:
        Those of `target_classes` that the source lacks, in their order. Their
        columns keep the target's initialisation.

    Raises:
        ValueError: The networks differ below the logits, or a list of classes
            does not fit its network.
    """
    kernel, bias = _head_weights(source, source_classes, "source")
    new_kernel, new_bias = _head_weights(target, target_classes, "target")
    if kernel.shape[0] != new_kernel.shape[0]:
        raise ValueError(
            f"Cannot transfer weights: the source has {kernel.shape[0]} "
            f"features, the target {new_kernel.shape[0]}."
        )
    _copy_body(source, target)
    column_of = {name: column for column, name in enumerate(source_classes)}
    new_classes = []
    for column, name in enumerate(target_classes):
        if name in column_of:
            new_kernel[:, column] = kernel[:, column_of[name]]
            new_bias[column] = bias[column_of[name]]
        else:
            new_classes.append(name)
    target.get_layer(HEAD).set_weights([new_kernel, new_bias])
    return tuple(new_classes)


def _head_weights(
    model: keras.Model, classes: Sequence[str], role: str
) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = model.get_layer(HEAD).get_weights()
    if len(classes) != len(bias) or len(set(classes)) != len(classes):
        raise ValueError(
            f"The {role} has {len(bias)} columns and needs as many different "
            f"class names. Received: {len(classes)} names, "
            f"{len(set(classes))} of them different."
        )
    return kernel, bias


def _copy_body(source: keras.Model, target: keras.Model) -> None:
    old_layers, new_layers = _body(source), _body(target)
    if len(old_layers) != len(new_layers):
        raise ValueError(
            f"Cannot transfer weights: the source has {len(old_layers)} layers "
            f"with weights below the logits, the target {len(new_layers)}."
        )
    pairs = list(zip(old_layers, new_layers, strict=True))
    for old, new in pairs:
        old_shapes = [tuple(w.shape) for w in old.weights]
        new_shapes = [tuple(w.shape) for w in new.weights]
        if type(old) is not type(new) or old_shapes != new_shapes:
            raise ValueError(
                "Cannot transfer weights: the source's layer "
                f"{type(old).__name__} {old.name!r} has weights of shapes "
                f"{old_shapes}, the target's {type(new).__name__} "
                f"{new.name!r} {new_shapes}."
            )
    for old, new in pairs:
        new.set_weights(old.get_weights())


def _body(model: keras.Model) -> list[keras.Layer]:
    """Layers with weights below the logits, in topological order.

    They are matched by position: Keras numbers unnamed layers anew in every
    model, so that names differ between two models of the same structure.
    """
    return [
        layer for layer in model.layers if layer.weights and layer.name != HEAD
    ]


def feature_extractor(model: keras.Model) -> keras.Model:
    """Returns the part of a network below its logits; weights are shared.

    Args:
        model: A network with a layer "logits".

    Returns:
        The model from the same input to the input of "logits", of shape (n, f).
    """
    return keras.Model(model.input, model.get_layer(HEAD).input)


def head_alone(model: keras.Model) -> keras.Model:
    """Returns a network of a network's logits alone, with weights of its own.

    Args:
        model: A network with a layer "logits".

    Returns:
        The model from features of shape (n, f) to logits; built under the
        strategy of `model`. Its weights begin as that layer's.
    """
    head = model.get_layer(HEAD)
    with model.distribute_strategy.scope():
        features = keras.Input(head.input.shape[1:], dtype=head.input.dtype)
        copy = type(head).from_config(head.get_config())
        alone = keras.Model(features, copy(features))
    copy.set_weights(head.get_weights())
    return alone


def top_weights(model: keras.Model, leaf_layers: int) -> list[np.ndarray]:
    """The weights of a network's upper layers.

    Args:
        model: A network with a layer "logits".
        leaf_layers: How many layers with a kernel, counted from the logits
            down, they begin with; 0, or more than there are: all.

    Returns:
        Their values, those of lower layers first.
    """
    return [
        np.asarray(weight)
        for layer in model.layers[cut(model, leaf_layers) :]
        for weight in layer.weights
    ]


def set_top_weights(
    model: keras.Model, leaf_layers: int, values: Sequence[np.ndarray]
) -> None:
    """Gives a network's upper layers the weights that `top_weights` gave.

    Raises:
        ValueError: They are of another network.
    """
    layers = model.layers[cut(model, leaf_layers) :]
    weights = [weight for layer in layers for weight in layer.weights]
    own = [tuple(weight.shape) for weight in weights]
    given = [value.shape for value in values]
    if own != given:
        raise ValueError(
            f"Cannot set weights of shapes {own}. Received: {given}."
        )
    for weight, value in zip(weights, values, strict=True):
        weight.assign(value)


def imprint(
    model: keras.Model,
    new_columns: Sequence[int],
    features: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Initialises the logits of new classes from their mean features.

    Weight imprinting (Qi et al. 2018, "Low-Shot Learning with Imprinted
    Weights") sets a class's column to its mean feature on the unit sphere. It
    is adapted here to features and columns that are not normalised: with m and
    c the mean of the old columns and biases, mu the mean feature, d a class's
    mean feature less mu at length 1, and s the mean length of the old columns
    less m, the new logit is

        m . x + c + s d . (x - mu)

    so an image without any tendency is given the old classes' mean logit.

    Args:
        model: A network with a layer "logits"; changed in place.
        new_columns: Columns to set. At least two others must be left.
        features: Float array of shape (n, f), the outputs of
            `feature_extractor`. To tell what is particular about the new
            classes they should hold examples of the old ones too.
        labels: Integer array of shape (n,): the column of each row's class.

    Raises:
        ValueError: Fewer than two old columns, a new column without examples,
            or one whose mean feature is the overall mean.
    """
    head = model.get_layer(HEAD)
    kernel, bias = head.get_weights()
    old_columns = np.setdiff1d(np.arange(len(bias)), new_columns)
    if len(old_columns) < 2:
        raise ValueError(
            "Imprinting takes its scale from at least 2 old columns. "
            f"Received: {len(new_columns)} new columns of {len(bias)}."
        )
    old_kernel = kernel[:, old_columns]
    mean_column = old_kernel.mean(axis=1)
    mean_bias = bias[old_columns].mean()
    scale = np.linalg.norm(
        old_kernel - mean_column[:, np.newaxis], axis=0
    ).mean()
    features = np.asarray(features, "float32")  # they may be bfloat16
    mean_feature = features.mean(axis=0)
    for column in new_columns:
        rows = features[labels == column]
        if not len(rows):
            raise ValueError(
                f"Column {column} has no examples to be imprinted from."
            )
        deviation = rows.mean(axis=0) - mean_feature
        length = np.linalg.norm(deviation)
        if not length > 0:
            raise ValueError(
                f"The mean feature of column {column} is that of all the "
                "examples: give examples of other classes too."
            )
        direction = deviation / length
        kernel[:, column] = mean_column + scale * direction
        bias[column] = mean_bias - scale * direction @ mean_feature
    head.set_weights([kernel, bias])


def shrink_and_perturb(
    model: keras.Model, fresh: Sequence[np.ndarray], shrink: float, noise: float
) -> None:
    """Moves a network that was copied towards a random one.

    Ash & Adams 2020, "On Warm-Starting Neural Network Training", section 4:
    each weight becomes `shrink` times itself plus `noise` times a fresh random
    one. Normalisation has no random weights, and stays; so does what is not
    trained.

    Args:
        model: The network; changed in place.
        fresh: Its weights as they were initialised.
        shrink: In (0, 1]; 1 leaves the weights as they are.
        noise: At least 0.
    """
    for weight, random in zip(model.weights, fresh, strict=True):
        if weight.name == "kernel" and weight.trainable:
            weight.assign(shrink * weight + noise * random)


def set_trainable(model: keras.Model, part: str, leaf_layers: int = 0) -> None:
    """Chooses the part of a network that training changes.

    Frozen batch normalisation also runs in inference mode, so a frozen body
    computes the same features in training as in evaluation (dropout aside).
    Compile the model afterwards: Keras fixes the choice then.

    Args:
        model: A network with a layer "logits"; changed in place.
        part: "all", "head" (the logits only) or "none".
        leaf_layers: With "all", how many layers with a kernel, counted from
            the logits down, are trained with what is above them; 0, or more
            than there are: all.

    Raises:
        ValueError: `part` is none of these.
    """
    if part not in PARTS:
        raise ValueError(
            f"Unknown part {part!r}: expected one of {', '.join(PARTS)}."
        )
    # A model that is itself frozen hides the state of its layers.
    model.trainable = True
    lowest = cut(model, leaf_layers)
    for number, layer in enumerate(model.layers):
        layer.trainable = (part == "all" and number >= lowest) or (
            part == "head" and layer.name == HEAD
        )


def cut(model: keras.Model, leaf_layers: int) -> int:
    """Where a network's upper layers begin.

    Args:
        model: The network.
        leaf_layers: How many layers with a kernel, counted from the logits
            down, are above the cut; 0, or more than there are: all.

    Returns:
        The number of the lowest among `model.layers`.
    """
    kernels = [i for i, layer in enumerate(model.layers) if _has_kernel(layer)]
    return kernels[-leaf_layers] if 0 < leaf_layers <= len(kernels) else 0


def _has_kernel(layer: keras.Layer) -> bool:
    return any("kernel" in weight.name for weight in layer.weights)
