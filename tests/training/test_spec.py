"""The job id: canonical, and changed by every field."""

import msgspec
import pytest

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.training import Training
from hierkeras.training import spec
from hierkeras.training.spec import JobSpec

JOB, OTHER = "0123456789abcdef", "fedcba9876543210"
SPEC = JobSpec(
    classes=("cat", "dog"),
    network=ModelConfig("small_cnn", 32),
    training=Training(),
    data="0" * 64,
)

# A start of each kind, and for each of its fields another value.
STARTS = {
    spec.Scratch(): {},
    spec.Flat(JOB, "random", 1.0, 0.0, 0.0): {
        "parent": OTHER,
        "new_columns": "imprinted",
        "shrink": 0.5,
        "perturb": 0.1,
        "distillation": 1.0,
    },
    spec.Clone(JOB, "random", 1.0, 0.0, 0): {
        "parent": OTHER,
        "new_columns": "imprinted",
        "shrink": 0.5,
        "perturb": 0.1,
        "leaf_layers": 2,
    },
    spec.Preview(JOB): {"parent": OTHER},
    spec.Refined(JOB): {"parent": OTHER},
    spec.Together(JOB, 1.0, 0.0, (("cat",), ("dog",)), 0): {
        "parent": OTHER,
        "shrink": 0.5,
        "perturb": 0.1,
        "superclasses": (("dog",), ("cat",)),
        "leaf_layers": 2,
    },
    spec.CutOut(JOB, 0): {"branch": OTHER, "leaf": 1},
    spec.Solved(JOB): {"parent": None},
    spec.Imported("0" * 16): {"head": "1" * 16},
}
NETWORK = {
    "backbone": "small_resnet",
    "image_size": 64,
    "width_multiplier": 0.5,
    "dropout": 0.1,
    "backbone_weights": "weights.h5",
    "resize": "pad",
    "background": "black",
    "input_range": "unit",
    "feature_depths": 2,
}
TRAINING = {
    "max_epochs": 50,
    "batch_size": 64,
    "initial_learning_rate": 0.02,
    "augment": "shift_mirror",
    "seed": 1,
    "heads": "solved",
    "crops": 2,
    "shrinkage": 0.3,
    "schedule": "cosine",
    "optimizer": "muon",
    "momentum": 0.8,
    "weight_decay": 0.0,
    "warmup_epochs": 1.0,
    "samples_per_check": 10_000,
    "validation_samples": 500,
    "min_error_drop": 0.002,
    "patience": 2,
    "learning_rate_cuts": 1,
    "learning_rate_cut_factor": 5.0,
    "precision": "mixed_bfloat16",
    "balanced_softmax": False,
}


def _kind(start):
    return type(start).__name__


def with_start(start):
    return msgspec.structs.replace(SPEC, start=start)


@pytest.mark.parametrize(
    "start", STARTS, ids=lambda start: type(start).__name__
)
def test_every_field_of_a_start_changes_the_id(start):
    changes = STARTS[start]
    assert set(changes) == set(start.__struct_fields__)
    ids = {with_start(start).job}
    for name, value in changes.items():
        changed = msgspec.structs.replace(start, **{name: value})
        ids.add(with_start(changed).job)
    assert len(ids) == 1 + len(changes)


@pytest.mark.parametrize(
    ("part", "changes"), [("network", NETWORK), ("training", TRAINING)]
)
def test_every_field_of_network_and_training_changes_the_id(part, changes):
    whole = getattr(SPEC, part)
    assert set(changes) == set(whole.__struct_fields__)
    ids = {SPEC.job}
    for name, value in changes.items():
        inner = msgspec.structs.replace(whole, **{name: value})
        ids.add(msgspec.structs.replace(SPEC, **{part: inner}).job)
    assert len(ids) == 1 + len(changes)


def test_classes_data_and_the_kind_of_start_change_the_id():
    others = [
        msgspec.structs.replace(SPEC, classes=("dog", "cat")),
        msgspec.structs.replace(SPEC, data="1" * 64),
        *map(with_start, STARTS),
    ]
    assert len({SPEC.job, *(other.job for other in others)}) == 2 + len(STARTS)


@pytest.mark.parametrize(
    "start", STARTS, ids=lambda start: type(start).__name__
)
def test_the_id_outlives_json_whatever_the_order_of_the_keys(start):
    fields = msgspec.to_builtins(with_start(start))
    backwards = dict(reversed(fields.items()))
    backwards["training"] = dict(reversed(fields["training"].items()))

    read = msgspec.json.decode(msgspec.json.encode(backwards), type=JobSpec)

    assert read == with_start(start)
    assert read.job == with_start(start).job


@pytest.mark.parametrize(
    "start",
    [
        {"kind": "flat", "parent": JOB},  # how does it begin?
        {"kind": "cut_out", "branch": JOB, "leaf": 0, "shrink": 0.5},
        {"kind": "preview", "parent": JOB, "distillation": 1.0},
        {"kind": "scratch", "parent": JOB},
        {"kind": "distilled", "parent": JOB},
    ],
)
def test_a_job_that_makes_no_sense_cannot_be_written(start):
    fields = msgspec.to_builtins(SPEC) | {"start": start}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, JobSpec)


def test_jobs_draw_different_random_numbers():
    other = msgspec.structs.replace(SPEC, classes=("cat", "cow"))

    assert SPEC.random_seed != other.random_seed
    assert 0 <= SPEC.random_seed < 2**31


def test_what_a_job_starts_from_and_has_of_its_own():
    found = {
        type(start).__name__: (spec.parents(start), spec.leaf_layers(start))
        for start in (
            *STARTS,
            spec.Clone(JOB, "random", 1.0, 0.0, 2),
        )
    }
    assert found == {
        "Scratch": ((), 0),
        "Flat": ((JOB,), 0),
        "Clone": ((JOB,), 2),
        "Preview": ((JOB,), 0),
        "Refined": ((JOB,), 0),
        "Together": ((JOB,), 0),
        "CutOut": ((JOB,), 0),
        "Solved": ((JOB,), 0),
        "Imported": ((), 0),
    }
