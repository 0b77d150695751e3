"""Jobs that are looked at: what they leave, and that they learn the same."""

import msgspec
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from hierkeras._errors import UserError
from hierkeras.training import results
from hierkeras.training.probes import record
from hierkeras.training.probes.callback import is_due
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import Flat, Preview, Refined, Together

FIRST, ALL = ("0", "1", "2", "3"), ("4", "0", "1", "2", "3", "5")
CAREFUL = {"max_epochs": 2, "augment": "shift_mirror", "precision": "float32"}


def test_looks_are_closer_together_at_the_beginning():
    def due(interval, end=90):
        return [step for step in range(end) if is_due(step, interval)]

    assert due(40) == [0, 4, 8, 16, 32, 40, 80]
    assert due(4, 10) == [0, 4, 8]
    assert due(1, 4) == [0, 1, 2, 3]
    # A look more than once at a time would cost, and tell nothing.
    assert due(32) == [0, 4, 8, 16, 32, 64]


@pytest.fixture(scope="module")
def grown(tmp_path_factory, open_context, make_spec):
    """Two contexts, one of which is looked at, and the same jobs in each."""
    made = {}
    for probes in (0, 5):
        folder = tmp_path_factory.mktemp(f"probes{probes}")
        context = open_context(folder, probes=probes)
        first = run_job(make_spec(context, FIRST, CAREFUL), "first", context)
        starts = {
            "flat": Flat(first.job, "random", 0.8, 0.1, 1.0),
            "preview": Preview(first.job),
        }
        jobs = {"first": first}
        for label, start in starts.items():
            spec = make_spec(context, ALL, CAREFUL, start=start)
            jobs[label] = run_job(spec, f"root {label}", context)
        preview = jobs["preview"].job
        starts = {
            "refined": Refined(preview),
            "together": Together(preview, 1.0, 0.0, (ALL[:2], ALL[2:]), 1),
        }
        for label, start in starts.items():
            spec = make_spec(context, ALL, CAREFUL, start=start)
            jobs[label] = run_job(spec, f"root {label}", context)
        made[probes] = context, jobs
    return made


def timeless(store, job):
    """All that a job left, less times and check sums."""
    history = results.read_history(store, job)
    for epoch in history:
        del epoch["images_per_second"]
    result = msgspec.structs.replace(results.read(store, job), seconds=0.0)
    files = {p.name for p in store.job_folder(job).iterdir()}
    return result, history, files - {record.PROBES_FILE}


@pytest.mark.slow
def test_a_job_learns_the_same_bit_for_bit(grown):
    (off, plain), (on, watched) = grown[0], grown[5]
    for label in plain:
        job = watched[label].job
        assert job == plain[label].job
        assert timeless(on.store, job) == timeless(off.store, job)
        models = (results.load_model(c.store, job) for c in (on, off))
        for one, other in zip(*(m.get_weights() for m in models), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_nobody_looks_unless_asked(grown):
    context, jobs = grown[0]
    for result in jobs.values():
        assert record.read(context.store, result.job) is None


@pytest.mark.slow
def test_a_flat_increment_is_seen(grown):
    context, jobs = grown[5]
    seen = record.read(context.store, jobs["flat"].job)

    assert seen.layers[0] == "stem_conv" and seen.layers[-1] == "logits"
    assert (seen.interval, seen.training_images) == (5, 32)
    assert seen.old_images == seen.new_images == 64
    assert {pair.new for pair in seen.confusions} == {"4", "5"}
    assert {pair.old for pair in seen.confusions} <= set(FIRST)
    keys = context.catalogue.keys.tolist()
    for pair in seen.confusions:
        shown = [keys.index(key) for key in pair.keys]
        names = context.catalogue.labels[shown]
        assert {context.catalogue.class_names[k] for k in names} == {pair.new}
    steps = [look.step for look in seen.looks]
    epochs = results.read_history(context.store, jobs["flat"].job)
    batches = epochs[-1]["images_swept"] // 32
    assert steps == [4 * 0, 4, *range(5, batches, 5), batches]
    for look in seen.looks:
        assert len(look.gradients) == len(seen.layers)
        assert len(look.distances) == len(look.products) == seen.pairs == 2
    begin, end = seen.looks[0], seen.looks[-1]
    # Figure 10: the new classes, which were not known, are learnt.
    assert begin.new_error > 0.8 > 0.3 > end.new_error
    assert end.error < begin.error
    assert end.loss < begin.loss
    # Figure 13: they come apart from those that they are taken for.
    assert np.mean(end.distances) > np.mean(begin.distances)


@pytest.mark.slow
def test_what_is_trained_of_a_network_is_seen(grown):
    context, jobs = grown[5]
    first, refined, together = (
        record.read(context.store, jobs[label].job)
        for label in ("first", "refined", "together")
    )

    assert first.confusions == () and first.old_images == 0
    assert first.looks[0].old_error is None
    # The softmax layer alone is trained, from features.
    assert refined.layers == ("logits",)
    assert refined.looks[-1].loss < refined.looks[0].loss
    # Imprinted columns are not learnt: their classes are new.
    assert {pair.new for pair in refined.confusions} == {"4", "5"}
    assert together.layers == first.layers
    assert together.looks[-1].loss < together.looks[0].loss
    # A preview is not trained.
    assert record.read(context.store, jobs["preview"].job) is None


@pytest.mark.slow
def test_tensorboard_shows_every_look(grown):
    context, jobs = grown[5]
    result = jobs["flat"]
    seen = record.read(context.store, result.job)
    [run] = context.store.tensorboard.glob("root-flat*")
    events = EventAccumulator(str(run), {"tensors": 0}).Reload()

    def values(tag):
        return {
            event.step: float(tf.make_ndarray(event.tensor_proto))
            for event in events.Tensors(tag)
        }

    def wanted(value):
        return {
            look.step: pytest.approx(value(look), rel=1e-6)
            for look in seen.looks
        }

    expected = {
        "look/loss": wanted(lambda look: look.loss),
        "look/error": wanted(lambda look: look.error),
        "look/error_of_old_classes": wanted(lambda look: look.old_error),
        "look/error_of_new_classes": wanted(lambda look: look.new_error),
    }
    for k, layer in enumerate(seen.layers):
        for tag, name in (
            ("gradient_l2", "gradients"),
            ("activation_l1", "activations"),
            ("derivative_l1", "derivatives"),
        ):
            expected[f"{tag}/{layer}"] = wanted(
                lambda look, name=name, k=k: getattr(look, name)[k]
            )
    for k, pair in enumerate(seen.confusions):
        tag = f"distance/{pair.new} from {pair.old}"
        expected[tag] = wanted(lambda look, k=k: look.distances[k])
    for tag, found in expected.items():
        assert values(tag) == found, tag


@pytest.mark.slow
def test_what_was_seen_is_believed_only_if_it_is_whole(grown):
    context, jobs = grown[5]
    job = jobs["refined"].job
    path = context.store.job_folder(job) / record.PROBES_FILE
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"logits", b"logitz"))
    try:
        with pytest.raises(UserError, match=f"job {job}"):
            record.read(context.store, job)
    finally:
        path.write_bytes(raw)
    assert len(raw) < 20_000
