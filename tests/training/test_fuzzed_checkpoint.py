"""Any checkpoint whose check sum is right: gone on from, or started over."""

import io
import json
import time
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.training import checkpoint, checks
from hierkeras.training.monitoring import Monitor
from hierkeras.training.run_job import run_job
from tests import fuzzing

SECONDS = 5
MEMORY = 300 * 2**20
EPOCHS = 2


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory, open_context, make_spec):
    """A context, a spec, and the checkpoint of its training's first epoch."""
    context = open_context(tmp_path_factory.mktemp("fuzzed"))
    spec = make_spec(context, recipe={"max_epochs": EPOCHS})
    begin = Monitor.on_epoch_begin

    def beginning(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Monitor, "on_epoch_begin", beginning)
        with pytest.raises(KeyboardInterrupt):
            run_job(spec, "root first", context)
    path = context.store.checkpoint(spec.job)
    assert checkpoint.read(path, spec.job) is not None
    return context, spec, path.read_bytes()[4:]


def arrays_of(raw):
    with np.load(io.BytesIO(raw)) as arrays:
        return dict(arrays)


def zipped(arrays, state):
    file = io.BytesIO()
    raw = json.dumps(state).encode(errors="surrogatepass")
    np.savez(file, **(arrays | {"state": np.frombuffer(raw, np.uint8)}))
    return file.getvalue()


SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
OTHERS = st.tuples(SHAPES, st.sampled_from(("f4", "f8", "i8", "U3", "?")))


def entry_of(raw, name):
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return file.read(name)


@st.composite
def with_entry(draw, raw):
    """A checkpoint of which an array's file is damaged, well zipped."""
    names = zipfile.ZipFile(io.BytesIO(raw)).namelist()
    changed = draw(st.sampled_from(names))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            content = entry_of(raw, name)
            if name == changed:
                content = draw(fuzzing.damaged([content[:2000]]))
            archive.writestr(name, content)
    return file.getvalue()


@st.composite
def with_others(draw, raw):
    """A checkpoint of which the state, or some tensors, are others."""
    arrays = arrays_of(raw)
    state = json.loads(arrays["state"].tobytes())
    if draw(st.booleans()):
        state = draw(fuzzing.forged(state))
    for name in draw(st.lists(st.sampled_from(sorted(arrays)), max_size=2)):
        shape, dtype = draw(OTHERS)
        arrays[name] = np.zeros(shape, dtype)
    return zipped(arrays, state)


def check_read(context, spec, raw):
    """Reads it as a training and as the doctor do; whether it is taken."""
    path = context.store.checkpoint(spec.job)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.crc32(raw).to_bytes(4, "big") + raw)
    fuzzing.forget_peak()
    before, began = fuzzing.peak_memory(), time.process_time()
    saved = checkpoint.read(path, spec.job)
    checks.check_checkpoints(context.store)
    assert time.process_time() - began < SECONDS
    assert fuzzing.peak_memory() - before < MEMORY
    return saved is not None


@pytest.mark.slow
@fuzzing.times(300)
@given(data=st.data())
def test_a_damaged_checkpoint_is_read_or_refused(cut_off, data):
    context, spec, raw = cut_off
    damaged = fuzzing.damaged([raw]) | with_entry(raw) | with_others(raw)
    check_read(context, spec, data.draw(damaged))


@pytest.mark.slow
@fuzzing.times(15)
@given(data=st.data())
def test_what_is_read_is_trained_from(cut_off, data):
    context, spec, raw = cut_off
    if check_read(context, spec, data.draw(with_others(raw))):
        result = run_job(spec, "root first", context)
        assert result.images_swept
        context.store.job_folder(spec.job).rmtree()
