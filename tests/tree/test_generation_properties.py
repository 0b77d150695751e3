"""Any generation can be written, read and compared."""

import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierkeras.tree.generation import (
    ClassData,
    Decision,
    Duplicates,
    Generation,
    JobUse,
    Step,
    Where,
    from_json,
    to_json,
)
from hierkeras.tree.nodes import Branch, Leaf, Tree

JOBS = st.text("0123456789abcdef", min_size=16, max_size=16)
AWKWARD = st.sampled_from(
    [
        *("", " ", "\0", "\n", "\r\n", "\u2028", '"', "\\", "\\u00e9", "null"),
        *("\u00e9", "e\u0301", "\u202eeb", "👩‍🔬", "🏳️‍🌈", "../x", "CON"),
        *("\ufeff", "\uffff", "\U0010ffff", "<b>&amp;", "x" * 5000),
    ]
)
NAMES = AWKWARD | st.text(max_size=20)
ERRORS = st.floats(0, 1)


def named(node, names):
    """The same node with other names for its classes."""
    return msgspec.structs.replace(
        node,
        classes=tuple(names[name] for name in node.classes),
        **(
            {"children": tuple(named(c, names) for c in node.children)}
            if isinstance(node, Branch)
            else {}
        ),
    )


@st.composite
def generations(draw):
    """A generation with anything in every field that may hold anything."""
    tree = draw(st.from_type(Tree))
    count = len(tree.classes)
    names = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    root = named(tree.root, dict(zip(tree.classes, names, strict=True)))
    grown = draw(st.sampled_from(list(Tree(root).nodes())))
    decision = Decision(
        node=grown.name,
        received=grown.classes[: draw(st.integers(0, 3))],
        growth=draw(st.sampled_from(["first", "flat", "clone", "relearned"])),
        reason=draw(NAMES),
        flat=Leaf(grown.name, grown.classes, draw(JOBS)),
        flat_error=draw(ERRORS),
        clone=grown if isinstance(grown, Branch) else None,
        clone_error=draw(st.none() | ERRORS),
    )
    uses = st.builds(JobUse, JOBS, NAMES, st.integers(0, 2**60), st.booleans())
    data = st.builds(ClassData, st.integers(0, 2**60), JOBS)
    duplicates = st.builds(
        Duplicates,
        st.sampled_from(typing.get_args(Where)),
        st.integers(1, 2**60),
        st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple),
    )
    keys = st.lists(NAMES, max_size=2).map(tuple)
    step = Step(
        new_classes=tuple(draw(st.sets(st.sampled_from(names)))),
        decisions=(decision,),
        jobs=tuple(draw(st.lists(uses, max_size=2))),
        scratch=draw(st.none() | uses),
        unreadable_images=draw(st.dictionaries(NAMES, NAMES, max_size=2)),
        old_error_before=draw(st.none() | ERRORS),
        old_error_after=draw(st.none() | ERRORS),
        error_after=draw(ERRORS),
        seconds=draw(st.floats(0, 1e9)),
        learnt=draw(st.dictionaries(NAMES, data, max_size=3)),
        duplicates=tuple(draw(st.lists(duplicates, max_size=1))),
        exemplars=draw(st.dictionaries(NAMES, keys, max_size=3)),
        remaining=draw(st.dictionaries(JOBS, JOBS, max_size=3)),
    )
    number = draw(st.integers(2, 10**6))
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | ERRORS
        | NAMES,
        lambda below: (
            st.lists(below, max_size=2)
            | st.dictionaries(NAMES, below, max_size=2)
        ),
        max_leaves=4,
    )
    return Generation(
        number=number,
        settings=draw(st.dictionaries(NAMES, values, max_size=3)),
        tree=Tree(root),
        step=step,
        parent=draw(st.none() | st.integers(1, number - 1)),
    )


@given(generation=generations())
def test_any_generation_comes_back_equal_and_its_bytes_are_stable(generation):
    text = to_json(generation)

    back = from_json(text)

    assert back == generation
    assert to_json(back) == text
    assert text.decode()  # is UTF-8
    assert text.decode()  # UTF-8


@given(generation=generations())
@settings(max_examples=20)
def test_the_order_of_what_has_none_is_not_written(generation):
    def turned(fields):
        return dict(reversed(fields.items()))

    step = generation.step
    other = msgspec.structs.replace(
        generation,
        settings=turned(generation.settings),
        step=msgspec.structs.replace(step, learnt=turned(step.learnt)),
    )

    assert to_json(other) == to_json(generation)


@pytest.mark.parametrize("field", ["old_error_before", "error_after"])
@given(generation=generations())
@settings(max_examples=5)
def test_what_could_not_be_read_again_is_not_written(field, generation):
    step = msgspec.structs.replace(generation.step, **{field: float("nan")})

    with pytest.raises(msgspec.ValidationError):
        to_json(msgspec.structs.replace(generation, step=step))


@given(one=generations(), other=generations())
@settings(max_examples=20)
def test_generations_that_differ_in_any_field_are_not_equal(one, other):
    for changed in changes(one, other):
        assert changed != one
        assert to_json(changed) != to_json(one)
        assert from_json(to_json(changed)) == changed


def changes(one, other):
    """`one` with each field in turn, however deep, that `other` has."""
    for field in one.__struct_fields__:
        mine, theirs = getattr(one, field), getattr(other, field)
        values = [theirs] if theirs != mine else []
        if isinstance(mine, msgspec.Struct) and type(mine) is type(theirs):
            values += changes(mine, theirs)
        elif field in ("decisions", "jobs", "duplicates") and mine and theirs:
            values += [
                (first, *mine[1:]) for first in changes(mine[0], theirs[0])
            ]
        for value in values:
            try:
                yield msgspec.structs.replace(one, **{field: value})
            except ValueError:  # that is no generation
                continue
