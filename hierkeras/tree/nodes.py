"""The tree as a value: leaves, branches and the promises they keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from hierkeras.tree.names import JobId, NodeName

# Beyond these a temperature leaves nothing of the probabilities.
_LEAST_TEMPERATURE, _MOST_TEMPERATURE = 0.01, 100.0


class Leaf(msgspec.Struct, frozen=True, tag="leaf", forbid_unknown_fields=True):
    """A model that names the class of an image of its superclass.

    Args:
        name: The superclass, unique in its tree: `root`, `root.1`, ….
        classes: The classes by name, in the order of the model's outputs.
        job: Id of the job whose model this is.
    """

    name: NodeName
    classes: tuple[str, ...]
    job: JobId

    def __post_init__(self) -> None:
        _check_classes(self.name, self.classes)

    @property
    def children(self) -> tuple[Node, ...]:
        """A leaf has none."""
        return ()


class Branch(
    msgspec.Struct, frozen=True, tag="branch", forbid_unknown_fields=True
):
    """A model that routes an image to one of its children.

    The model is a full classifier over every class below the branch; the
    probability of a child is the sum of the softmax units of the child's
    classes (paper, Figure 4).

    Args:
        name: The superclass that the branch divides, unique in its tree.
        classes: Every class below, in the order of the model's outputs.
        job: Id of the job whose model this is.
        children: At least two nodes; each class is below exactly one.
        fusion_exponent: Weight in [0, 1] of the children's opinion under
            `fused` routing; 1 leaves the branch's own opinion out.
    """

    name: NodeName
    classes: tuple[str, ...]
    job: JobId
    children: tuple[Leaf | Branch, ...]
    fusion_exponent: float = 1.0

    def __post_init__(self) -> None:
        _check_classes(self.name, self.classes)
        if len(self.children) < 2:
            raise ValueError(
                f"branch {self.name!r} expected at least 2 children. "
                f"Received: {len(self.children)}"
            )
        below = [name for child in self.children for name in child.classes]
        if len(set(below)) != len(below):
            raise ValueError(
                f"branch {self.name!r} has a class below two of its children"
            )
        if set(below) != set(self.classes):
            differing = sorted(set(below) ^ set(self.classes))
            raise ValueError(
                f"branch {self.name!r} does not cover exactly the classes "
                f"below it; they differ in {', '.join(differing[:5])}"
            )
        if not 0.0 <= self.fusion_exponent <= 1.0:
            raise ValueError(
                f"branch {self.name!r} expected a fusion_exponent in "
                f"[0, 1]. Received: {self.fusion_exponent}"
            )

    def positions(self) -> tuple[tuple[int, ...], ...]:
        """For each child, where its classes stand among the branch's own.

        Returns:
            One tuple a child; entry `j` is the index, in `self.classes`, of
            the child's `j`-th class.
        """
        index = {name: i for i, name in enumerate(self.classes)}
        return tuple(
            tuple(index[name] for name in child.classes)
            for child in self.children
        )


Node = Leaf | Branch


class BranchModel(msgspec.Struct, frozen=True):
    """A model for a branch.

    Args:
        classes: Its classes, in the order of its outputs.
        job: Id of the job whose model it is.
    """

    classes: tuple[str, ...]
    job: JobId


class Temperatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The temperature of a tree's whole answer under each routing rule.

    A probability `p` becomes `p^(1/T)`, normalised. It changes how sure the
    tree is and not what it names. Each is in [0.01, 100].
    """

    hard: float
    soft: float
    fused: float

    def __post_init__(self) -> None:
        for rule in self.__struct_fields__:
            temperature = getattr(self, rule)
            if not _LEAST_TEMPERATURE <= temperature <= _MOST_TEMPERATURE:
                raise ValueError(
                    f"{rule} routing expected a temperature in "
                    f"[{_LEAST_TEMPERATURE:g}, {_MOST_TEMPERATURE:g}]. "
                    f"Received: {temperature}"
                )


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hierarchy of models; each class is in exactly one leaf.

    Args:
        root: The node that every image comes to.
        temperatures: Of the whole answer; None: none is applied.

    Example:
    >>> Tree(Leaf("root", ("cat", "dog"), "a1")).depth
    1
    """

    root: Leaf | Branch
    temperatures: Temperatures | None = None

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two nodes are named {repeated[0]!r}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class that the tree knows."""
        return self.root.classes

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves, left to right."""
        return tuple(n for n in self.nodes() if isinstance(n, Leaf))

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches; one comes before those below it."""
        return tuple(n for n in self.nodes() if isinstance(n, Branch))

    @property
    def depth(self) -> int:
        """Number of levels; 1 for a single leaf."""
        return _depth(self.root)

    def nodes(self) -> Iterator[Node]:
        """Yields every node, a parent before its children."""
        yield from _walk(self.root)

    def path(self, name: str) -> tuple[Node, ...]:
        """The nodes from the root to the one named `name`, both included.

        Raises:
            KeyError: If no node has that name.
        """
        found = _path(self.root, name)
        if found is None:
            raise KeyError(f"the tree has no node {name!r}")
        return found

    def leaf_of(self, class_name: str) -> Leaf:
        """The leaf that predicts `class_name`.

        Raises:
            KeyError: If the tree does not know the class.
        """
        for leaf in self.leaves:
            if class_name in leaf.classes:
                return leaf
        raise KeyError(f"the tree has no class {class_name!r}")

    def leaf_numbers(self) -> dict[str, int]:
        """For each class the place of its leaf in `leaves`."""
        return {
            name: number
            for number, leaf in enumerate(self.leaves)
            for name in leaf.classes
        }

    def replacing(
        self,
        subtrees: Mapping[str, Node],
        models: Mapping[str, BranchModel] | None = None,
    ) -> Tree:
        """A tree with some nodes replaced.

        It has no temperatures: those that there were are of another answer.

        Args:
            subtrees: Node name to what takes its place, children and all.
            models: Branch name to its new model. A branch above a subtree
                that brings new classes needs one, for it must cover them.

        Raises:
            ValueError: If a branch would not cover exactly what is below it.
        """
        return Tree(_replacing(self.root, subtrees, models or {}))


def _check_classes(name: str, classes: tuple[str, ...]) -> None:
    if not classes:
        raise ValueError(f"node {name!r} expected at least 1 class")
    if len(set(classes)) != len(classes):
        raise ValueError(f"node {name!r} names a class twice")


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _depth(node: Node) -> int:
    return 1 + max((_depth(child) for child in node.children), default=0)


def _path(node: Node, name: str) -> tuple[Node, ...] | None:
    if node.name == name:
        return (node,)
    for child in node.children:
        below = _path(child, name)
        if below is not None:
            return (node, *below)
    return None


def _replacing(
    node: Node, subtrees: Mapping[str, Node], models: Mapping[str, BranchModel]
) -> Node:
    if node.name in subtrees:
        return subtrees[node.name]
    if isinstance(node, Leaf):
        return node
    model = models.get(node.name, BranchModel(node.classes, node.job))
    return msgspec.structs.replace(
        node,
        classes=model.classes,
        job=model.job,
        children=tuple(
            _replacing(child, subtrees, models) for child in node.children
        ),
    )
