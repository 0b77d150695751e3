import time

import msgspec
import pytest

from hierkeras._errors import UserError
from hierkeras.tree.store import Store
from tests.tree.stores import generation, holder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "workdir")


def refusal(action):
    """The one line that a user reads."""
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_new_work_directory_is_empty_and_reading_makes_nothing(store):
    assert store.latest() is None
    assert store.next_number() == 1
    assert not store.has_job("abc")
    assert not store.root.exists()


def test_what_was_published_is_read_back(store):
    first, second = generation(1), generation(2, parent=1)
    for published in (first, second):
        store.publish(published)

    assert store.latest() == second
    assert store.history(second) == (first, second)
    assert (store.root / "LATEST").read_text() == "000002\n"


def test_rolling_back_is_pointing_at_an_older_generation(store):
    first, second = generation(1), generation(2, parent=1)
    for published in (first, second):
        store.publish(published)

    (store.root / "LATEST").write_text("000001")

    assert store.latest() == first
    # What grows from it rewrites nothing.
    assert store.next_number() == 3
    third = generation(3, parent=1)
    store.publish(third)
    assert store.history(third) == (first, third)
    assert store.read(2) == second


def test_what_a_killed_writer_left_is_not_made_twice(store):
    first, left = generation(1), generation(2, parent=1)
    for published in (first, left):
        store.publish(published)
    (store.root / "LATEST").write_text("000001")  # as it was before the kill

    later = msgspec.structs.replace(left.step, seconds=9.0)
    again = msgspec.structs.replace(left, step=later)
    assert store.numbered(again) == left
    worse = msgspec.structs.replace(left.step, error_after=0.6)
    other = msgspec.structs.replace(left, step=worse)
    assert store.numbered(other) == msgspec.structs.replace(other, number=3)
    left_by_none = msgspec.structs.replace(left, parent=None)
    assert store.numbered(left_by_none).number == 3


def test_a_generation_comes_from_an_earlier_one():
    with pytest.raises(ValueError, match="cannot come from generation 2"):
        generation(2, parent=2)


@pytest.mark.parametrize(
    "content", [b"", b"two", b"-1", b" 000001", b"\xff\xfe2"]
)
def test_a_damaged_pointer_is_named(store, content):
    store.publish(generation(1))
    (store.root / "LATEST").write_bytes(content)

    message = refusal(store.latest)

    assert "LATEST is damaged" in message
    assert f"hierkeras.doctor --workdir={store.root}" in message


def test_after_the_last_number_no_step_is_made(store):
    store.publish(msgspec.structs.replace(generation(1), number=999_999))

    assert store.latest().number == 999_999
    assert "another --workdir" in refusal(store.next_number)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "truncated"),
        (b'{"number": 1', "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"{}", "missing required field"),
    ],
)
def test_a_damaged_generation_is_named(store, content, complaint):
    store.publish(generation(1))
    path = store.generations / "000001.json"
    path.write_bytes(content)

    message = refusal(store.latest)

    assert f"{path} is damaged" in message
    assert complaint in message


def test_a_missing_generation_is_named(store):
    last = generation(2, parent=1)
    store.publish(generation(1))
    store.publish(last)
    (store.generations / "000001.json").unlink()

    assert store.latest() == last
    assert "000001.json is missing" in refusal(lambda: store.history(last))


def test_a_generation_under_another_ones_name_is_refused(store):
    store.publish(generation(1))
    path = store.generations / "000001.json"
    path.rename(store.generations / "000002.json")
    (store.root / "LATEST").write_text("2")

    assert "says that it is generation 1" in refusal(store.latest)


def test_a_job_is_there_when_it_is_finished(store):
    with store.new_job("abc") as folder:
        (folder / "job.json").write_text("{}")
        assert not store.has_job("abc")

    assert store.has_job("abc")
    assert (store.job_folder("abc") / "job.json").read_text() == "{}"


def test_a_second_process_fails_at_once_and_names_the_holder(store):
    with holder(store) as process:
        start = time.monotonic()
        message = refusal(store.lock().__enter__)

        assert time.monotonic() - start < 1
        assert f"process {process.pid} on " in message
        assert str(store.root) in message
        process.stdin.close()
        assert process.wait() == 0

    with store.lock():
        assert store.has_job("abc")


def test_a_killed_process_leaves_the_lock_free_and_its_debris_is_removed(store):
    with holder(store) as process:
        process.kill()
        process.wait()
    assert [p.name[:5] for p in store.models.iterdir()] == [".tmp-"]

    with store.lock():
        assert list(store.models.iterdir()) == []

    assert not (store.root / "LOCK.holder").exists()


def test_the_checkpoint_of_a_finished_job_goes_and_others_stay(store):
    done, begun = "0" * 16, "1" * 16
    store.checkpoints.mkdir(parents=True)
    for job in (done, begun):
        store.checkpoint(job).write_bytes(b"epoch 1")
    with store.new_job(done) as folder:
        (folder / "job.json").write_text("{}")

    with store.lock():
        left = [path.stem for path in store.checkpoints.iterdir()]
    assert left == [begun]


def test_a_failure_under_the_lock_frees_it(store):
    with pytest.raises(KeyError), store.lock():
        raise KeyError

    with store.lock():
        pass


def test_a_new_work_directory_that_nothing_was_written_into_goes(store):
    with store.lock():
        pass
    assert not store.root.exists()

    with store.lock():
        store.publish(generation(1))
    assert store.latest() == generation(1)


def test_a_work_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")

    message = refusal(Store(tmp_path / "file").lock().__enter__)

    assert "file cannot be written to" in message
