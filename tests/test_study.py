"""`tools/study.py`, which is no part of the package."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from hierkeras._errors import UsageError, UserError
from hierkeras.data.source import DataConfig
from hierkeras.recipe import fields, presets
from hierkeras.training.context import Context, ContextConfig, Runtime
from hierkeras.training.executors import InlineExecutor

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))

from study_parts import contenders, records, reporting  # noqa: E402
from study_parts.contenders import CONTENDERS  # noqa: E402

TINY = fields.changed(
    presets.preset("photos"),
    dict(image_size=8, width_multiplier=0.25, max_epochs=20, seed=7)
    | dict(batch_size=32, warmup_epochs=0.0, augment="none"),
)


def recipes(name, steps=2):
    return CONTENDERS[name].recipes(TINY, steps)


def preset(name):
    some = {"image_size": 96, "max_epochs": 20}
    return fields.changed(presets.preset(name), some)


# The study trains networks; above a trunk there is nothing to train.
@pytest.mark.parametrize(
    "name", [name for name in presets.NAMES if name != "pretrained"]
)
def test_every_contender_gives_valid_recipes(name):
    for contender in CONTENDERS.values():
        # Growth is theirs, whatever the preset.
        with_it, usual = (
            [
                fields.value(recipe, field)
                for recipe in contender.recipes(base, 12)
                for field in contenders.PLAIN
            ]
            for base in (preset(name), preset("photos"))
        )
        assert with_it == usual
        for member in contender.members:
            last = CONTENDERS[member].recipes(preset(name), 2)[-1]
            is_flat = last.growth.increments == "flat"
            assert is_flat or CONTENDERS[member].scratch
    assert contenders.choose(contenders.MAIN)
    assert len(contenders.choose(contenders.STREAM)) == 5


def test_from_scratch_begins_with_everyones_model():
    first, last = recipes("equal-scratch")
    assert first.network == recipes("flat-random-50")[0].network
    assert first.training == TINY.training
    assert last.network.width_multiplier == pytest.approx(0.3536)
    assert last.training.max_epochs == 25
    again = recipes("scratch-again")
    assert again[0].training.seed == 7 != again[1].training.seed


def test_cloned_last_grows_flat_until_then():
    ways = [r.growth for r in recipes("stream-flat-20-cloned-50", 3)]
    assert [way.increments for way in ways] == ["flat", "flat", "clone"]
    assert ways[-1].leaves == "after"
    assert ways[-1].leaf_share == 0.5


def test_unknown_contenders_are_refused():
    assert contenders.choose(["flat-shrink60-?0", "scratch"]) == [
        *("flat-shrink60-30", "flat-shrink60-50", "scratch")
    ]
    with pytest.raises(UsageError, match="'flt-\\*' names none; valid are"):
        contenders.choose(["scratch", "flt-*"])


class Idle:
    async def run(self, spec, label, context):
        raise AssertionError(f"{label} is trained again")


@pytest.fixture(scope="module")
def seed(tmp_path_factory):
    from study_parts.running import Seed  # needs TensorFlow

    root = epath.Path(tmp_path_factory.mktemp("study"))
    config = ContextConfig(
        str(root / "work"),
        DataConfig("digits", 0.1),
        image_size=8,
        runtime=Runtime(progress="none"),
    )
    return Seed(
        Context(config),
        [("0", "1", "2"), ("3", "4")],
        fields.changed(TINY, {"max_epochs": 1}),
        InlineExecutor(),
        root / "results",
    )


@pytest.mark.slow
def test_contenders_run_on_digits_once(seed):
    names = ("scratch", "flat-imprinted-50", "ensemble-flat", "tree2-paper")
    found = [seed.record(name) for name in names]
    idle = dataclasses.replace(seed, executor=Idle())
    assert [idle.record(name) for name in names] == found
    # What contenders have in common is trained once.
    assert found[0].steps[0] == found[1].steps[0] == found[3].steps[0]
    scratch, flat, pair, tree = (record.steps[1] for record in found)
    assert scratch.tree.classes == ("0", "1", "2", "3", "4")
    assert len(tree.tree.leaves) == 2
    assert pair.images == flat.images + scratch.images
    one, two = scratch.readings["one"], pair.readings["one"]
    assert two.flops == 2 * one.flops
    assert 0 < two.test_error < 1
    hard = tree.readings["hard"].flops
    assert hard == pytest.approx(2 * one.flops, rel=0.01)
    # An image is swept by one network here, so that it is as dear everywhere.
    share = tree.training_flops / scratch.training_flops
    assert share == pytest.approx(tree.images / scratch.images, rel=0.01)
    with pytest.raises(AssertionError, match="trained again"):
        base = fields.changed(seed.base, {"max_epochs": 2})
        dataclasses.replace(idle, base=base).record("scratch")


def test_a_damaged_record_is_told_in_a_line(seed):
    path = seed.folder / "wider-4.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"made_from": "0123", "steps": [')
    with pytest.raises(UserError, match=r"damaged .* remove it") as told:
        seed.record("wider-4")
    assert "\n" not in str(told.value)


def record(name, seed, images, **errors):
    """Of two steps; errors are those on validation and test images."""

    def step(num_classes, images, readings):
        return records.StepRecord(
            num_classes, images, images, None, 9, readings
        )

    def reading(validation, test, batches=(0.5, 0.5)):
        return records.Reading(
            validation, test, 0.1, 0.05, 0.5, batches, flops=10.0
        )

    first = step(5, 30, {"one": reading(0.6, 0.6, (0.6,))})
    readings = {k.replace("_", " "): reading(*e) for k, e in errors.items()}
    return records.Record("", name, seed, (first, step(10, images, readings)))


STUDY = {
    "scratch": [
        record("scratch", 0, 100, one=(0.5, 0.50)),
        record("scratch", 1, 100, one=(0.5, 0.60)),
    ],
    "tree": [
        record("tree", 0, 90, hard=(0.48, 0.36), fused_1=(0.46, 0.46)),
        record("tree", 1, 92, hard=(0.48, 0.44), fused_1=(0.46, 0.54)),
    ],
}


def test_the_table_tells_gains_seed_by_seed():
    rows = {(row.contender, row.routing): row for row in reporting.rows(STUDY)}
    fused = rows["tree", "fused 1"]
    assert fused.chosen
    assert not rows["tree", "hard"].chosen  # though it errs less on test
    assert fused.values["gain"].mean == pytest.approx(0.05)
    assert fused.values["gain"].deviation == pytest.approx(0.0141, abs=1e-4)
    lines = reporting.table(STUDY, "Of two seeds.").splitlines()
    line = next(line for line in lines if "fused 1*" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")][:9] == [
        *("tree", "fused 1*", "2", "91.0 ± 1.4 %", "0", "0.91"),
        *("46.0 ± 0.0 %", "50.0 ± 5.7 %", "5.0 ± 1.4 %"),
    ]
    assert "step by step" not in "\n".join(lines)
    assert reporting.curves_png(STUDY).startswith(b"\x89PNG")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "tools/study.py", "--dataset=digits", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


MISTAKES = {
    "--class_batches=5xa,5": "--class_batches",
    "--seeds=0,x": "--seeds",
    "--contenders=nobody": "nobody",
    "--leaves=after": "leaves is given",
}


@pytest.mark.parametrize(("argument", "named"), MISTAKES.items())
@pytest.mark.slow
def test_mistakes_are_told_in_a_line(argument, named):
    done = run("--class_batches=6,4", argument)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


@pytest.mark.slow
def test_a_stream_of_digits_is_cloned_in_its_last_step(tmp_path):
    done = run(
        "--class_batches=4,3x2",
        *("--image_size=8", "--width_multiplier=0.25", "--max_epochs=2"),
        "--contenders=scratch,replay20-flat,stream-flat-20-cloned-50",
        *("--seeds=0", f"--out={tmp_path}"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "table.md").read_text() == done.stdout
    assert "## stream-flat-20-cloned-50, step by step" in done.stdout
    kept = json.loads((tmp_path / "results.json").read_text())["records"]
    images = {
        name: each[0]["steps"][2]["images"] for name, each in kept.items()
    }
    assert images["replay20-flat"] < 0.7 * images["scratch"]
    (record,) = kept["stream-flat-20-cloned-50"]
    roots = [step["tree"]["root"]["type"] for step in record["steps"]]
    assert roots == ["leaf", "leaf", "branch"]
    assert (tmp_path / "curves.png").stat().st_size
