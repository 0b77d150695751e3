"""Versions are found, loaded, swapped, drained and let go."""

import gc
import shutil
import threading
import weakref

import grpc
import psutil
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_log_pb2,
)
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from hierkeras.serving.checks import warmup
from hierkeras.serving.graph import signatures
from hierkeras.serving.local.limits import Budget
from hierkeras.serving.local.versions import Versions
from tests.serving import served_tree
from tests.serving.served_tree import (
    encoded,
    publish,
    until,
    versions_in,
    write,
)

base_path = served_tree.base_path


class Listener:
    """Versions, and what they said and how healthy they called themselves."""

    def __init__(self, base_path):
        self.said = []
        self.health = []
        self.versions = Versions(
            str(base_path), self.said.append, self.health.append
        )

    def poll(self):
        self.versions.poll()
        return self.latest()

    def latest(self):
        try:
            with self.versions.use() as servable:
                return servable.version
        except LookupError:
            return None

    def states(self):
        names = ModelVersionStatus.State.Name
        return {
            number: names(status.state)
            for number, status in self.versions.statuses().items()
        }


@pytest.fixture
def listener(base_path):
    listener = Listener(base_path)
    yield listener
    listener.versions.close()


def ask(servable, images=None):
    request = predict_pb2.PredictRequest()
    request.inputs["image_bytes"].CopyFrom(
        tf.make_tensor_proto(images or encoded(2))
    )
    outputs = servable.predict(request, Budget()).outputs
    return tf.make_ndarray(outputs["classes"])


def add_warm_up(folder, *logs):
    extra = folder / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / warmup.FILE)) as writer:
        for log in logs:
            writer.write(
                log if isinstance(log, bytes) else log.SerializeToString()
            )


def predict_log(images):
    request = predict_pb2.PredictRequest()
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def classify_log(images):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = signatures.CLASSIFY
    for image in images:
        example = request.input.example_list.examples.add()
        example.ParseFromString(signatures.to_example(image))
    return prediction_log_pb2.PredictionLog(
        classify_log=prediction_log_pb2.ClassifyLog(request=request)
    )


def test_the_highest_integer_is_served(base_path, listener):
    publish(base_path, 2)
    publish(base_path, 10)
    for name in (".tmp-11", "12a", "latest", "-13", "+14", "9" * 20, "٣"):
        write(base_path / name, 1)
    (base_path / "15").write_text("no folder")
    assert listener.poll() == 10
    assert listener.states() == {10: "AVAILABLE"}
    assert listener.said == ["version 10 is served"]
    assert listener.health == [True]
    with listener.versions.use() as servable:
        assert versions_in(ask(servable)) == {10}


def test_a_version_can_be_asked_for_by_its_number(base_path, listener):
    publish(base_path, 2)
    listener.poll()
    with listener.versions.use(2) as servable:
        assert servable.version == 2
    for other in (1, 3, 0):
        with pytest.raises(LookupError), listener.versions.use(other):
            pass


def test_nothing_there_is_said_once_and_waited_for(base_path, listener):
    base_path.rmdir()
    for _ in range(3):
        assert listener.poll() is None
    (missing,) = listener.said
    assert str(base_path) in missing
    assert "waiting" in missing
    base_path.mkdir()
    for _ in range(3):
        assert listener.poll() is None
    assert len(listener.said) == 2
    assert "no folder named by a number" in listener.said[1]
    assert listener.health == []
    publish(base_path, 1)
    assert listener.poll() == 1


def test_requests_that_run_finish_on_the_version_they_began_on(
    base_path, listener
):
    publish(base_path, 1)
    listener.poll()
    with listener.versions.use() as old, listener.versions.use():
        publish(base_path, 2)
        assert listener.poll() == 2
        assert listener.states() == {2: "AVAILABLE", 1: "UNLOADING"}
        assert versions_in(ask(old)) == {1}
        with pytest.raises(LookupError), listener.versions.use(1):
            pass
    assert listener.states() == {2: "AVAILABLE", 1: "END"}
    with pytest.raises(RuntimeError, match="closed"):
        ask(old)


@pytest.mark.slow
def test_a_version_can_come_back_before_it_has_gone(base_path, listener):
    publish(base_path, 1)
    listener.poll()
    with listener.versions.use() as old:
        publish(base_path, 2)
        assert listener.poll() == 2
        shutil.rmtree(base_path / "2")
        assert listener.poll() == 1
        with listener.versions.use() as new:
            assert new is not old
    assert listener.states() == {2: "END", 1: "AVAILABLE"}
    with listener.versions.use() as servable:
        assert versions_in(ask(servable)) == {1}


def test_a_version_that_does_not_load_changes_nothing(base_path, listener):
    publish(base_path, 1)
    listener.poll()
    broken = write(base_path / "2", 2)
    graph = broken / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])
    for _ in range(3):
        assert listener.poll() == 1
    (line,) = listener.said[1:]
    assert "version 2 does not load" in line
    assert "version 1 stays" in line
    assert "\n" not in line
    assert listener.states() == {2: "END", 1: "AVAILABLE"}
    error = listener.versions.statuses()[2].error
    assert error.code == grpc.StatusCode.DATA_LOSS
    assert str(graph) in error.message
    assert listener.health == [True]
    # Put right, it is tried again; the next one is tried in any case.
    shutil.rmtree(broken)
    assert listener.poll() == 1
    publish(base_path, 2)
    assert listener.poll() == 2


def test_a_version_that_is_copied_file_by_file_is_served_when_it_is_whole(
    base_path, listener
):
    publish(base_path, 1)
    assert listener.poll() == 1
    whole = write(base_path / ".whole", 2)
    arriving = base_path / "2"
    arriving.mkdir()
    for source in sorted(whole.rglob("*")):  # the graph before its weights
        target = arriving / source.relative_to(whole)
        if source.is_dir():
            target.mkdir()
            continue
        content = source.read_bytes()
        for part in content[: len(content) // 2], content:
            target.write_bytes(part)
            listener.poll()
    until(lambda: listener.poll() == 2, seconds=5)
    # No attempt while something was still arriving, but the first.
    attempts = [line for line in listener.said if "does not load" in line]
    assert len(attempts) == 1, listener.said
    assert listener.states() == {2: "AVAILABLE", 1: "END"}


def test_a_version_that_is_damaged_is_tried_once(base_path, listener):
    (base_path / "1").mkdir()
    for _ in range(4):
        assert listener.poll() is None
    (base_path / "1" / "more").write_text("damage")
    for _ in range(4):
        assert listener.poll() is None
    assert len(listener.said) == 2


@pytest.mark.parametrize("missing", ["saved_model.pb", "variables"])
def test_a_version_that_is_not_whole_is_not_served(
    base_path, listener, missing
):
    folder = write(base_path / "1", 1)
    if missing == "variables":
        shutil.rmtree(folder / missing)
    else:
        (folder / missing).unlink()
    assert listener.poll() is None
    assert listener.states() == {1: "END"}
    assert "nothing is served" in listener.said[0]


def test_a_version_is_warmed_up_before_it_is_served(base_path, listener):
    publish(base_path, 1)
    listener.poll()
    images = encoded(2)
    folder = write(base_path / ".2", 2)
    add_warm_up(folder, predict_log(images), classify_log(images))
    folder.rename(base_path / "2")
    assert listener.poll() == 2
    # Which is seen by a request that fails.
    folder = write(base_path / ".3", 3)
    add_warm_up(folder, predict_log(images), predict_log([b"no image"]))
    folder.rename(base_path / "3")
    assert listener.poll() == 2
    assert "row 0 of the request is no JPEG" in listener.said[-1]


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        (b"\xff\xff", "Failed to parse warmup record"),
        (
            prediction_log_pb2.PredictionLog(
                session_run_log=prediction_log_pb2.SessionRunLog()
            ),
            "Unsupported log_type for warmup",
        ),
    ],
)
def test_a_warm_up_that_is_none_is_refused(base_path, listener, log, complaint):
    add_warm_up(write(base_path / "1", 1), log)
    assert listener.poll() is None
    assert complaint in listener.said[0]


def test_a_damaged_warm_up_file_is_refused(base_path, listener):
    folder = write(base_path / "1", 1)
    add_warm_up(folder, predict_log(encoded(2)))
    file = folder / "assets.extra" / warmup.FILE
    file.write_bytes(file.read_bytes()[:-9])
    assert listener.poll() is None
    assert "does not load" in listener.said[0]


def test_a_version_that_is_taken_away_makes_room_for_the_one_before(
    base_path, listener
):
    publish(base_path, 1)
    publish(base_path, 2)
    assert listener.poll() == 2
    shutil.rmtree(base_path / "2")
    assert listener.poll() == 1
    assert listener.states() == {2: "END", 1: "AVAILABLE"}
    with listener.versions.use() as servable:
        assert versions_in(ask(servable)) == {1}
    # A base path that cannot be read may be back in a moment.
    base_path.rename(base_path.parent / "elsewhere")
    assert listener.poll() == 1
    # One that is empty is meant so.
    base_path.mkdir()
    assert listener.poll() is None
    assert listener.states() == {2: "END", 1: "END"}
    assert listener.health[-1] is False


@pytest.mark.slow
def test_many_swaps_leave_nothing_behind(base_path, listener):
    process = psutil.Process()
    stop = threading.Event()
    failed = []

    def use():
        while not stop.is_set():
            try:
                with listener.versions.use() as servable:
                    found = versions_in(ask(servable))
                    assert found == {servable.version}
            except Exception as error:
                failed.append(error)
                raise

    seen = []
    sizes = []
    publish(base_path, 1)
    assert listener.poll() == 1
    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 12):
            shutil.rmtree(base_path / str(number - 1))
            publish(base_path, number)
            assert listener.poll() == number
            with listener.versions.use() as servable:
                seen.append(weakref.ref(servable))
            del servable
            sizes.append((process.memory_info().rss, process.num_threads()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    gc.collect()
    assert [ref() is not None for ref in seen] == [False] * 9 + [True]
    # The first few still fill pools.
    assert sizes[-1][0] - sizes[3][0] < 30e6, sizes
    assert sizes[-1][1] <= sizes[3][1], sizes
