import msgspec

from hierkeras.growth import summary
from hierkeras.growth.changes import ChangedClass, Changes
from hierkeras.tree.generation import Duplicates, JobUse
from hierkeras.tree.nodes import Tree
from tests import builders

FLAT = builders.leaf("root", "abcdefgh")
CLONE = builders.tree("abcdef", "gh").root
SECOND = builders.generation(
    Tree(CLONE),
    2,
    new_classes=("g", "h"),
    decisions=(
        builders.decision(
            FLAT,
            "clone",
            received=("g", "h"),
            reason="5.00% < 7.50%",
            clone=CLONE,
            clone_error=0.05,
        ),
    ),
    jobs=(
        JobUse("1", "root flat", 12_000, True),
        JobUse("2", "root.1 leaf", 345, False),
        JobUse("3", "root.2 leaf", 0, False),
    ),
    scratch=JobUse("4", "scratch baseline", 99, False),
    unreadable_images={"train/a/1.jpg": "1"},
    old_error_before=0.125,
    old_error_after=0.0625,
    error_after=0.05,
    seconds=61.98765,
)
FIRST = builders.generation(
    Tree(FLAT),
    decisions=(builders.decision(FLAT, "first", reason="there was no tree"),),
    jobs=(JobUse("1", "root first", 500, False),),
    error_after=0.1,
    seconds=2.0,
)


def test_a_step_in_numbers_leaves_the_comparison_out():
    assert summary.step_object(SECOND) == {
        "generation": 2,
        "new_classes": 2,
        "images_swept": 12_345,
        "jobs": 3,
        "jobs_reused": 1,
        "seconds": 61.988,
        "decision": "root: clone",
    }


def test_a_step_in_words():
    assert "\n".join(summary.step_lines(SECOND)) == (
        "generation 2: 2 new classes, validation error 5.0%, 12,345 images "
        "swept by 3 jobs (1 reused) in 62 s\n"
        "  root received g, h: clone (5.00% < 7.50%)\n"
        "  validation error on the old classes: 12.5% before, 6.2% after\n"
        "  1 unreadable image left out: train/a/1.jpg"
    )


def test_exemplars_in_words():
    step = msgspec.structs.replace(
        FIRST.step, exemplars={"a": ("a/1.jpg", "a/2.jpg"), "b": ("b/1.jpg",)}
    )

    lines = summary.step_lines(msgspec.structs.replace(FIRST, step=step))

    assert lines[-1] == (
        "  3 exemplars of 2 classes: no other training images of these are "
        "used from now on"
    )


def test_the_first_step_in_words():
    assert "\n".join(summary.step_lines(FIRST)) == (
        "generation 1: 8 new classes, validation error 10.0%, 500 images "
        "swept by 1 job (0 reused) in 2 s\n"
        "  root received a, b, c, d, e, f and 2 more: first (there was no "
        "tree)"
    )


RELEARNED = builders.generation(
    Tree(CLONE),
    3,
    new_classes=(),
    decisions=(
        builders.decision(
            CLONE.children[1],
            "relearned",
            received=(),
            reason="its images changed",
        ),
    ),
    jobs=(JobUse("5", "root.2 relearnt", 500, False),),
    unreadable_images={"train/a/1.jpg": "1", "train/a/2.jpg": "2"},
    old_error_before=0.05,
    old_error_after=0.0625,
    error_after=0.0625,
    seconds=2.0,
    duplicates=(
        Duplicates("two classes", 1, (("a/1.jpg", "b/1.jpg"),)),
        Duplicates("train and test", 12, (("a/3.jpg", "a/4.jpg"),)),
    ),
)


def test_a_step_that_relearned_in_words():
    assert summary.step_object(RELEARNED)["decision"] == "root.2: relearned"
    assert "\n".join(summary.step_lines(RELEARNED, SECOND)) == (
        "generation 3: 0 new classes, validation error 6.2%, 500 images "
        "swept by 1 job (0 reused) in 2 s\n"
        "  root.2 relearned (its images changed)\n"
        "  validation error on the old classes: 5.0% before, 6.2% after\n"
        "  1 unreadable image left out: train/a/2.jpg\n"
        "  1 image in two classes, a/1.jpg and b/1.jpg\n"
        "  12 images in train and test, a/3.jpg and a/4.jpg first"
    )


def test_changes_in_words():
    changed = [
        ChangedClass("ant", 10, 1011),
        ChangedClass("bee", 10, 7),
        ChangedClass("cat", 10, 10),
        ChangedClass("dog", None, 10),
        *(ChangedClass(f"elk {i}", 1, 2) for i in range(7)),
    ]
    changes = Changes(tuple(changed), CLONE.children)

    assert summary.change_lines(changes) == [
        "images changed since they were learnt: ant (1,001 more), "
        "bee (3 fewer), cat (as many, but others), dog (perhaps), "
        "elk 0 (1 more), elk 1 (1 more) and 5 more"
    ]
    assert summary.relearnable(changes) == (
        "images of 11 classes changed: --relearn trains the 2 leaves that "
        "they touch"
    )
    assert summary.change_lines(Changes()) == []
    assert summary.relearnable(Changes()) == ""


def test_classes_that_differ_in_case_in_words():
    batches = [("bee", "Ant"), ("BEE",)]

    assert summary.case_lines(("ant", "A", "a"), batches) == [
        "classes that differ only in case: 'ant' and 'Ant', 'bee' and 'BEE'"
    ]
    assert summary.case_lines(("A", "a"), [("bee",)]) == []


def test_a_tree_in_outline():
    assert "\n".join(summary.tree_lines(SECOND.tree)) == (
        "tree: 8 classes, 2 leaves, depth 2\n"
        "  root: branch over 8 classes\n"
        "    root.1: a, b, c, d, e, f\n"
        "    root.2: g, h"
    )
    assert summary.tree_lines(FIRST.tree) == [
        "tree: 8 classes, 1 leaf, depth 1",
        "  root: a, b, c, d, e, f and 2 more",
    ]


def test_what_is_pending_in_words():
    batches = [("ant",), tuple(f"bee {i}" for i in range(8))]

    assert summary.pending_lines(batches) == [
        "pending: 1 new class: ant",
        "pending: 8 new classes: bee 0, bee 1, bee 2, bee 3, bee 4, bee 5 and "
        "2 more",
    ]
    assert summary.pending_lines([]) == []
