"""What a version is, for people: model_card.md.

The sections are those of Mitchell et al. 2019, "Model Cards for Model
Reporting", https://arxiv.org/abs/1810.03993, as far as a step knows them.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import msgspec

from hierkeras.tree.names import printable
from hierkeras.tree.routing import Routing

FILE = "model_card.md"

_TEXT = """# Generation {generation}

## Model

A tree of {networks} {model[backbone]} networks with
{leaves} leaves and depth {tree.depth}, answering by
{routing}; images of {model[image_size]}x{model[image_size]}
pixels. Made with hierkeras {versions[hierkeras]}, TensorFlow
{versions[tensorflow]} and Keras {versions[keras]}.

## Use

It names one of the {num_classes} classes below for any image, also
for one that shows none of them.

## Data

{data[name]}, fingerprint {data[fingerprint]:.16}.

## Errors

{errors} {old}

## Scores

{scores}

## Classes

{names}
"""


def text(manifest: Mapping[str, Any]) -> str:
    """The model card of a manifest."""
    names = manifest["classes"]
    return _TEXT.format(
        **{**manifest, "routing": _routing(manifest)},
        networks=len(manifest["jobs"]),
        leaves=len(manifest["tree"].leaves),
        num_classes=len(names),
        names=", ".join(html.escape(printable(name)) for name in names),
        errors=_errors(manifest),
        old=_old_classes(manifest),
        scores=_scores(manifest["temperature"]),
    )


def _routing(manifest: Mapping[str, Any]) -> str:
    return str(msgspec.convert(manifest["routing"], Routing).acting)


def _errors(manifest: Mapping[str, Any]) -> str:
    error = manifest["validation_error"]
    if error is None:
        return (
            "Not known: it was imported, and there are no images of its\n"
            "classes here."
        )
    return (
        f"{error:.1%} top-1 error on {manifest['data']['validation_images']}\n"
        "validation images, by which growth, routing and schedules were "
        "chosen;\n`python -m hierkeras.evaluate` tells the error on test "
        "images."
    )


def _old_classes(manifest: Mapping[str, Any]) -> str:
    before = manifest["old_classes_validation_error_before"]
    after = manifest["old_classes_validation_error_after"]
    if before is None:
        return "This is the first generation."
    return (
        f"On the classes known before, the step took it from {before:.1%} to "
        f"{after:.1%}."
    )


def _scores(temperature: float) -> str:
    if temperature == 1.0:
        return "Probabilities, as the networks give them."
    return (
        "Probabilities, calibrated on those validation images: the "
        f"temperature of the answer is {temperature:g}."
    )
