import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.tree.nodes import (
    Branch,
    BranchModel,
    Leaf,
    Temperatures,
    Tree,
)

CATS = Leaf("root.1", ("lion", "lynx"), "job 1")
DOGS = Leaf("root.2", ("wolf", "fox"), "job 2")
ANIMALS = Branch("root", ("lion", "fox", "wolf", "lynx"), "job 0", (CATS, DOGS))


@given(tree=st.from_type(Tree))
def test_each_class_is_in_exactly_one_leaf(tree):
    counts = Counter(name for leaf in tree.leaves for name in leaf.classes)

    assert counts == Counter(tree.classes)
    assert set(counts.values()) == {1}
    for leaf in tree.leaves:
        assert all(tree.leaf_of(name) == leaf for name in leaf.classes)


@given(tree=st.from_type(Tree))
def test_a_path_leads_from_the_root_down_child_by_child(tree):
    paths = [tree.path(node.name) for node in tree.nodes()]

    for node, path in zip(tree.nodes(), paths, strict=True):
        assert path[0] == tree.root
        assert path[-1] == node
        for parent, child in itertools.pairwise(path):
            assert child in parent.children
    assert tree.depth == max(len(path) for path in paths)


@given(tree=st.from_type(Tree))
def test_a_branch_knows_where_its_childrens_classes_stand(tree):
    for branch in tree.branches:
        for child, place in zip(
            branch.children, branch.positions(), strict=True
        ):
            assert tuple(branch.classes[i] for i in place) == child.classes


def test_nodes_come_parents_first_and_left_to_right():
    deep = Branch(
        "root",
        ("lion", "fox", "wolf", "lynx", "bee"),
        "job 3",
        (
            Branch("root.1", ANIMALS.classes, "job 4", (
                Leaf("root.1.1", CATS.classes, "job 1"),
                Leaf("root.1.2", DOGS.classes, "job 2"),
            )),
            Leaf("root.2", ("bee",), "job 5"),
        ),
    )  # fmt: skip

    names = [node.name for node in Tree(deep).nodes()]

    assert names == ["root", "root.1", "root.1.1", "root.1.2", "root.2"]
    assert [b.name for b in Tree(deep).branches] == ["root", "root.1"]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Leaf("root", (), "job"), "at least 1 class"),
        (lambda: Leaf("root", ("fox", "fox"), "job"), "names a class twice"),
        (
            lambda: Branch("root", CATS.classes, "job", (CATS,)),
            "at least 2 children. Received: 1",
        ),
        (
            lambda: Branch("root", CATS.classes, "job", (CATS, CATS)),
            "a class below two",
        ),
        (
            lambda: Branch("root", CATS.classes, "job", (CATS, DOGS)),
            "they differ in fox, wolf",
        ),
        (
            lambda: Branch(
                "root", ANIMALS.classes, "job", (CATS, DOGS), float("nan")
            ),
            r"fusion_exponent in \[0, 1\]. Received: nan",
        ),
        (
            lambda: Temperatures(hard=1.0, soft=float("inf"), fused=1.0),
            "soft routing expected a temperature .* Received: inf",
        ),
        (
            lambda: Tree(
                Branch(
                    "root.1",
                    ("lion", "lynx", "bee"),
                    "job",
                    (CATS, Leaf("root.2", ("bee",), "job")),
                )
            ),
            "two nodes are named 'root.1'",
        ),
    ],
)
def test_what_breaks_a_promise_cannot_be_made(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_replacing_a_leaf_leaves_the_others_alone():
    wider = Leaf("root.2", ("wolf", "fox", "dog"), "job 6")
    model = BranchModel((*ANIMALS.classes, "dog"), "job 7")

    tree = Tree(ANIMALS).replacing({"root.2": wider}, {"root": model})

    assert tree.leaves == (CATS, wider)
    assert (tree.root.classes, tree.root.job) == (model.classes, "job 7")


def test_replacing_does_not_leave_a_branch_that_lacks_a_class():
    wider = Leaf("root.2", ("wolf", "fox", "dog"), "job 6")

    with pytest.raises(ValueError, match="they differ in dog"):
        Tree(ANIMALS).replacing({"root.2": wider})


def test_unknown_names_are_key_errors():
    with pytest.raises(KeyError, match=r"no node 'root\.3'"):
        Tree(ANIMALS).path("root.3")
    with pytest.raises(KeyError, match="no class 'bee'"):
        Tree(ANIMALS).leaf_of("bee")
