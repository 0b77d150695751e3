"""What the report shows of a tree, against what is counted by hand."""

import numpy as np

from hierkeras.analysis.answers import Answered
from hierkeras.reporting import collected
from hierkeras.reporting.thumbnails import Thumbnails
from tests import builders

TREE = builders.tree("ab", "cd")
A, B, C, D = (TREE.classes.index(name) for name in "abcd")

# Image, its class, what it is taken for, and how surely.
ROWS = [
    (10, A, A, 0.9),
    (11, A, B, 0.8),
    (12, A, B, 0.95),
    (13, B, A, 0.6),
    (14, B, B, 0.7),
    (15, C, A, 0.5),
    (16, C, C, 0.4),
]


def answered(rows=ROWS):
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Answered("test", *columns)


def class_rows(thumbnails, rows=ROWS, new="d"):
    return collected.class_rows(
        TREE, answered(rows), new, thumbnails, lambda name: np.array([99])
    )


def test_a_class_is_counted_as_true_and_as_named():
    rows = class_rows(Thumbnails(100))
    assert [(r.name, r.images, r.right, r.named) for r in rows] == [
        ("a", 3, 1, 3),
        ("b", 2, 1, 3),
        ("c", 2, 1, 1),
        ("d", 0, 0, 0),
    ]
    assert [row.leaf for row in rows] == [
        "root.1",
        "root.1",
        "root.2",
        "root.2",
    ]
    assert [row.new for row in rows] == [False, False, False, True]
    assert rows[A].recall == rows[A].precision == 1 / 3
    assert rows[D].recall is None and rows[D].precision is None


def test_samples_are_what_is_named_right_most_surely():
    thumbnails = Thumbnails(100)
    rows = class_rows(thumbnails)
    shown = [thumbnails.indices[number] for number in rows[B].photos]
    assert shown == [14, 13]


def test_a_class_that_was_not_asked_for_shows_other_photos():
    thumbnails = Thumbnails(100)
    rows = class_rows(thumbnails)
    assert [thumbnails.indices[number] for number in rows[D].photos] == [99]


def test_where_there_are_many_classes_fewer_photos_are_shown_of_each():
    rows = class_rows(Thumbnails(8))
    assert [len(row.photos) for row in rows] == [1, 1, 1, 1]


def test_cells_are_the_mistakes_the_most_frequent_first():
    thumbnails = Thumbnails(100)
    cells = collected.cells(answered(), thumbnails)
    assert [(c.true, c.named, c.count) for c in cells] == [
        (A, B, 2),
        (B, A, 1),
        (C, A, 1),
    ]
    # The surest mistake is shown first.
    assert [thumbnails.indices[n] for n in cells[0].photos] == [12, 11]


def test_where_there_is_no_room_the_largest_cells_have_photos():
    cells = collected.cells(answered(), Thumbnails(2))
    assert [len(cell.photos) for cell in cells] == [2, 0, 0]


def test_a_pair_is_confused_both_ways():
    pairs = collected.pairs(collected.cells(answered(), Thumbnails(100)))
    assert [(p.one, p.other, p.count) for p in pairs] == [(A, B, 3), (A, C, 1)]
    assert [len(p.photos) for p in pairs] == [2, 0]
    assert [len(p.back) for p in pairs] == [1, 1]


def test_the_outline_adds_up():
    about = {"root": {"operations": 7}}
    top = collected.outline(TREE, answered(), about)
    assert (top["name"], top["classes"], top["images"]) == ("root", 4, 7)
    assert top["wrong"] == 4 and top["about"] == {"operations": 7}
    assert [child["classes"] for child in top["children"]] == [[A, B], [C, D]]
    assert [child["images"] for child in top["children"]] == [5, 2]
    assert [child["wrong"] for child in top["children"]] == [3, 1]


def test_what_flipped_is_told_by_class_and_by_photo():
    other = builders.tree("ab")
    before = answered([(i, t, 0, s) for i, t, _, s in ROWS[:5]])  # all are "a"
    thumbnails = Thumbnails(100)
    flips = collected.flips(TREE, answered(), other, before, thumbnails)
    assert [(f.name, f.images, f.before, f.now) for f in flips] == [
        ("a", 3, 3, 1),
        ("b", 2, 0, 1),
    ]
    assert [thumbnails.indices[n] for n in flips[0].lost] == [11, 12]
    assert flips[0].gained == [] and flips[1].lost == []
    assert [thumbnails.indices[n] for n in flips[1].gained] == [14]


def test_a_class_that_the_other_tree_lacks_did_not_flip():
    before = answered([(10, 0, 1, 0.9)])
    flips = collected.flips(
        TREE, answered(), builders.tree("b"), before, Thumbnails(9)
    )
    assert {flip.name for flip in flips} <= {"b"}
