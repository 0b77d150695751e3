"""The card of a version, as a whole."""

from hierkeras.serving.checks import model_card
from hierkeras.tree.nodes import Leaf, Tree

MANIFEST = {
    "generation": 3,
    "classes": ["ant", "a<b", "be\x1be"],
    "tree": Tree(Leaf("root", ("ant", "a<b", "be\x1be"), "job")),
    "jobs": ["job"],
    "data": {
        "name": "digits",
        "fingerprint": "0123456789abcdef" * 4,
        "validation_images": 120,
    },
    "model": {"backbone": "alexnet", "image_size": 8},
    "routing": {"rule": "fused", "beam_width": 2, "contention": 0.5},
    "temperature": 1.5,
    "validation_error": 0.125,
    "old_classes_validation_error_before": 0.1,
    "old_classes_validation_error_after": 0.11,
    "versions": {"hierkeras": "0.1", "tensorflow": "2.21", "keras": "3.12"},
    "exported_at": "2026-01-01T00:00:00Z",
}
CARD = """# Generation 3

## Model

A tree of 1 alexnet networks with
1 leaves and depth 1, answering by
fused routing, beam_width 2, contention 0.5; images of 8x8
pixels. Made with hierkeras 0.1, TensorFlow
2.21 and Keras 3.12.

## Use

It names one of the 3 classes below for any image, also
for one that shows none of them.

## Data

digits, fingerprint 0123456789abcdef.

## Errors

12.5% top-1 error on 120
validation images, by which growth, routing and schedules were chosen;
`python -m hierkeras.evaluate` tells the error on test images. On the classes \
known before, the step took it from 10.0% to 11.0%.

## Scores

Probabilities, calibrated on those validation images: the temperature of the \
answer is 1.5.

## Classes

ant, a&lt;b, be\\x1be
"""


def test_the_whole_card():
    assert model_card.text(MANIFEST) == CARD


def test_what_there_is_nothing_to_say_of():
    plain = {
        **MANIFEST,
        "temperature": 1.0,
        "old_classes_validation_error_before": None,
    }
    assert "This is the first generation." in model_card.text(plain)
    assert "as the networks give them." in model_card.text(plain)
