import numpy as np
import pytest

from hierkeras.growth.assess import Assessor
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing
from tests import builders


def test_an_error_is_the_share_of_wrong_answers(trained, predictor):
    context, tree = trained
    leaf = Leaf("root", tree.root.classes, tree.root.job)
    assessor = Assessor(context.catalogue, predictor, Routing())
    indices = context.catalogue.indices("validation", ["8", "1", "3"])
    truth = np.array(list("0123456789"))[context.catalogue.labels[indices]]

    error = assessor.error(Tree(leaf), ["8", "1", "3"])

    outputs = predictor.probabilities(leaf.job, indices)
    answers = np.array(leaf.classes)[outputs.argmax(axis=1)]
    assert error == pytest.approx(np.mean(answers != truth))
    # The fixture's model is trained: it beats a guess by far.
    assert error < 0.6


def test_the_exponent_is_the_best_on_validation_images(trained, predictor):
    context, tree = trained
    branch = tree.path("root.1")[-1]
    assessor = Assessor(context.catalogue, predictor, Routing("fused", 2))

    chosen = assessor.with_exponent(branch)

    indices, labels = assessor.samples(branch.classes)
    scores = {
        exponent: score(predictor, branch, indices, labels, exponent)
        for exponent in np.round(np.linspace(0, 1, 11), 1)
    }
    error, cross_entropy = scores[chosen.fusion_exponent]
    assert error == min(error for error, _ in scores.values())
    assert cross_entropy == pytest.approx(
        min(c for e, c in scores.values() if e == error)
    )
    assert chosen.classes == branch.classes
    assert chosen.children == branch.children


def score(predictor, branch, indices, labels, exponent):
    """Error and cross-entropy of fused routing, from its definition."""
    own = predictor.probabilities(branch.job, indices).astype(float)
    fused = np.zeros_like(own)
    for child in branch.children:
        columns = [branch.classes.index(name) for name in child.classes]
        leaf = predictor.probabilities(child.job, indices)
        mean = leaf**exponent * own[:, columns] ** (1 - exponent)
        mean /= mean.sum(axis=1, keepdims=True)
        fused[:, columns] = own[:, columns].sum(axis=1, keepdims=True) * mean
    right = fused[np.arange(len(labels)), labels]
    return np.mean(fused.argmax(axis=1) != labels), -np.log(right).mean()


@pytest.mark.parametrize(("wrong", "least"), [("1478", 0.6), ("18", 0.0)])
def test_the_exponent_sides_with_who_is_right(wrong, least):
    growing = builders.untrained_grower(
        builders.recipe(), {wrong: {"1": "8", "8": "1"}}
    )
    nodes = [builders.trained(growing, own) for own in ("1478", "18", "47")]
    root, *jobs = [node.job for node in nodes]
    leaves = [
        builders.leaf(f"root.{k + 1}", own, jobs[k])
        for k, own in enumerate(("18", "47"))
    ]
    branch = builders.branch("root", "1478", *leaves, job=root)

    chosen = growing.assessor.with_exponent(branch).fusion_exponent

    assert least <= chosen <= least + 0.4


def test_which_images_are_right_is_told_in_the_order_of_the_samples():
    growing = builders.untrained_grower(builders.recipe(), {"0123": {"2": "0"}})
    tree = Tree(builders.trained(growing, "0123"))

    right = growing.assessor.is_right(tree, ["2", "1"])

    _, labels = growing.assessor.samples(["2", "1"])
    assert right.tolist() == (labels == 1).tolist()
    assert growing.assessor.error(tree, ["2", "1"]) == np.mean(labels == 0)


@pytest.mark.parametrize("rule", ROUTING_RULES)
def test_a_trees_temperatures_calibrate_it_and_change_no_answer(
    trained, predictor, rule
):
    context, tree = trained
    assessor = Assessor(context.catalogue, predictor, Routing(rule))
    indices, labels = assessor.samples(tree.classes)

    warm = assessor.with_temperatures(tree)

    before = assessor.route(tree, indices).probabilities
    after = assessor.route(warm, indices).probabilities
    named = before.argmax(axis=1)
    np.testing.assert_array_equal(after.argmax(axis=1), named)
    assert not np.allclose(after, before)

    def loss(probabilities):
        score = probabilities.max(axis=1).clip(0, 1 - 1e-6)
        return -np.log(np.where(named == labels, score, 1 - score)).mean()

    assert loss(after) < loss(before)
    assert warm.root == tree.root
    assert assessor.with_temperatures(warm) == warm


def test_shared_layers_cost_an_image_once(trained, predictor):
    context, tree = trained

    def flops(node, routing):
        assessor = Assessor(context.catalogue, predictor, routing)
        return assessor.flops(Tree(node))

    whole = Leaf("root", tree.root.classes, tree.root.job)
    single = flops(whole, Routing())
    features = predictor.model(tree.root.job).get_layer("logits").input.shape[1]
    # What is below the root has its layers, but for the softmax layers: of 6
    # and 2 classes; then of 3 and 3.
    heads = 2 * features * (6 + 2 + 3 + 3)
    for routing in (Routing("soft", 2), Routing("fused", 2)):
        assert flops(tree.root, routing) == pytest.approx(single + heads)
    assert single < flops(tree.root, Routing("hard")) < single + heads


def test_a_class_with_nothing_to_choose_by_is_previewed_by_what_it_learns():
    context = builders.open_context("nowhere")
    count = len(context.catalogue.indices("validation", "3"))
    context = builders.less(context, "validation", "3", count)
    catalogue = context.catalogue
    grower = builders.untrained_grower(builders.recipe(), context=context)

    indices, labels = grower.assessor.preview_samples("53")

    chosen_by = catalogue.indices("validation", "5").tolist()
    learnt = catalogue.indices("train", "3").tolist()
    assert sorted(indices.tolist()) == sorted([*chosen_by, *learnt])
    names = [catalogue.class_names[k] for k in catalogue.labels[indices]]
    assert ["53"[k] for k in labels] == names
    # Trees are judged by validation images alone.
    assert grower.assessor.samples("53")[0].tolist() == chosen_by
