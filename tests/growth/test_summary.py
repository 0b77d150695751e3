from hierkeras.growth import summary
from hierkeras.tree.generation import Decision, Generation, JobUse, Step
from hierkeras.tree.nodes import Branch, Leaf, Tree

FLAT = Leaf("root", tuple("abcdefgh"), "job 1")
CLONE = Branch(
    "root",
    FLAT.classes,
    "job 1",
    (
        Leaf("root.1", tuple("abcdefg")[:6], "job 2"),
        Leaf("root.2", ("g", "h"), "job 3"),
    ),
)
SECOND = Generation(
    2,
    {},
    Tree(CLONE),
    Step(
        new_classes=("g", "h"),
        decisions=(
            Decision(
                node="root",
                received=("g", "h"),
                growth="clone",
                reason="5.00% < 7.50%",
                flat=FLAT,
                flat_error=0.075,
                clone=CLONE,
                clone_error=0.05,
            ),
        ),
        jobs=(
            JobUse("job 1", "root flat", 12_000, True),
            JobUse("job 2", "root.1 leaf", 345, False),
            JobUse("job 3", "root.2 leaf", 0, False),
        ),
        scratch=JobUse("job 4", "scratch baseline", 99, False),
        unreadable_images=("train/a/1.jpg",),
        old_error_before=0.125,
        old_error_after=0.0625,
        error_after=0.05,
        seconds=61.98765,
    ),
)
FIRST = Generation(
    1,
    {},
    Tree(FLAT),
    Step(
        new_classes=FLAT.classes,
        decisions=(
            Decision(
                "root", FLAT.classes, "first", "there was no tree", FLAT, 0.1
            ),
        ),
        jobs=(JobUse("job 1", "root first", 500, False),),
        scratch=None,
        unreadable_images=(),
        old_error_before=None,
        old_error_after=None,
        error_after=0.1,
        seconds=2.0,
    ),
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


def test_the_first_step_in_words():
    assert "\n".join(summary.step_lines(FIRST)) == (
        "generation 1: 8 new classes, validation error 10.0%, 500 images "
        "swept by 1 job (0 reused) in 2 s\n"
        "  root received a, b, c, d, e, f and 2 more: first (there was no "
        "tree)"
    )


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
