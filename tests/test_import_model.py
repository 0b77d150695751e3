"""--import_model: generation 1 is somebody's model, and grows from there."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from hierkeras import doctor, evaluate, increment
from hierkeras.recipe import remembered
from hierkeras.serving.graph.composite import Composite
from hierkeras.training import beginnings, models, results, strategy
from hierkeras.training.spec import Flat, Imported, JobSpec, Preview, Solved
from hierkeras.tree.store import Store
from tests import builders
from tests.conftest import ROOT

LITE0 = ROOT.parent / "shared" / "models" / "efficientnet_lite0.keras"
OLD = list("012345")


def tiny(*top: keras.Layer) -> keras.Model:
    """A network for images of 8 pixels, with its preprocessing inside."""
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    for layer in top:
        x = layer(x)
    return keras.Model(images, x)


@dataclasses.dataclass(frozen=True)
class Theirs:
    """A model and its classes, as files."""

    model: Path
    classes: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            f"--import_model={self.model}",
            f"--import_classes={self.classes}",
        )


def saved(folder: Path, model: keras.Model, names: list[str]) -> Theirs:
    theirs = Theirs(folder / "theirs.keras", folder / "labels.txt")
    model.save(theirs.model)
    theirs.classes.write_text("".join(f"{name}\n" for name in names))
    return theirs


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Theirs:
    model = tiny(layers.Dense(6, activation="softmax"))
    return saved(tmp_path_factory.mktemp("theirs"), model, OLD)


@pytest.fixture(scope="module")
def imported(theirs, run_main, tmp_path_factory):
    """A work directory of the imported model, without any photo."""
    workdir = tmp_path_factory.mktemp("imported") / "run"
    outcome = run_main(
        increment, *theirs.flags, "--noexport", f"--workdir={workdir}"
    )
    assert outcome.status == 0, outcome.stderr
    return workdir, outcome


@pytest.fixture
def workdir(imported, tmp_path):
    """A copy of it, to write to."""
    return shutil.copytree(imported[0], tmp_path / "run")


def noise(size: int, number: int = 4) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.integers(0, 256, (number, size, size, 3), np.uint8)


def check_same_answers(workdir: Path, model: keras.Model, size: int) -> None:
    """Generation 1 answers as the model, also as what is exported does."""
    store = Store(str(workdir))
    latest = store.latest()
    recorded = remembered.read(latest)
    context = builders.open_context(
        workdir, data=recorded.data, image_size=size
    )
    images = noise(size)
    wanted = np.asarray(model(images.astype("float32"), training=False))
    loaded = models.load(context, latest.tree.root.job)
    logits = loaded(images.astype("float32"), training=False)
    answers = np.asarray(keras.ops.softmax(logits))
    np.testing.assert_allclose(answers, wanted, rtol=0, atol=1e-5)
    composite = Composite(
        latest.tree, {latest.tree.root.job: loaded}, recorded.recipe.routing
    )
    served, _ = composite(images)
    np.testing.assert_allclose(served, wanted, rtol=0, atol=1e-5)


def test_generation_1_is_the_model_as_it_is(theirs, imported):
    workdir, outcome = imported

    assert "root received 0, 1, 2, 3, 4, 5: first (it was imported" in (
        outcome.stdout
    )
    assert "no validation image that tells an error" in outcome.stdout
    assert "feature_depths=0" in outcome.stderr
    store = Store(str(workdir))
    first = store.latest()
    assert first.tree.classes == tuple(OLD)
    assert first.step.error_after is None
    spec = results.read(store, first.tree.root.job).spec
    assert isinstance(spec.start, Imported)
    assert spec.network.feature_depths == 0
    check_same_answers(workdir, keras.saving.load_model(theirs.model), 8)


def test_the_doctor_knows_it(workdir, run_main):
    def findings(status):
        outcome = run_main(doctor, f"--workdir={workdir}", "--format=json")
        assert (outcome.status, outcome.stderr) == (status, "")
        found = json.loads(outcome.stdout)["findings"]
        # It is not exported, of which it tells.
        return [each for each in found if not each["place"].endswith("serving")]

    assert findings(0) == []
    job = Store(str(workdir)).latest().tree.root.job
    head = workdir / "models" / job / "head.npz"
    head.unlink()
    # And of LATEST, which has nothing else to point at.
    (found,) = [f for f in findings(1) if f["place"] == str(head.parent)]
    assert "head.npz is missing" in found["what"]


def test_logits_are_the_model_s_own(theirs, imported):
    model = keras.saving.load_model(theirs.model)
    images = noise(8).astype("float32")
    dense = model.layers[-1]
    features = keras.Model(model.input, dense.input)(images)
    wanted = np.asarray(features @ dense.kernel + dense.bias)

    context = builders.open_context(imported[0])
    job = context.store.latest().tree.root.job
    found = np.asarray(models.load(context, job)(images))

    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_the_same_command_again_finds_nothing_new(
    theirs, imported, run_main, contents
):
    workdir, _ = imported
    before = contents(workdir)
    for flags in (theirs.flags, ()):
        outcome = run_main(
            increment, *flags, "--noexport", f"--workdir={workdir}"
        )
        assert outcome.status == 0, outcome.stderr
        assert outcome.stdout.endswith(
            "nothing new: the tree knows every class asked for\n"
        )
    assert contents(workdir) == before


def test_it_grows_by_photos_of_old_and_new_classes(workdir, run_main):
    # Its own error on photos of its classes is known before it grows.
    measured = run_main(
        evaluate,
        *("--dataset=digits", "--split=validation", "--format=json"),
        f"--workdir={workdir}",
    )
    assert measured.status == 0, measured.stderr
    error = json.loads(measured.stdout)["top1_error"]

    outcome = run_main(
        increment, "--dataset=digits", "--noexport", f"--workdir={workdir}"
    )

    assert outcome.status == 0, outcome.stderr
    store = Store(str(workdir))
    step = store.latest().step
    assert step.new_classes == tuple("6789")
    assert "takes the place of the imported one" in step.decisions[0].reason
    # Solved from photos of all ten classes, of which none had sums.
    result = results.read(store, store.latest().tree.root.job)
    assert isinstance(result.spec.start, Solved)
    context = builders.open_context(
        workdir, data=remembered.read(store.latest()).data
    )
    assert result.images_swept == len(
        context.catalogue.indices("train", store.latest().tree.classes)
    )
    assert step.old_error_before == pytest.approx(error)
    # Random weights against a head that has seen photos.
    assert step.old_error_after < step.old_error_before
    # Digits are not mirrored: that was left open until there were images.
    assert remembered.read(store.latest()).recipe.training.augment == "none"


def test_what_was_asked_for_is_not_left_to_the_photos(
    theirs, run_main, tmp_path
):
    workdir = f"--workdir={tmp_path / 'run'}"
    asked = ("--set=heads=trained", "--augment=shift", "--noexport")
    made = run_main(increment, *theirs.flags, *asked, workdir)
    assert made.status == 0, made.stderr

    show = ("--dataset=digits", "--show", "--format=json")
    shown = json.loads(run_main(increment, *show, workdir).stdout)

    assert shown["recipe"]["training"]["augment"] == "shift"
    assert shown["sources"]["augment"] == "remembered"
    assert shown["pending"] == [list("6789")]


def test_a_model_and_photos_in_one_command_go_on_from_its_weights(
    theirs, run_main, tmp_path
):
    outcome = run_main(
        increment,
        *theirs.flags,
        *("--dataset=digits", "--class_batches=8", "--set=heads=trained"),
        *("--noexport", "--max_epochs=1", "--set=samples_per_check=64"),
        f"--workdir={tmp_path / 'run'}",
    )

    assert outcome.status == 0, outcome.stderr
    store = Store(str(tmp_path / "run"))
    first, second = store.history(store.latest())
    assert first.tree.classes == tuple(OLD)
    assert first.step.error_after == second.step.old_error_before
    assert second.step.new_classes == ("6", "7")
    start = results.read(store, second.tree.root.job).spec.start
    assert isinstance(start, Flat)
    assert start.parent == first.tree.root.job
    assert "imported one" not in second.step.decisions[0].reason


def test_what_starts_from_it_has_its_trunk_and_head(imported):
    context = builders.open_context(imported[0])
    job = context.store.latest().tree.root.job
    network = results.read(context.store, job).spec.network
    classes = (*OLD, "9")
    spec = JobSpec(
        classes,
        network,
        builders.recipe().training,
        context.catalogue.fingerprint(classes),
        Preview(job),
    )

    begun = beginnings.begin(spec, context, strategy.choose_strategy(()))

    images = noise(8).astype("float32")
    before = np.asarray(models.load(context, job)(images))
    after = np.asarray(begun.model(images))
    np.testing.assert_allclose(after[:, :6], before, rtol=0, atol=1e-5)


def test_photos_of_new_classes_alone_are_refused(
    theirs, workdir, run_main, tmp_path, contents
):
    before = contents(workdir)
    new = tmp_path / "new.txt"
    new.write_text("5\n6\n7\n")
    named = (
        "lacks 5 of the 6 classes that the imported model knows",
        "'0' first",
        "add some of each",
    )
    flags = ("--dataset=digits", f"--class_list={new}", "--noexport")
    run_main(increment, *flags, f"--workdir={workdir}").check_refused(1, *named)
    assert contents(workdir) == before
    fresh = tmp_path / "fresh"
    run_main(
        increment, *flags, *theirs.flags, f"--workdir={fresh}"
    ).check_refused(1, *named)
    assert not fresh.exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"a\nb\n\nc\nd\ne\n", ["line 3 of", "is blank"]),
        (b"a\nb\nc\nd\ne\na\n", ["lines 1 and 6 of", "both name 'a'"]),
        (b"a\nb\nc\n", ["names 3 classes", "has 6 outputs"]),
        (b"a\nb\nc\nd\ne\nf\ng\n", ["names 7 classes", "has 6 outputs"]),
        (b"", ["line 1 of", "is blank"]),
        (b"a\nb\nc\nd\ne\n\xff\n", ["cannot be read", "UTF-8"]),
        (b"a\nb\nc\nd\ne\nx\0y\n", ["class of the name", "rename it"]),
        (
            "a\nb\nc\nd\n\u00e9\ne\u0301\n".encode(),
            ["in different Unicode forms", "rename or merge"],
        ),
    ],
)
def test_classes_that_no_model_has_are_refused(
    theirs, run_main, tmp_path, text, named
):
    labels = tmp_path / "labels.txt"
    labels.write_bytes(text)
    workdir = tmp_path / "run"
    run_main(
        increment,
        f"--import_model={theirs.model}",
        f"--import_classes={labels}",
        f"--workdir={workdir}",
    ).check_refused(1, str(labels) if "names" not in named[0] else "", *named)
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("flags", "status", "named"),
    [
        (["--import_model=m.keras"], 2, ["without --import_classes"]),
        (["--import_classes=l.txt"], 2, ["without --import_model"]),
        (["--backbone=small_cnn"], 2, ["backbone=small_cnn contradicts"]),
        (["--set=feature_depths=2"], 2, ["feature_depths=2 contradicts"]),
        (["--backbone_weights=imagenet"], 2, ["backbone_weights=imagenet"]),
        (["--import_model=gone.keras"], 1, ["No such file: 'gone.keras'"]),
        (["--import_model=m.onnx"], 2, ["ends in .keras or .h5", "m.onnx"]),
        (["--import_classes=gone.txt"], 1, ["gone.txt cannot be read"]),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    theirs, run_main, tmp_path, flags, status, named
):
    workdir = tmp_path / "run"
    alone = status == 2 and "without" in named[0]
    run_main(
        increment,
        *(() if alone else theirs.flags),
        *flags,
        f"--workdir={workdir}",
    ).check_refused(status, *named)
    assert not workdir.exists()


def test_a_model_without_a_classifier_is_refused(run_main, tmp_path):
    theirs = saved(tmp_path, tiny(), OLD)
    workdir = tmp_path / "run"
    run_main(increment, *theirs.flags, f"--workdir={workdir}").check_refused(
        1, "does not end in a linear classifier", "--backbone"
    )
    assert not workdir.exists()


def test_another_model_is_not_imported_into_a_tree(
    theirs, workdir, run_main, tmp_path, contents
):
    before = contents(workdir)
    relabelled = tmp_path / "labels.txt"
    relabelled.write_text("".join(f"{name}\n" for name in reversed(OLD)))
    run_main(
        increment,
        f"--import_model={theirs.model}",
        f"--import_classes={relabelled}",
        f"--workdir={workdir}",
    ).check_refused(1, "did not begin with the model", "another --workdir")
    assert contents(workdir) == before


def test_there_is_nothing_to_evaluate_it_on(imported, run_main):
    outcome = run_main(evaluate, f"--workdir={imported[0]}")
    assert outcome.status == 1
    assert outcome.stderr.startswith("error: the test split of none has no")


def test_no_images_are_of_an_imported_model_alone(run_main, tmp_path):
    workdir = tmp_path / "run"
    run_main(increment, "--dataset=none", f"--workdir={workdir}").check_refused(
        2, "--dataset=none is of an imported model alone"
    )
    assert not workdir.exists()


def nested() -> tuple[keras.Model, int]:
    keras.utils.set_random_seed(2)
    body = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(8, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalMaxPooling2D(),
        ]
    )
    top = keras.Sequential([layers.Dropout(0.5), layers.Dense(4)])
    images = keras.Input((12, 12, 3))
    x = top(body(layers.Rescaling(1 / 127.5, -1.0)(images)))
    return keras.Model(images, layers.Softmax()(x)), 12


def application() -> tuple[keras.Model, int]:
    keras.utils.set_random_seed(3)
    model = keras.applications.MobileNetV3Small(
        (64, 64, 3), weights=None, classes=7, minimalistic=True
    )
    return model, 64


def check_served(workdir: Path, model: keras.Model, size: int) -> None:
    """The exported best scores are the model's."""
    import tensorflow as tf

    served = tf.saved_model.load(str(workdir / "serving" / "1")).signatures
    classes = Store(str(workdir)).latest().tree.classes
    images = noise(size)
    answer = served["predict_images"](tf.constant(images))
    wanted = np.asarray(model(images.astype("float32"), training=False))
    for row, names, scores in zip(
        wanted, answer["classes"].numpy(), answer["scores"].numpy(), strict=True
    ):
        columns = [classes.index(name.decode()) for name in names if name]
        np.testing.assert_allclose(
            scores[: len(columns)], row[columns], 0, 1e-5
        )
        best = np.sort(row)[::-1][: len(columns)]
        np.testing.assert_allclose(scores[: len(columns)], best, 0, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [nested, application])
def test_models_of_others_are_served_as_they_are(make, run_main, tmp_path):
    model, size = make()
    names = [f"class {k}" for k in range(model.output_shape[1])]
    theirs = saved(tmp_path, model, names)
    workdir = tmp_path / "run"

    outcome = run_main(increment, *theirs.flags, f"--workdir={workdir}")

    assert outcome.status == 0, outcome.stderr
    assert "as the tree does on 16 images of noise" in outcome.stdout
    check_same_answers(workdir, model, size)
    check_served(workdir, model, size)
    card = workdir / "serving" / "1" / "assets.extra" / "model_card.md"
    assert "Not known: it was imported" in card.read_text()


@pytest.mark.slow
def test_a_thousand_classes_are_imported(run_main, tmp_path):
    if not LITE0.exists():
        pytest.skip(f"{LITE0} is not there")
    model = keras.saving.load_model(LITE0)
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class_{k}\n" for k in range(1000)))
    theirs = Theirs(LITE0, labels)
    workdir = tmp_path / "run"

    outcome = run_main(increment, *theirs.flags, f"--workdir={workdir}")

    assert outcome.status == 0, outcome.stderr
    size = model.input_shape[1]
    check_same_answers(workdir, model, size)
    check_served(workdir, model, size)
