import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.tree import generation
from hierkeras.tree.generation import (
    ClassData,
    Decision,
    Duplicates,
    Generation,
    JobUse,
    Step,
)
from hierkeras.tree.nodes import Branch, Leaf, Temperatures, Tree

FLAT = Leaf("root", ("fox", "bee", "ant", "wolf"), "job1")
CLONE = Branch(
    "root",
    FLAT.classes,
    "job1",
    (
        Leaf("root.1", ("fox", "wolf"), "job2"),
        Leaf("root.2", ("bee", "ant"), "job3"),
    ),
    fusion_exponent=0.3,
)
STEP = Step(
    new_classes=("ant", "wolf"),
    decisions=(
        Decision(
            node="root",
            received=("ant", "wolf"),
            growth="clone",
            reason="5.00% < 7.50%",
            flat=FLAT,
            flat_error=0.075,
            clone=CLONE,
            clone_error=0.05,
        ),
    ),
    jobs=(JobUse("job1", "root flat", 1280, False),),
    scratch=None,
    unreadable_images=("train/fox/ü.jpg",),
    old_error_before=0.1,
    old_error_after=1 / 3,
    error_after=0.05,
    seconds=1.5,
    learnt={"fox": ClassData(9, "f0"), "ant": ClassData(3, "a0")},
    duplicates=(
        Duplicates("train and test", 1, (("fox/1.jpg", "fox/2.jpg"),)),
    ),
)
# As it was before steps told what was learnt and what is there twice.
OLDER = b"""{"number":1,"parent":null,"settings":{"data":{"kind":"digits"},
"model":{"image_size":8}},"sha256":
"be1b5984c24cb10bb874ec0e9b64f01e726b61fe2bd57d7351c5057b68be45f3",
"step":{"decisions":[{"clone":null,"clone_error":null,"flat":{"classes":["fox",
"bee"],"job":"1a","name":"root","type":"leaf"},"flat_error":0.25,"growth":
"first","node":"root","reason":"there was no tree","received":["fox","bee"]}],
"error_after":0.25,"jobs":[{"images_swept":10,"job":"1a","label":"root first",
"reused":false}],"new_classes":["fox","bee"],"old_error_after":null,
"old_error_before":null,"scratch":null,"seconds":1.5,"unreadable_images":[]},
"tree":{"root":{"classes":["fox","bee"],"job":"1a","name":"root","type":
"leaf"}}}"""

# As it was before temperatures: exponents of 1 are written.
OLDER_BRANCH = b"""{"number":2,"parent":1,"settings":{"data":{"kind":"digits"}},
"sha256":"7483ef3ff897d6eb802d8c0a842252547dccedb50986cdd756c92cf81a2b1fe5",
"step":{"decisions":[],"error_after":0.125,"jobs":[],"new_classes":["bee"],
"old_error_after":0.125,"old_error_before":0.25,"scratch":null,"seconds":1.5,
"unreadable_images":[]},"tree":{"root":{"children":[{"classes":["fox"],"job":
"2b","name":"root.1","type":"leaf"},{"classes":["bee"],"job":"3c","name":
"root.2","type":"leaf"}],"classes":["fox","bee"],"fusion_exponent":1.0,"job":
"1a","name":"root","type":"branch"}}}"""


@given(
    tree=st.from_type(Tree),
    temperatures=st.sampled_from([None, Temperatures(1.0, 0.3, 2.5)]),
)
def test_json_and_back_is_equal(tree, temperatures):
    settings = {"data": {"kind": "folder", "class_list": ["fox"]}}
    tree = msgspec.structs.replace(tree, temperatures=temperatures)
    before = Generation(2, settings, tree, STEP)

    text = generation.to_json(before)

    assert generation.from_json(text) == before
    assert generation.to_json(generation.from_json(text)) == text


def test_an_older_file_is_read():
    found = generation.from_json(OLDER)
    step = found.step

    assert (found.tree.root.temperature, found.tree.temperatures) == (1, None)
    assert step.new_classes == ("fox", "bee")
    assert (step.learnt, step.duplicates) == ({}, ())
    assert (step.exemplars, step.remaining) == ({}, {})


def test_an_older_branch_is_read():
    root = generation.from_json(OLDER_BRANCH).tree.root

    assert (root.fusion_exponent, root.temperature) == (1, 1)
    assert root.children[0].temperature == 1


def test_temperatures_of_1_are_not_written_however_they_came():
    def text(one):
        leaf = Leaf("root", FLAT.classes, "job1", one)
        return generation.to_json(Generation(1, {}, Tree(leaf), STEP))

    assert text(1.0) == text(float("1.0")) == text(1)
    assert b"temperature" not in text(float("1.0"))
    assert b'"temperature": 1.5' in text(1.5)


def broken(change):
    raw = json.loads(generation.to_json(Generation(1, {}, Tree(CLONE), STEP)))
    change(raw)
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda raw: raw.pop("tree"), "tree"),
        (lambda raw: raw.update(number="2"), "int"),
        (lambda raw: raw.update(colour="red"), "colour"),
        (lambda raw: raw["tree"]["root"].update(type="twig"), "twig"),
        (
            lambda raw: raw["tree"]["root"]["classes"].append("cow"),
            "does not cover exactly the classes below it",
        ),
    ],
)
def test_a_file_that_breaks_a_promise_is_not_read(change, complaint):
    with pytest.raises(msgspec.DecodeError, match=complaint):
        generation.from_json(broken(change))
