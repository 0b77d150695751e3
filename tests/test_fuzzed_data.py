"""Damaged images, lists and folders: read, or refused; never anything else.

Longer: `FUZZ_EXAMPLES=100000 pytest --slow tests/test_fuzzed_data.py
--hypothesis-seed=random`.
"""

import io
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from hierkeras._errors import UserError
from hierkeras.data.decoding import formats, graph, library, plain, problems
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from tests import fuzzing
from tests.data.decoding import zoo

SECONDS = 5
PIXELS = Pixels(max_pixels=10**6)
many = fuzzing.times(100)


def check_fast(began, content):
    assert time.monotonic() - began < SECONDS, content


@pytest.mark.slow
@many
@given(content=fuzzing.damaged([animal.encoded for animal in zoo.all_files()]))
def test_a_damaged_image_is_shown_or_refused(content):
    began = time.monotonic()
    encoded = tf.constant(content)
    formats.kind_of(content[: formats.HEAD_BYTES])
    try:
        decoded = graph.decode(encoded, PIXELS)
        assert decoded.problem >= problems.FINE
        assert int(decoded.problem) < len(problems.reasons(PIXELS))
        assert decoded.image.dtype == tf.uint8
        assert tf.size(decoded.image) <= 3 * PIXELS.max_pixels
    except tf.errors.InvalidArgumentError:
        decoded = None
    try:
        square = plain.square(encoded, 8, PIXELS)
    except tf.errors.InvalidArgumentError:
        square = None
    if square is not None and square.problem == problems.FINE:
        assert decoded is not None and decoded.problem == problems.FINE
    try:
        assert library.decode(content, PIXELS).shape[-1] == 3
    except library.CannotDecode as error:
        assert "\n" not in str(error)
    check_fast(began, content)


LISTS = [
    b"path,label\na/1.png,ant\nb/1.png,bee\n",
    b"a/1.png\tant\ttrain\nb/1.png\tbee\ttest\n",
    b"a/1.png, 0, 1\nb/1.png, 1, 1\n",
    b'"path";"label";"group"\r\n"a/1.png";"a ""x""";"1"\r\n',
    "\ufefffile_name,label\na/1.png,\u00e9\n".encode(),
    "path,label\na/1.png,ant\n".encode("utf-16"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzzed")
    for number in range(8):
        for name in "ab":
            image = zoo.picture(8 + number, 8 + ord(name) % 5)
            file = root / name / f"{number}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(zoo.encoded(image, "PNG"))
    return root


def check_opens(place, **config):
    """Whether a data set opens; if not, it is refused in words."""
    began = time.monotonic()
    try:
        catalogue = open_source(DataConfig(place, **config)).catalogue
    except UserError as error:
        assert str(error)
        return False
    finally:
        check_fast(began, place)
    assert len(catalogue.keys) == len(catalogue.labels)
    assert set(catalogue.splits.tolist()) <= {0, 1, 2}
    return True


@pytest.mark.slow
@many
@given(content=st.one_of(fuzzing.damaged(LISTS), st.binary(max_size=200)))
def test_a_damaged_list_is_read_or_refused(photos, content):
    file = photos / "list.csv"
    file.write_bytes(content)
    check_opens(f"csv:{file}")


NAMES = st.one_of(
    st.sampled_from(
        (
            "train",
            "Val",
            "TEST",
            "images",
            "a",
            "é",
            ".git",
            "x.png",
            "Thumbs.db",
        )
    ),
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
        min_size=1,
        max_size=20,
    ).filter(lambda name: name not in (".", "..")),
)


@pytest.mark.slow
@many
@given(
    paths=st.lists(
        st.tuples(st.lists(NAMES, min_size=1, max_size=4), st.integers(0, 7)),
        min_size=1,
        max_size=20,
    ),
    class_depth=st.sampled_from((0, 0, 1, 2)),
)
def test_any_folder_is_read_or_refused(photos, paths, class_depth):
    root = photos / "tree"
    for parts, number in paths:
        file = root.joinpath(*parts)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if number == 7:
                file.write_bytes(b"no image")
            else:
                shutil.copy(photos / "a" / f"{number}.png", file)
        except OSError:  # a name that is too long, or a file and a folder
            continue
    try:
        if root.exists():
            check_opens(f"folder:{root}", class_depth=class_depth)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def npz(save, **options):
    file = io.BytesIO()
    images = np.arange(4 * 5 * 6 * 3, dtype=np.uint8).reshape(4, 5, 6, 3)
    save(file, images=images, labels=np.arange(4), **options)
    return file.getvalue()


ARRAYS = [npz(np.savez), npz(np.savez_compressed)]


@pytest.mark.slow
@many
@given(content=fuzzing.damaged(ARRAYS))
def test_damaged_arrays_are_read_or_refused(photos, content):
    file = photos / "data.npz"
    file.write_bytes(content)
    check_opens(f"npz:{file}")
