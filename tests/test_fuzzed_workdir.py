"""Any files in a work directory whose check sums are right: read, or refused.

What is damaged by chance the sums tell; here they are made to fit. Longer:
FUZZ_EXAMPLES=100000 python -m pytest --slow tests/test_fuzzed_workdir.py
"""

import contextlib
import json
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras import doctor
from hierkeras._errors import UserError
from hierkeras.recipe import remembered
from hierkeras.recipe.serving import Serving
from hierkeras.serving.checks import manifest
from hierkeras.training import results
from hierkeras.tree import sums
from hierkeras.tree.routing import Routing
from hierkeras.tree.store import Store
from tests import fuzzing
from tests.test_fuzzed_files import forge

SECONDS = 5
MEMORY = 300 * 2**20


@pytest.fixture(scope="module")
def store(digits_tree, tmp_path_factory):
    """A copy of a work directory, which the tests put right again."""
    root = tmp_path_factory.mktemp("fuzzed") / "workdir"
    skipped = shutil.ignore_patterns("tensorboard")
    shutil.copytree(digits_tree.workdir, root, ignore=skipped)
    return Store(root)


@contextlib.contextmanager
def replaced(path, content):
    """Replaces a file for a while, and its check sum beside it."""
    files = [path]
    for folder in (path.parent, path.parent.parent):
        for name in (sums.SUMS_FILE, f"{manifest.EXTRA}/{sums.SUMS_FILE}"):
            files += [folder / name] if (folder / name).exists() else []
    before = [file.read_bytes() for file in files]
    path.write_bytes(content)
    for file in files[1:]:
        whole = file.parent
        if whole.name == manifest.EXTRA:
            whole = whole.parent
        file.unlink()
        sums.write(whole, file)
    try:
        yield
    finally:
        for file, raw in zip(files, before, strict=True):
            file.write_bytes(raw)


@contextlib.contextmanager
def costing_little():
    fuzzing.forget_peak()
    before, began = fuzzing.peak_memory(), time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    assert fuzzing.peak_memory() - before < MEMORY


def refused_or(read, *arguments):
    """What is read; None if it is refused, in words."""
    try:
        return read(*arguments)
    except UserError as error:
        assert str(error)
        return None


def check_examined(store):
    examined = doctor.examine(store)
    for line in doctor.lines(examined):
        assert line.isprintable()


def contents(path):
    """What a JSON file of a work directory might be instead."""
    raw = path.read_bytes()
    return st.one_of(
        fuzzing.damaged([raw]),
        fuzzing.forged(json.loads(raw)).map(
            lambda value: json.dumps(value).encode()
        ),
        st.sampled_from((b'{"a":' * 99_999, b"[" * 99_999, b'"\\ud800"')),
    )


def job_of(store):
    return store.job_folder(store.read(2).tree.root.job)


def check_job_file(store, data, name):
    job = job_of(store)
    content = data.draw(contents(job / name))
    with costing_little(), replaced(job / name, content):
        read = (
            results.read if name == results.JOB_FILE else results.read_history
        )
        refused_or(read, store, job.name)
        check_examined(store)


@pytest.mark.slow
@fuzzing.times(300)
@given(data=st.data())
@pytest.mark.parametrize("name", [results.JOB_FILE, results.HISTORY_FILE])
def test_any_job_is_read_or_refused(store, name, data):
    check_job_file(store, data, name)


@pytest.mark.slow
@fuzzing.times(300)
@given(data=st.data())
def test_any_manifest_is_read_or_told_to_be_damaged(store, data):
    version = store.serving / "2"
    path = version / manifest.EXTRA / manifest.MANIFEST
    content = data.draw(contents(path))
    with costing_little(), replaced(path, content):
        for said in manifest.differences(version, Routing(), Serving()):
            assert isinstance(said, str)
        check_examined(store)


@pytest.mark.slow
@fuzzing.times(300)
@given(data=st.data())
def test_any_generation_is_read_or_refused(store, data):
    path = Path(store.generations / "000002.json")
    before = path.read_bytes()
    value = data.draw(fuzzing.forged(json.loads(before)))
    try:
        if isinstance(value, dict):
            path.write_text(json.dumps(value))
            forge(path, lambda raw: None)
        with costing_little():
            found = refused_or(store.read, 2)
            if found is not None:
                refused_or(remembered.read, found)
            check_examined(store)
    finally:
        path.write_bytes(before)
