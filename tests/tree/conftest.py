"""Trees of any shape for property tests, as `st.from_type(Tree)`."""

from hypothesis import strategies as st

from hierkeras.tree.nodes import Branch, Leaf, Tree


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    def node(name, classes):
        # A branch lists its classes in an order of its own.
        own_order = tuple(draw(st.permutations(classes)))
        if len(classes) == 1 or draw(st.booleans()):
            return Leaf(name, own_order, name.replace(".", ""))
        count = draw(st.integers(2, min(3, len(classes))))
        children = tuple(
            node(f"{name}.{k + 1}", classes[k::count]) for k in range(count)
        )
        exponent = draw(st.sampled_from([0.0, 0.3, 1.0]))
        return Branch(
            name,
            own_order,
            name.replace(".", ""),
            children,
            exponent,
        )

    count = draw(st.integers(1, 12))
    return Tree(node("root", tuple(f"class {i}" for i in range(count))))


st.register_type_strategy(Tree, trees())
