"""`tools/study.py`, which is no part of the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from etils import epath
from hierkeras.growth.plan import JobPlan

from hierkeras._errors import UsageError
from hierkeras.data import registry
from hierkeras.data.source import DataConfig
from hierkeras.models.registry import ModelConfig
from hierkeras.training.spec import Leaves, Recipe

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))

from study_parts import contenders, records, reporting  # noqa: E402
from study_parts.contenders import (  # noqa: E402
    CONTENDERS,
    Ensemble,
    Grown,
    Scratch,
)

CATALOGUE = registry.open_source(DataConfig("digits")).catalogue
PLAN = JobPlan(ModelConfig("small_cnn", 32), Recipe(max_epochs=20), seed=7)


def reading(validation_error=0.5, test_error=0.5, batches=(0.5, 0.5)):
    return records.Reading(
        validation_error=validation_error,
        test_error=test_error,
        top5_error=0.1,
        calibration_error=0.05,
        old_error=0.5,
        new_error=0.5,
        batch_accuracies=batches,
        flops=10.0,
        unshared_flops=10.0,
    )


def step(readings, jobs, points=(), num_classes=10):
    return records.StepRecord(
        num_classes=num_classes,
        jobs=jobs,
        seconds=1.0,
        training_flops=10.0 * sum(jobs.values()),
        tree=None,
        num_leaves=1,
        parameters=100,
        unshared_parameters=100,
        readings=readings,
        curves=(records.Curve("root flat", points),) if points else (),
    )


def record(name, seed, readings, jobs, points=()):
    first = step({"one": reading(batches=(0.6,))}, {"m0": 30}, num_classes=5)
    last = step(readings, jobs, points)
    return records.Record("{}", name, seed, (first, last))


def study():
    """Two seeds; scratch sweeps 100 images, the tree 90 and 92."""
    scratch = [
        record("scratch", seed, {"one": reading(0.5, error)}, {"a": 100})
        for seed, error in ((0, 0.50), (1, 0.60))
    ]
    flat = [
        record("flat-40", seed, {"one": reading()}, {"b": 40}, points)
        for seed, points in (
            (0, ((20, 0.6), (40, 0.5))),
            (1, ((20, 0.6), (40, 0.51))),
        )
    ]
    tree = [
        record(
            "tree",
            seed,
            {
                "hard": reading(0.48, error - 0.1),
                "fused 1": reading(0.46, error),
            },
            {"b": 40, "c": leaves},
        )
        for seed, error, leaves in ((0, 0.46, 50), (1, 0.54, 52))
    ]
    return {"scratch": scratch, "flat-40": flat, "tree": tree}


def row(name, routing="one"):
    return next(
        found
        for found in reporting.rows(study())
        if (found.contender, found.routing) == (name, routing)
    )


@pytest.mark.parametrize(
    ("share", "max_epochs", "expected"),
    [(0.3, 20, 6), (0.55, 20, 11), (0.45, 20, 9), (0.5, 15, 7), (0.3, 1, 1)],
)
def test_epochs_stay_within_the_share(share, max_epochs, expected):
    assert contenders.epochs(share, max_epochs) == expected


def test_images_to_reach_are_the_first_that_do():
    points = ((10, 0.8), (20, 0.5), (30, 0.6), (40, 0.4))
    assert records.images_to_reach(points, 0.5) == 20
    assert records.images_to_reach(points, 0.45) == 40
    assert records.images_to_reach(points, 0.3) is None


def test_spread_is_of_a_sample():
    found = records.spread([0.1, 0.2, 0.3])
    assert (found.count, found.mean) == (3, pytest.approx(0.2))
    assert found.deviation == pytest.approx(0.1)
    assert records.spread([0.1]).deviation is None


def test_every_contender_can_be_made():
    for name, contender in CONTENDERS.items():
        assert contender.name == name
        if isinstance(contender, Ensemble):
            assert set(contender.members) <= set(CONTENDERS)
        else:
            contenders.apply(contender, PLAN)
    assert contenders.choose(contenders.MAIN, CONTENDERS)
    assert contenders.choose(contenders.STREAM, CONTENDERS)


def test_changes_go_where_they_belong():
    contender = Grown(
        *("tree", 0.4, 0.6),
        changes={
            "shrink": 0.6,
            "label_smoothing": 0.1,
            "num_superclasses": 4,
        },
    )
    plan, options = contenders.apply(contender, PLAN)
    assert (plan.flat_epochs, plan.leaf_epochs, plan.shrink) == (8, 12, 0.6)
    assert plan.recipe.label_smoothing == 0.1
    assert (options.growth, options.num_superclasses) == ("clone", 4)
    flat, options = contenders.apply(Grown("flat", 0.4), PLAN)
    assert options.growth == "flat"
    assert flat.recipe == PLAN.recipe


@pytest.mark.parametrize("count", [20, 50])
@pytest.mark.parametrize(
    ("end", "taught", "aligned", "balanced"),
    [
        ("", 0, False, False),
        ("-taught-aligned", 1, True, False),
        ("-taught-balanced", 1, False, True),
    ],
)
def test_replay_is_of_exemplars(count, end, taught, aligned, balanced):
    for kind, growth in (("flat", "flat"), ("tree", "clone")):
        contender = CONTENDERS[f"replay{count}-{kind}{end}"]
        plan, options = contenders.apply(contender, PLAN)
        assert (options.growth, options.memory_per_class) == (growth, count)
        assert plan.flat_distillation == taught
        assert plan.align_weights is aligned
        assert plan.recipe.balanced_softmax is balanced
        assert contender.name not in (*contenders.MAIN, *contenders.STREAM)


def test_cloned_last_grows_flat_until_then():
    late = CONTENDERS["stream-flat-20-cloned-50"]
    _, options = contenders.apply(late, PLAN)
    assert contenders.growth_in(late, options, is_last=False).growth == "flat"
    assert contenders.growth_in(late, options, is_last=True).growth == "clone"
    tree = CONTENDERS["tree2-50"]
    _, options = contenders.apply(tree, PLAN)
    assert contenders.growth_in(tree, options, is_last=False).growth == "clone"


def test_a_change_of_nothing_is_a_fault():
    with pytest.raises(ValueError, match="no field 'shirnk'"):
        contenders.apply(Grown("flat", 0.4, changes={"shirnk": 0.6}), PLAN)


def test_another_draw_has_another_seed():
    plan, _ = contenders.apply(Scratch("again", 0.5, draw=1), PLAN)
    assert plan.seed != PLAN.seed
    assert plan.recipe.max_epochs == 10


def test_what_contenders_share_is_reckoned_once():
    chosen = [
        CONTENDERS[name]
        for name in ("flat-imprinted-40", "tree4-40", "tree8-40")
    ]
    assert contenders.cost(chosen, CONTENDERS) == pytest.approx(1.6)
    ensemble = [CONTENDERS["scratch"], CONTENDERS["ensemble-scratch"]]
    assert contenders.cost(ensemble, CONTENDERS) == pytest.approx(2.0)


def test_unknown_contenders_are_refused():
    with pytest.raises(UsageError, match="'flt-\\*' names none; valid are"):
        contenders.choose(["scratch", "flt-*"], CONTENDERS)


def test_images_are_those_after_the_first_step():
    found = row("tree", "hard")
    assert found.images.mean == pytest.approx(0.91)
    assert found.images_with_first.mean == pytest.approx(121)


def test_gain_is_seed_by_seed():
    gain = row("tree", "fused 1").gain
    assert gain.mean == pytest.approx(0.05)
    assert gain.deviation == pytest.approx(0.0141, abs=1e-4)


def test_routing_is_chosen_on_validation():
    assert row("tree", "fused 1").chosen
    assert not row("tree", "hard").chosen  # though it errs less on test


def test_reached_tells_in_how_many_seeds():
    found = row("flat-40")
    assert found.reached.mean == pytest.approx(0.4)
    assert found.times_reached == 1
    assert row("tree", "hard").reached is None


def test_the_table_says_what_the_rows_do():
    lines = reporting.table(study(), "Of two seeds.").splitlines()
    line = next(line for line in lines if "fused 1*" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:8] == [
        *("tree", "fused 1*", "2", "91.0 ± 1.4 % (0)", "0.91"),
        *("46.0 ± 0.0 %", "50.0 ± 5.7 %", "5.0 ± 1.4 %"),
    ]
    assert "Along the stream" not in "\n".join(lines)


def test_without_training_from_scratch_numbers_are_absolute():
    steps = [
        step({"one": reading(batches=(0.5,) * n)}, {f"job{n}": 30}, (), 5 * n)
        for n in (1, 2, 3)
    ]
    flat = records.Record("{}", "stream-flat-20", 0, tuple(steps))
    lines = reporting.table({"stream-flat-20": [flat]}, "").splitlines()
    after_last, along = (
        line for line in lines if line.startswith("| stream-flat-20 ")
    )
    assert "| 60 (0) |" in after_last
    assert "| 60 |" in along
    assert any("forward MFLOP" in line for line in lines)


def test_a_picture_is_made():
    assert reporting.curves_png(study()).startswith(b"\x89PNG")


def test_a_record_is_kept_unless_it_is_of_something_else(tmp_path):
    path = epath.Path(tmp_path) / "results" / "scratch.json"
    assert records.read(path, "{}") is None
    kept = study()["scratch"][0]
    records.write(path, kept)
    assert records.read(path, "{}") == kept
    assert records.read(path, '{"seed": 1}') is None
    path.write_text("{}")
    assert records.read(path, "{}") is None


def run(*arguments):
    return subprocess.run(
        [sys.executable, "tools/study.py", "--dataset=digits", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--class_batches=10", "--class_batches"),
        ("--class_batches=5xa,5", "--class_batches"),
        ("--seeds=0,x", "--seeds"),
        ("--contenders=nobody", "nobody"),
    ],
)
@pytest.mark.slow
def test_mistakes_are_told_in_a_line(argument, named):
    done = run("--class_batches=6,4", argument)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


FLAGS = (
    "--class_batches=6,4",
    "--image_size=8",
    "--width_multiplier=0.5",
    "--max_epochs=1",
    "--contenders=replay20-flat-aligned,scratch,tree2-top2-40,ensemble-flat",
    "--format=json",
)


@pytest.mark.slow
def test_digits_with_two_seeds(tmp_path):
    out = f"--out={tmp_path}"
    first = run(*FLAGS, "--seeds=0", out)
    assert first.returncode == 0, first.stderr
    done = run(*FLAGS, "--seeds=0,1", out)
    assert done.returncode == 0, done.stderr
    # The first seed's records are kept, and nothing of it trains again.
    before, _, after = done.stderr.partition("seed 1: replay20")
    assert "epoch" not in before
    # The first network, which all share, and training from scratch.
    assert after.count("[root first]") == 2
    found = {
        (row["contender"], row["routing"]): row
        for row in json.loads(done.stdout)
    }
    assert {name for name, _ in found} == {
        *("replay20-flat-aligned", "scratch"),
        *("tree2-top2-40", "ensemble-flat"),
    }
    # 20 of each of six classes and all of four, against all of ten.
    replay = found["replay20-flat-aligned", "one"]["images"]["mean"]
    assert 0.4 < replay < 0.55
    assert found["scratch", "one"]["seeds"] == 2
    tree = found["tree2-top2-40", "fused 1"]
    one = found["scratch", "one"]["flops"]["mean"]
    assert tree["unshared_flops"]["mean"] == pytest.approx(2 * one, rel=0.01)
    assert one < tree["flops"]["mean"] < 1.8 * one
    assert found["ensemble-flat", "one"]["flops"]["mean"] == 2 * one
    for name in ("table.md", "curves.png", "results.json"):
        assert (tmp_path / name).stat().st_size


def test_what_is_trained_together_costs_what_it_runs():
    from study_parts.running import trained_flops  # needs TensorFlow

    def spec(classes, *leaves, leaf_layers=0):
        alone = PLAN.from_scratch(classes, CATALOGUE)
        together = Leaves(leaves, leaf_layers) if leaves else None
        return msgspec.structs.replace(alone, leaves=together)

    alone = trained_flops(spec("0123"))
    both = trained_flops(spec("0123", ("0", "1"), ("2", "3")))
    tops = trained_flops(spec("0123", ("0", "1"), ("2", "3"), leaf_layers=2))

    assert both == pytest.approx(3 * alone, rel=0.001)
    assert alone < tops < 1.6 * alone


@pytest.mark.slow
def test_a_stream_of_digits_is_cloned_in_its_last_step(tmp_path):
    done = run(
        *FLAGS[:-1],
        "--class_batches=4,3,3",
        "--contenders=stream-flat-20-cloned-50",
        "--seeds=0",
        f"--out={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "results.json").read_text())["records"]
    (record,) = kept["stream-flat-20-cloned-50"]
    leaves = [step["num_leaves"] for step in record["steps"]]
    assert leaves[:2] == [1, 1]
    assert leaves[2] > 1
