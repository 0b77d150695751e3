"""Features on disk: by content, whole or not at all, damage told in a line."""

import os

import numpy as np
import pytest
from etils import epath

from hierkeras._errors import UserError
from hierkeras.features import shards
from hierkeras.features.shards import KEY_TYPE


def keys_of(*numbers: int):
    # Zeros at the end, which NumPy drops where it compares, are a part too.
    return np.array([bytes([n] + [7] * 14 + [0]) for n in numbers], KEY_TYPE)


def vectors_of(*numbers: int):
    return np.array([[n, n + 0.5, -n] for n in numbers], np.float32)


@pytest.fixture
def folder(tmp_path):
    return epath.Path(tmp_path) / "whole"


@pytest.fixture
def filled(folder):
    """Two shards."""
    found = shards.find(folder).plus(keys_of(5, 3), vectors_of(5, 3))
    return found.plus(keys_of(9, 1, 4), vectors_of(9, 1, 4))


def test_nothing_is_there_at_first(folder):
    found = shards.find(folder)
    assert found.has(keys_of(1, 2)).tolist() == [False, False]
    assert found.has(keys_of()).tolist() == []
    assert found.read(keys_of()).shape == (0, 0)
    assert not folder.exists()


def test_what_was_written_is_read_in_any_order(filled, folder):
    wanted = (4, 5, 4, 1, 9, 3)
    for found in (filled, shards.find(folder)):
        assert found.has(keys_of(4, 2, 5)).tolist() == [True, False, True]
        read = found.read(keys_of(*wanted))
        assert read.dtype == np.float16
        np.testing.assert_array_equal(read, vectors_of(*wanted))


def test_what_is_not_there_cannot_be_read(filled):
    with pytest.raises(KeyError, match="no features of 2 images"):
        filled.read(keys_of(5, 6, 7))


def test_many_keys_are_told_apart(folder):
    random = np.random.default_rng(0)
    keys = np.unique(random.integers(0, 3, (500, 16)).astype(np.uint8), axis=0)
    keys = np.ascontiguousarray(keys).view(KEY_TYPE)[:, 0]
    vectors = np.arange(len(keys), dtype=np.float32)[:, None]
    half = len(keys) // 2
    shards.find(folder).plus(keys[:half], vectors[:half])
    shards.find(folder).plus(keys[half:], vectors[half:])
    order = random.permutation(len(keys))
    found = shards.find(folder).read(keys[order])
    np.testing.assert_array_equal(found[:, 0], order)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65_520, -1e6])
def test_what_float16_cannot_hold_is_refused(folder, bad):
    vectors = vectors_of(1, 2)
    vectors[1, 1] = bad
    with pytest.raises(UserError, match="input_range is wrong") as told:
        shards.find(folder).plus(keys_of(1, 2), vectors)
    assert "\n" not in str(told.value)
    assert not folder.exists()
    shards.find(folder).plus(keys_of(1), np.array([[65_504.0]]))


@pytest.mark.parametrize("name", ["keys.npy", "features.npy", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_one_line_that_says_what_to_do(filled, folder, name, damage):
    shard = min(folder.iterdir())
    path = shard / name
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])

    with pytest.raises(UserError) as told:
        shards.find(folder).read(keys_of(1, 3, 4, 5, 9))

    assert str(told.value).count("\n") == 0
    assert f"features {shard} are damaged" in str(told.value)
    assert "remove that folder" in str(told.value)

    shard.rmtree()
    found = shards.find(folder)
    assert 0 < found.has(keys_of(1, 3, 4, 5, 9)).sum() < 5


def test_keys_of_another_kind_are_damage(folder):
    from hierkeras.tree import sums

    shard = folder / "0123"
    shard.mkdir(parents=True)
    for name in ("keys.npy", "features.npy"):
        with (shard / name).open("wb") as file:
            np.save(file, np.zeros((2, 3)))
    sums.write(shard, shard / "SHA256SUMS")
    with pytest.raises(UserError, match="holds no keys"):
        shards.find(folder)


def test_a_shard_appears_whole_or_not_at_all(folder, monkeypatch):
    before = shards.find(folder).plus(keys_of(1), vectors_of(1))

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as failing:
        failing.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space"):
            before.plus(keys_of(2), vectors_of(2))
    assert len(list(folder.iterdir())) == 1
    # What a killed writer left is no shard.
    (folder / ".tmp-0123-ab").mkdir()
    assert shards.find(folder).has(keys_of(1, 2)).tolist() == [True, False]


def test_the_same_images_written_twice_are_one_shard(folder):
    for _ in range(2):  # as by two processes that knew nothing of each other
        shards.Shards(folder).plus(keys_of(1, 2), vectors_of(1, 2))
    assert len(os.listdir(folder)) == 1
    # And images that are in two shards are read all the same.
    found = shards.Shards(folder).plus(keys_of(2, 3), vectors_of(2, 3))
    found = shards.find(folder)
    np.testing.assert_array_equal(
        found.read(keys_of(1, 2, 3)), vectors_of(1, 2, 3)
    )
