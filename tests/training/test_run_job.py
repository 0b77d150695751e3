"""A job: what it leaves, what it starts from, and that it repeats."""

import hashlib
import io
import shutil
import zipfile

import h5py
import msgspec
import numpy as np
import pytest
from scipy import special

from hierkeras._errors import UserError
from hierkeras.models.surgery import feature_extractor
from hierkeras.training import results
from hierkeras.training.fit import steps_per_epoch
from hierkeras.training.run_job import measured, run_job
from hierkeras.training.spec import (
    Clone,
    CutOut,
    Flat,
    Preview,
    Refined,
    Together,
)
from hierkeras.tree.store import Store

MORE_CLASSES = ("4", "0", "1", "2", "3")
PAIR = ("0", "1")


def layers(context, job):
    """Weights of the body as one list, and the head's kernel and bias."""
    model = results.load_model(context.store, job)
    body = [
        weight
        for layer in model.layers
        if layer.name != "logits"
        for weight in layer.get_weights()
    ]
    return body, *model.get_layer("logits").get_weights()


def assert_identical(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_job_learns_and_notes_what_it_cost(trained):
    context, result = trained
    spec = result.spec
    images = len(context.catalogue.indices("train", spec.classes))

    steps = steps_per_epoch(spec.training, images)
    assert result.images_swept == 3 * steps * spec.training.batch_size
    assert result.epochs == 3
    assert result.measured.top1_error < 0.2  # 0.75 by chance
    assert result.measured.top5_error == 0.0  # of four classes
    history = results.read_history(context.store, result.job)
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert history[-1]["images_swept"] == result.images_swept
    assert history[-1]["loss"] < history[0]["loss"]


def test_its_folder_holds_the_weights_once_and_no_optimizer(trained):
    context, result = trained
    folder = context.store.job_folder(result.job)

    assert sorted(path.name for path in folder.iterdir()) == [
        "SHA256SUMS",
        "history.json",
        "job.json",
        "model.keras",
    ]
    model = results.load_model(context.store, result.job)
    stored = []
    with (
        zipfile.ZipFile(folder / "model.keras") as archive,
        archive.open("model.weights.h5") as file,
        h5py.File(file) as weights,
    ):
        weights.visititems(
            lambda _, item: (
                stored.append(item.nbytes)
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert sum(stored) == 4 * model.count_params()


def test_a_finished_job_is_not_run_again(trained):
    context, result = trained

    again = run_job(result.spec, "another label", context)

    assert again == result  # the first run's label and seconds
    assert results.read(context.store, result.job) == result


def test_the_same_spec_gives_the_same_bits(tmp_path, open_context, make_spec):
    weights = []
    for name in ("one", "other"):
        context = open_context(tmp_path / name, deterministic=name == "one")
        spec = make_spec(context, PAIR, {"augment": "shift_mirror"})
        body, kernel, bias = layers(context, run_job(spec, "", context).job)
        weights.append([*body, kernel, bias])

    assert_identical(*weights)


def test_a_widened_model_starts_from_its_parent(trained, make_spec):
    context, parent = trained
    start = Flat(parent.job, "random", 1.0, 0.0, 0.0)
    spec = make_spec(context, MORE_CLASSES, {"max_epochs": 0}, start=start)

    result = run_job(spec, "root flat", context)

    body, kernel, bias = layers(context, parent.job)
    new_body, new_kernel, new_bias = layers(context, result.job)
    assert result.images_swept == 0 and result.epochs == 0
    assert_identical(new_body, body)
    # The new class came first; the old ones keep their columns.
    np.testing.assert_array_equal(new_kernel[:, 1:], kernel)
    np.testing.assert_array_equal(new_bias[1:], bias)


def test_an_imprinted_column_points_to_its_class(trained, make_spec):
    context, parent = trained
    spec = make_spec(context, MORE_CLASSES, start=Preview(parent.job))

    result = run_job(spec, "root preview", context)

    assert result.images_swept == 0
    model = results.load_model(context.store, result.job)
    few = np.concatenate(
        [context.catalogue.indices("train", (n,))[:50] for n in MORE_CLASSES]
    )
    features = feature_extractor(model).predict(
        context.images.evaluation_batches(few, 64), verbose=0
    )
    towards = features[:50].mean(axis=0) - features.mean(axis=0)
    kernel, _ = model.get_layer("logits").get_weights()
    column = kernel[:, 0] - kernel[:, 1:].mean(axis=1)
    lengths = np.linalg.norm(towards) * np.linalg.norm(column)
    assert towards @ column / lengths == pytest.approx(1.0, abs=1e-4)


def test_training_the_head_leaves_the_body_alone(trained, make_spec):
    context, parent = trained
    spec = make_spec(context, start=Refined(parent.job))

    result = run_job(spec, "root refined", context)

    body, kernel, _ = layers(context, parent.job)
    new_body, new_kernel, _ = layers(context, result.job)
    assert_identical(new_body, body)
    assert (new_kernel != kernel).all()


def test_training_the_head_sweeps_each_image_once(trained, make_spec):
    context, parent = trained
    spec = make_spec(context, start=Refined(parent.job))
    training = msgspec.structs.replace(
        spec.training, max_epochs=3, augment="shift_mirror"
    )
    spec = msgspec.structs.replace(spec, training=training)

    result = run_job(spec, "root refined", context)

    images = len(context.catalogue.indices("train", spec.classes))
    assert result.epochs == 3
    assert result.images_swept == images
    assert results.read_history(context.store, result.job)[-1][
        "validation_error"
    ] == pytest.approx(result.measured.top1_error, abs=0.02)


def test_a_leaf_of_leaf_layers_shares_its_parents_trunk(trained, make_spec):
    context, parent = trained
    start = Clone(parent.job, "random", 1.0, 0.0, leaf_layers=2)
    spec = make_spec(context, ("0", "2"), start=start)

    result = run_job(spec, "root.1 leaf", context)

    body, _, _ = layers(context, parent.job)
    new_body, _, _ = layers(context, result.job)
    top = 5  # the last convolution and its normalisation
    assert_identical(new_body[:-top], body[:-top])
    assert all(
        (a != b).any()
        for a, b in zip(new_body[-top:], body[-top:], strict=True)
    )


@pytest.mark.slow
def test_everything_that_can_be_asked_of_a_flat_increment(trained, make_spec):
    context, parent = trained
    start = Flat(parent.job, "imprinted", 0.8, 0.1, distillation=1.0)
    asked = {"max_epochs": 2, "balanced_softmax": True}
    spec = make_spec(context, MORE_CLASSES, asked, start=start)

    result = run_job(spec, "root flat", context)

    assert result.epochs == 2 and result.measured.top1_error < 0.5
    again = results.read(context.store, spec.job)
    assert again.spec == spec
    # The model that is kept answers for the student alone.
    model = results.load_model(context.store, spec.job)
    assert model.output_shape == (None, len(MORE_CLASSES))


@pytest.mark.slow
def test_a_class_of_few_images_is_not_drowned(
    tmp_path, open_context, make_spec
):
    context = open_context(tmp_path)
    keys = context.catalogue.keys
    few = keys[context.catalogue.indices("train", ["0"])][:4]
    context = context.keeping({"0": tuple(few.tolist())})
    looked_at = context.catalogue.indices("validation", ["0"])

    def opinion(balanced):
        spec = make_spec(context, recipe={"balanced_softmax": balanced})
        run_job(spec, "root first", context)
        logits = results.load_model(context.store, spec.job).predict(
            context.images.evaluation_batches(looked_at, 32), verbose=0
        )
        return special.softmax(logits, axis=1)[:, 0].mean()

    drowned, balanced = opinion(balanced=False), opinion(balanced=True)
    assert drowned < 0.1 and balanced > 2 * drowned


def test_a_joint_network_loads_what_it_starts_from_once(
    trained, make_spec, monkeypatch
):
    context, parent = trained
    loaded = []
    load = results.load_model
    monkeypatch.setattr(
        results,
        "load_model",
        lambda store, job: loaded.append(job) or load(store, job),
    )
    start = Together(parent.job, 1.0, 0.0, (("2", "0"), ("3", "1")), 1)
    run_job(
        make_spec(context, recipe={"max_epochs": 0}, start=start), "", context
    )
    assert loaded == [parent.job]


@pytest.fixture(scope="module")
def joint(trained, make_spec):
    """A branch that was trained together with two leaves."""
    context, parent = trained
    groups = (("2", "0"), ("3", "1"))
    start = Together(parent.job, 0.9, 0.1, groups, leaf_layers=2)
    asked = {"balanced_softmax": True, "max_epochs": 3}
    spec = make_spec(context, recipe=asked, start=start)
    return context, run_job(spec, "root branch", context)


def test_a_branch_and_its_leaves_learn_together(joint, make_spec):
    context, branch = joint
    images = len(context.catalogue.indices("train", branch.spec.classes))
    batch = branch.spec.training.batch_size
    steps = steps_per_epoch(branch.spec.training, images)

    assert branch.images_swept == 3 * steps * batch  # once an epoch
    assert branch.measured.top1_error < 0.2
    # The model that is kept answers for the branch alone.
    model = results.load_model(context.store, branch.job)
    assert model.output_shape == (None, 4)
    body, _, _ = layers(context, branch.job)
    for number, classes in enumerate(branch.spec.start.superclasses):
        spec = make_spec(context, classes, start=CutOut(branch.job, number))
        leaf = run_job(spec, f"root.{number + 1} leaf", context)

        assert leaf.images_swept == 0
        assert leaf.measured.top1_error < 0.1
        own, _, _ = layers(context, leaf.job)
        top = 5  # the last convolution and its normalisation
        assert_identical(own[:-top], body[:-top])
        assert all(
            (a != b).any() for a, b in zip(own[-top:], body[-top:], strict=True)
        )


def test_a_leaf_that_was_not_trained_with_a_branch(joint, make_spec):
    context, branch = joint

    for number, message in ((2, "has no leaf 2"), (0, "does not fit")):
        start = CutOut(branch.job, number)
        spec = make_spec(context, ("2", "0", "1"), start=start)
        with pytest.raises(UserError, match=f"job {branch.job} .*{message}"):
            run_job(spec, "root.3 leaf", context)


def strings(content):
    with np.load(io.BytesIO(content)) as arrays:
        forged = {name: np.full(arrays[name].shape, "x") for name in arrays}
    written = io.BytesIO()
    np.savez(written, **forged)
    return written.getvalue()


@pytest.mark.parametrize(
    ("forge", "resign", "message"),
    [
        (lambda content: content[:-1], False, "not what was written"),
        (lambda content: content[:-1], True, "damaged"),
        (lambda content: b"", True, "damaged"),
        (strings, True, "more than numbers"),
    ],
)
def test_a_damaged_leaf_is_told(joint, tmp_path, forge, resign, message):
    context, branch = joint
    store = Store(tmp_path)
    shutil.copytree(
        context.store.job_folder(branch.job), store.job_folder(branch.job)
    )
    assert len(results.read_leaf(store, branch.job, 0)) == 7
    path = store.job_folder(branch.job) / results.LEAVES_FILE
    before = path.read_bytes()
    after = forge(before)
    path.write_bytes(after)
    if resign:
        sums = store.job_folder(branch.job) / results.SUMS_FILE
        old, new = (hashlib.sha256(c).hexdigest() for c in (before, after))
        sums.write_text(sums.read_text().replace(old, new))

    with pytest.raises(UserError, match=f"job {branch.job} .*{message}") as e:
        results.read_leaf(store, branch.job, 0)

    assert "\n" not in str(e.value)


def test_a_model_without_an_opinion_is_wrong():
    found = measured(np.zeros((5, 4)), np.array([0, 1, 2, 3, 0], np.int32))

    assert found.loss == pytest.approx(np.log(4))
    assert found.top1_error == 1.0
