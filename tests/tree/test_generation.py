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
    unreadable_images={"train/fox/ü.jpg": "af01"},
    old_error_before=0.1,
    old_error_after=1 / 3,
    error_after=0.05,
    seconds=1.5,
    learnt={"fox": ClassData(9, "f0"), "ant": ClassData(3, "a0")},
    duplicates=(
        Duplicates("train and test", 1, (("fox/1.jpg", "fox/2.jpg"),)),
    ),
)


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
