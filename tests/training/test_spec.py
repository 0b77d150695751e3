"""The job id: stable, canonical, and changed by every field."""

import dataclasses

import msgspec
import pytest

from hierkeras.models.registry import ModelConfig
from hierkeras.training.spec import (
    Initial,
    JobSpec,
    Leaves,
    Recipe,
    Teacher,
)

SPEC = JobSpec(
    classes=("cat", "dog"),
    model=ModelConfig("small_cnn", 32),
    recipe=Recipe(),
    data="0" * 64,
    initial=Initial("0123456789abcdef"),
)

SPEC_CHANGES = {
    "classes": ("dog", "cat"),
    "model": ModelConfig("small_resnet", 32),
    "recipe": Recipe(batch_size=64),
    "data": "1" * 64,
    "initial": None,
    "trainable": "head",
    "top_layers": 2,
    "teacher": Teacher("0123456789abcdef", 1.0),
    "leaves": Leaves((("cat",), ("dog",)), 2),
    "seed": 1,
}
RECIPE_CHANGES = {
    "schedule": "cosine",
    "optimizer": "muon",
    "initial_learning_rate": 0.02,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "batch_size": 64,
    "max_epochs": 50,
    "warmup_epochs": 1.0,
    "samples_per_check": 10_000,
    "validation_samples": 500,
    "min_error_drop": 0.002,
    "patience": 2,
    "learning_rate_cuts": 1,
    "learning_rate_cut_factor": 5.0,
    "augmentation": "shift_flip",
    "precision": "mixed_bfloat16",
    "balanced_softmax": True,
}
MODEL_CHANGES = {
    "backbone": "small_resnet",
    "image_size": 64,
    "width_multiplier": 0.5,
    "dropout": 0.1,
    "backbone_weights": "weights.h5",
}
INITIAL_CHANGES = {
    "job": "fedcba9876543210",
    "new_columns": "imprinted",
    "shrink": 0.5,
    "perturb": 0.1,
    "widening_noise": 0.1,
    "leaf": 0,
}


def test_the_id_of_a_spec_never_changes():
    # Finished jobs in users' work directories are found by this.
    assert SPEC.job == "42935953b2e442f2"


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        (None, SPEC_CHANGES),
        ("recipe", RECIPE_CHANGES),
        ("model", MODEL_CHANGES),
        ("initial", INITIAL_CHANGES),
    ],
)
def test_every_field_changes_the_id(part, changes):
    whole = SPEC if part is None else getattr(SPEC, part)
    fields = {name for name, _ in _fields(whole)}
    assert set(changes) == fields, "a new field needs a line above"

    ids = {SPEC.job}
    for name, value in changes.items():
        if part is None:
            changed = msgspec.structs.replace(SPEC, **{name: value})
        else:
            inner = _replace(whole, **{name: value})
            changed = msgspec.structs.replace(SPEC, **{part: inner})
        ids.add(changed.job)

    assert len(ids) == 1 + len(changes)


def test_the_id_outlives_json_whatever_the_order_of_the_keys():
    fields = msgspec.to_builtins(SPEC)
    backwards = dict(reversed(fields.items()))
    backwards["recipe"] = dict(reversed(fields["recipe"].items()))

    read = msgspec.json.decode(msgspec.json.encode(backwards), type=JobSpec)

    assert read == SPEC
    assert read.job == SPEC.job


def test_a_misspelt_field_is_no_spec():
    with pytest.raises(msgspec.ValidationError, match="momentun"):
        msgspec.convert({"momentun": 0.5}, Recipe)


def test_jobs_draw_different_random_numbers():
    other = msgspec.structs.replace(SPEC, classes=("cat", "cow"))

    assert SPEC.random_seed != other.random_seed
    assert 0 <= SPEC.random_seed < 2**31


def _fields(value):
    return (
        dataclasses.asdict(value).items()
        if dataclasses.is_dataclass(value)
        else msgspec.structs.asdict(value).items()
    )


def _replace(value, **changes):
    replace = (
        dataclasses.replace
        if dataclasses.is_dataclass(value)
        else msgspec.structs.replace
    )
    return replace(value, **changes)


def test_a_later_field_at_its_default_is_not_hashed_whatever_its_object():
    initial = Initial(SPEC.initial.job, shrink=float("1"), perturb=-0.0)

    same = msgspec.structs.replace(SPEC, initial=initial)

    assert same.job == SPEC.job
