"""A training that was cut off goes on as if nothing had happened."""

import io
import os
import signal
import zipfile
import zlib

import numpy as np
import pytest

from hierkeras.training import checkpoint, checks, fit, results
from hierkeras.training.checkpoint import Checkpoint
from hierkeras.training.monitoring import Monitor
from hierkeras.training.run_job import run_job
from hierkeras.tree.store import Store

CLASSES = ("0", "1", "2", "3")
COSINE = {
    "max_epochs": 5,
    "augment": "shift_mirror",
    # Epochs end in the middle of a pass over the images.
    "batch_size": 48,
    "validation_samples": 20,
}
ADAPTIVE = {
    **COSINE,
    "schedule": "adaptive",
    "samples_per_check": 200,
    "patience": 1,
    "min_error_drop": 0.5,
}


@pytest.fixture
def cut_off(monkeypatch):
    """A function that lets a training begin so many epochs, and no more."""
    begin = Monitor.on_epoch_begin

    def cut_off(epochs):
        def beginning(self, epoch, logs=None):
            if epoch == epochs:
                raise KeyboardInterrupt
            begin(self, epoch, logs)

        monkeypatch.setattr(Monitor, "on_epoch_begin", beginning)

    return cut_off


def weights(context, result):
    model = results.load_model(context.store, result.job)
    return [np.asarray(weight) for weight in model.weights]


def history(context, result):
    return [
        {k: v for k, v in entry.items() if k != "images_per_second"}
        for entry in results.read_history(context.store, result.job)
    ]


@pytest.fixture(scope="module")
def make(make_spec):
    """The spec of a job with dropout, whose random state must go on too."""
    from msgspec.structs import replace

    def make(context, recipe):
        spec = make_spec(context, recipe=recipe)
        return replace(spec, network=replace(spec.network, dropout=0.3))

    return make


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(ADAPTIVE, id="adaptive"),
        pytest.param(COSINE, id="cosine", marks=pytest.mark.slow),
    ],
)
def test_it_ends_with_the_same_bits(
    tmp_path, open_context, make, cut_off, recipe, capsys
):
    whole = open_context(tmp_path / "whole", deterministic=True)
    expected = run_job(make(whole, recipe), "root first", whole)
    assert expected.epochs >= 3

    context = open_context(tmp_path / "cut", deterministic=True)
    spec = make(context, recipe)
    for epochs in (1, 2):
        cut_off(epochs)
        with pytest.raises(KeyboardInterrupt):
            run_job(spec, "root first", context)
    assert context.store.checkpoint(spec.job).exists()
    cut_off(None)
    result = run_job(spec, "root first", context)

    assert "[root first] goes on after epoch 2" in capsys.readouterr().err
    assert result.epochs == expected.epochs
    assert result.images_swept == expected.images_swept
    assert result.measured == expected.measured
    assert history(context, result) == history(whole, expected)
    for one, other in zip(
        weights(context, result), weights(whole, expected), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert not context.store.checkpoint(spec.job).exists()


@pytest.fixture
def interrupt(monkeypatch):
    """A function that has a signal sent before a batch is trained on."""

    def interrupt(batches):
        def beginning(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == batches:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(Monitor, "on_train_batch_begin", beginning)

    # Processes that run tests for another one may ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield interrupt
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("recipe", "batches"),
    [
        pytest.param(COSINE, 3, id="first epoch"),
        pytest.param(COSINE, 17, id="later epoch", marks=pytest.mark.slow),
        pytest.param(ADAPTIVE, 7, id="adaptive", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_epoch_goes_on_where_it_was(
    tmp_path,
    open_context,
    make,
    interrupt,
    monkeypatch,
    capsys,
    recipe,
    batches,
):
    whole = open_context(tmp_path / "whole", deterministic=True)
    expected = run_job(make(whole, recipe), "root first", whole)

    context = open_context(tmp_path / "cut", deterministic=True)
    spec = make(context, recipe)
    interrupt(batches)
    with pytest.raises(KeyboardInterrupt):
        run_job(spec, "root first", context)
    assert "[root first] stopped after" in capsys.readouterr().err
    path = context.store.checkpoint(spec.job)
    state = checkpoint.read(path, spec.job).state
    steps = fit.steps_per_epoch(spec.training, len(whole_images(whole)))
    done = len(state.history) * steps + state.steps
    assert state.steps and done == batches
    assert checkpoint.read(path, "of another job") is None
    monkeypatch.undo()
    result = run_job(spec, "root first", context)

    assert f"{state.steps} batches" in capsys.readouterr().err
    assert result.images_swept == expected.images_swept
    assert history(context, result) == history(whole, expected)
    for one, other in zip(
        weights(context, result), weights(whole, expected), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def whole_images(context):
    return context.catalogue.indices("train", CLASSES)


def test_an_interruption_during_validation_waits_for_the_checkpoint(
    tmp_path, open_context, make, monkeypatch
):
    context = open_context(tmp_path)
    spec = make(context, COSINE)
    begin = Checkpoint.on_test_begin

    def beginning(self, logs=None):
        begin(self, logs)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "on_test_begin", beginning)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_job(spec, "root first", context)

    path = context.store.checkpoint(spec.job)
    state = checkpoint.read(path, spec.job).state
    assert (len(state.history), state.steps) == (1, 0)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_training_that_had_ended_is_not_continued(
    tmp_path, open_context, make, monkeypatch
):
    context = open_context(tmp_path, deterministic=True)
    spec = make(context, ADAPTIVE | {"max_epochs": 50})

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        run_job(spec, "root first", context)
    monkeypatch.undo()
    begun = []
    monkeypatch.setattr(
        Monitor, "on_epoch_begin", lambda self, epoch, logs: begun.append(epoch)
    )
    result = run_job(spec, "root first", context)

    assert begun == []
    assert 0 < result.epochs < 50


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_is_not_used(
    tmp_path, open_context, make, cut_off, damage, capsys
):
    context = open_context(tmp_path, deterministic=True)
    spec = make(context, COSINE | {"max_epochs": 2})
    cut_off(1)
    with pytest.raises(KeyboardInterrupt):
        run_job(spec, "root first", context)
    path = context.store.checkpoint(spec.job)
    raw = bytearray(path.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
    path.write_bytes({"cut": raw[:-100], "flip": raw, "empty": b""}[damage])
    cut_off(None)

    result = run_job(spec, "root first", context)

    error = capsys.readouterr().err
    assert f"{path} is damaged" in error
    assert "goes on" not in error
    assert result.epochs == 2


@pytest.mark.slow
def test_a_checkpoint_of_another_job_is_not_used(
    tmp_path, open_context, make, cut_off, capsys
):
    whole = open_context(tmp_path / "whole", deterministic=True)
    spec = make(whole, COSINE | {"max_epochs": 2})
    expected = run_job(spec, "root first", whole)
    context = open_context(tmp_path / "cut", deterministic=True)
    other = make(context, COSINE | {"max_epochs": 2, "momentum": 0.5})
    cut_off(1)
    with pytest.raises(KeyboardInterrupt):
        run_job(other, "root first", context)
    path = context.store.checkpoint(spec.job)
    context.store.checkpoint(other.job).rename(path)
    cut_off(None)

    result = run_job(spec, "root first", context)

    error = capsys.readouterr().err
    assert f"{path} is that of job {other.job}; the training starts" in error
    assert "goes on" not in error
    assert result.measured == expected.measured
    assert history(context, result) == history(whole, expected)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state", b"{'descr'# '|u1', 'shape': (2,), "),  # no Python
        ("state", b"{'descr': '|O', 'fortran_order': False, 'shape': ()}"),
        ("other", b"{'descr': '|u1', 'fortran_order': False, 'shape': ()}"),
    ],
)
def test_a_checkpoint_of_no_arrays_is_not_used(tmp_path, capsys, name, content):
    store = Store(tmp_path)
    store.checkpoints.mkdir()
    path = store.checkpoint("0123")
    header = content.ljust(118) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        length = len(header).to_bytes(2, "little")
        npy = b"\x93NUMPY\1\0" + length + header + b"{}"
        archive.writestr(f"{name}.npy", npy)
    raw = file.getvalue()
    path.write_bytes(zlib.crc32(raw).to_bytes(4, "big") + raw)

    assert checkpoint.read(path, "0123") is None
    assert f"{path} is damaged" in capsys.readouterr().err
    (finding,) = checks.check_checkpoints(store)
    assert finding.level == "damage"


def test_publishing_leaves_no_checkpoints(tmp_path):
    from hierkeras.tree.generation import Generation, Step
    from hierkeras.tree.nodes import Leaf, Tree

    store = Store(tmp_path)
    store.checkpoints.mkdir()
    store.checkpoint("0123").write_bytes(b"of a job with other flags")
    step = Step(("a",), (), (), None, {}, None, None, 0.5, 1.0)
    store.publish(Generation(1, {}, Tree(Leaf("root", ("a",), "4567")), step))
    assert not store.checkpoints.exists()
