"""Every number of an evaluation, worked out by hand from the tables.

Under hard routing images 1 and 6 go to the wrong leaf, and the right leaf
names the wrong class of images 3 and 5.
"""

import dataclasses

import hypothesis
import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st

from hierkeras._errors import UserError
from hierkeras.analysis import tables
from hierkeras.analysis.evaluation import evaluate
from hierkeras.tree.nodes import Temperatures, Tree
from hierkeras.tree.routing import Routing
from tests import builders


def test_the_tree_as_a_whole(evaluation):
    e = evaluation

    assert (e.generation, e.num_classes, e.num_leaves, e.depth) == (2, 4, 2, 2)
    assert (e.split, e.num_examples, e.routing) == ("test", 9, "hard")
    assert e.top1_error == pytest.approx(4 / 9)
    # The class has no probability at all in the wrong leaf.
    assert e.top5_error == pytest.approx(2 / 9)
    # Confidence less accuracy, bin by bin: 0.9 twice right; 0.55 wrong;
    # 0.7 right; 0.62 twice wrong; 0.82 twice right; 0.75 wrong.
    gaps = 0.2 + 0.55 + 0.3 + 2 * 0.62 + 2 * 0.18 + 0.75
    assert e.calibration_error == pytest.approx(gaps / 9)


def test_the_calibration_error_is_of_calibrated_scores(
    generation, context, predictor
):
    answer = Temperatures(hard=0.5, soft=1.0, fused=1.0)
    tree = Tree(generation.tree.root, answer)
    sharper = msgspec.structs.replace(generation, tree=tree)

    found = evaluate(sharper, (), context, predictor, Routing("hard"))

    # Of the above, p² / (p² + (1 - p)²).
    right = 2 * (1 - 0.81 / 0.82) + 2 * (1 - 0.6724 / 0.7048) + 1 - 0.49 / 0.58
    wrong = 0.3025 / 0.505 + 2 * 0.3844 / 0.5288 + 0.9
    assert found.calibration_error == pytest.approx((right + wrong) / 9)
    assert found.top1_error == pytest.approx(4 / 9)


def test_every_routing_rule(evaluation):
    # soft misses images 3, 5 and 6, fused images 1 and 6.
    assert evaluation.top1_error_by_routing == pytest.approx(
        {"hard": 4 / 9, "soft": 3 / 9, "fused": 2 / 9}
    )
    # The flat increment misses images 0, 1, 2, 4, 6 and 7.
    assert evaluation.flat_top1_error == pytest.approx(6 / 9)


def test_old_and_new_classes(evaluation):
    # Class d, images 6 to 8, is new.
    assert evaluation.old_classes_top1_error == pytest.approx(3 / 6)
    assert evaluation.new_classes_top1_error == pytest.approx(1 / 3)


def test_superclasses_as_in_tables_4_and_5(evaluation):
    first, second = map(dataclasses.asdict, evaluation.superclasses)

    assert first == pytest.approx(
        {
            "name": "root.1",
            "num_classes": 2,
            "leaf_error": 1 / 4,  # image 3
            "branch_error": 1 / 4,  # image 1
            "whole_error": 2 / 4,
            "flat_error": 3 / 4,  # images 0, 1 and 2
            "leaf_error_branch_correct": 1 / 3,
            "leaf_error_branch_miss": 0.0,
        }
    )
    assert second == pytest.approx(
        {
            "name": "root.2",
            "num_classes": 2,
            "leaf_error": 2 / 5,  # images 5 and 6
            "branch_error": 1 / 5,  # image 6
            "whole_error": 2 / 5,
            "flat_error": 3 / 5,  # images 4, 6 and 7
            "leaf_error_branch_correct": 1 / 4,
            "leaf_error_branch_miss": 1.0,
        }
    )


def test_contenders_as_in_table_3(evaluation):
    rows = [dataclasses.astuple(row) for row in evaluation.contenders]

    assert rows == [
        ("flat", "from-scratch", None, pytest.approx(1 / 9), 500),
        ("flat", "incremental", None, pytest.approx(6 / 9), 100),
        # Its branch is the flat increment.
        ("clone", "incremental", "hard", pytest.approx(4 / 9), 170),
        ("clone", "incremental", "soft", pytest.approx(3 / 9), 170),
        ("clone", "incremental", "fused", pytest.approx(2 / 9), 170),
    ]


def test_cost_is_that_of_the_models_that_run(evaluation):
    assert evaluation.num_parameters == 13 * (4 + 2 + 3)
    # The root for all, root.1 for 4 images and root.2 for 5.
    flops = 24 * (9 * 4 + 4 * 2 + 5 * 3) / 9
    assert evaluation.forward_flops_per_image == pytest.approx(flops)
    assert evaluation.root_flops_per_image == 24 * 4


def test_a_first_step_has_nothing_to_compare(generation, context, predictor):
    step = generation.step
    decision = msgspec.structs.replace(
        step.decisions[0], growth="first", clone=None, clone_error=None
    )
    first = msgspec.structs.replace(
        generation,
        number=1,
        tree=Tree(decision.flat),
        step=msgspec.structs.replace(
            step,
            new_classes=("a", "b", "c", "d"),
            decisions=(decision,),
            scratch=None,
        ),
    )

    found = evaluate(first, (), context, predictor, Routing("hard"))

    assert found.flat_top1_error is None
    assert found.old_classes_top1_error is None
    [row] = found.contenders
    assert dataclasses.astuple(row) == (
        ("flat", "from-scratch", None, found.top1_error, 100)
    )
    [superclass] = found.superclasses
    assert superclass.branch_error == 0.0
    assert superclass.leaf_error_branch_miss is None
    assert superclass.whole_error == pytest.approx(6 / 9)


def test_a_split_without_images_is_one_line(generation, context, predictor):
    with pytest.raises(UserError, match="train split of hand-made has no"):
        evaluate(
            generation, (), context, predictor, Routing("hard"), split="train"
        )


@hypothesis.settings(max_examples=15)
@hypothesis.given(st.integers(0, 2**32 - 1))
def test_errors_obey_equation_1(generation, context, predictor, seed):
    draw = np.random.default_rng(seed)
    tables = {
        job: draw.dirichlet(np.ones(table.shape[1]), len(table))
        for job, table in predictor.tables.items()
    }

    found = evaluate(
        generation,
        (),
        context,
        builders.Tables(tables, predictor.models),
        Routing("fused"),
    )

    for row in found.superclasses:
        if row.branch_error < 1:
            assert row.whole_error == pytest.approx(
                1 - (1 - row.leaf_error_branch_correct) * (1 - row.branch_error)
            )
        else:
            assert row.whole_error == 1.0
            assert row.leaf_error_branch_correct is None


def test_a_step_that_relearned(generation, context, predictor):
    leaf = generation.tree.leaves[0]
    decision = msgspec.structs.replace(
        generation.step.decisions[0],
        node=leaf.name,
        received=(),
        growth="relearned",
        flat=leaf,
        clone=None,
        clone_error=None,
    )
    step = msgspec.structs.replace(
        generation.step, new_classes=(), decisions=(decision,), scratch=None
    )
    relearned = msgspec.structs.replace(generation, step=step)

    e = evaluate(relearned, (), context, predictor, Routing("hard"))

    assert e.old_classes_top1_error == e.top1_error == pytest.approx(4 / 9)
    assert e.new_classes_top1_error is None
    assert e.flat_top1_error is None
    assert e.contenders == ()
    text = tables.text(e)
    assert "old classes 44.44%, new classes -" in text
    assert "No Table 3: the last step relearned known classes" in text
