"""The client asks a server, or a SavedModel without one."""

import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hierkeras._errors import UserError
from hierkeras.serving import answers, client
from hierkeras.serving.answers import Answer, BadImage
from hierkeras.serving.client import RemoteModel
from hierkeras.serving.local import LocalModel
from hierkeras.serving.server import Server
from tests.serving import served_tree
from tests.serving.served_tree import (
    ROOT,
    TOP,
    encoded,
    publish,
    tag,
    write,
)

server = served_tree.server
base_path = served_tree.base_path


@pytest.fixture
def remote(server):
    model = RemoteModel(f"127.0.0.1:{server.port}", "animals", 20)
    yield model
    model.close()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return LocalModel(str(write(tmp_path_factory.mktemp("local") / "7", 7)))


@pytest.fixture(params=["remote", "local"])
def model(request):
    return request.getfixturevalue(request.param)


def test_answers_are_in_the_order_of_the_images(model):
    images = encoded(4)
    together = model.answer(images)
    assert len(together) == 4
    assert len({answer.scores for answer in together}) == 4
    for image, answer in zip(images, together, strict=True):
        (alone,) = model.answer([image])
        assert alone.classes == answer.classes
        assert alone.scores == pytest.approx(answer.scores, abs=1e-5)
        assert len(answer.classes) == len(answer.scores) == TOP
        assert all(name.startswith(tag(7)) for name in answer.classes)
        assert list(answer.scores) == sorted(answer.scores, reverse=True)
        assert answer.path in ("root/root.1", "root/root.2")


def test_both_give_the_same_answers(remote, local):
    images = encoded(3, seed=1)
    for far, near in zip(
        remote.answer(images), local.answer(images), strict=True
    ):
        assert (far.classes, far.path) == (near.classes, near.path)
        assert far.scores == pytest.approx(near.scores, abs=1e-5)
        assert (far.version, near.version) == (7, None)


@pytest.mark.parametrize("bad", [(0,), (4,), (1, 2, 4), (0, 1, 2, 3, 4)])
def test_a_bad_image_spoils_no_other(model, bad):
    images = encoded(5)
    expected = model.answer(images)
    given = [b"bad" if i in bad else image for i, image in enumerate(images)]
    found = list(answers.ask(model, given))
    assert len(found) == 5
    for number, (one, answer) in enumerate(zip(found, expected, strict=True)):
        if number in bad:
            assert isinstance(one, BadImage)
            assert one.reason.startswith("is no JPEG, PNG, GIF, BMP or WebP")
            assert "row" not in one.reason
        else:
            assert one.classes == answer.classes
            assert one.scores == pytest.approx(answer.scores, abs=1e-5)


def test_a_row_without_an_answer_is_a_bad_image():
    class Empty:
        def answer(self, images):
            good = Answer(("a",), (1.0,), "root")
            return [good, Answer((), (), "")]

    good, bad = answers.ask(Empty(), [b"1", b"2"])
    assert good.classes == ("a",)
    assert isinstance(bad, BadImage)


def test_classes_without_a_name_are_left_out():
    (answer,) = answers.to_answers(
        np.array([[b"a", b"", b""]], object),
        np.array([[1, 0, 0]], np.float32),
        np.array([b"root/root.1"], object),
    )
    assert answer == Answer(("a",), (1.0,), "root/root.1")


def test_a_model_that_is_not_there_is_named(server):
    model = RemoteModel(f"127.0.0.1:{server.port}", "plants", 20)
    with pytest.raises(UserError, match=r"'plants' \(Servable not found"):
        model.answer(encoded(1))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def narrow(base_path):
    """A server that takes requests of 16 KB."""
    publish(base_path, 1)
    address = ("127.0.0.1", 0)
    running = Server(
        "animals", str(base_path), *address, 4, print, max_message_bytes=2**14
    )
    running.start(0)
    model = RemoteModel(f"127.0.0.1:{running.port}", "animals", 20)
    yield model
    model.close()
    running.stop(0)


def test_a_request_larger_than_a_server_takes_is_divided(narrow):
    images = encoded(9, size=40)
    assert len(images[0]) < 2**14 < sum(map(len, images))
    large = encoded(1, size=100)
    assert len(large[0]) > 2**14

    *found, bad = answers.ask(narrow, images + large)

    assert [answer.version for answer in found] == [1] * 9
    assert isinstance(bad, BadImage)
    assert "larger than what the server takes" in bad.reason
    assert "--max_message_mb" in bad.reason
    assert "\n" not in bad.reason


def test_an_image_that_promises_too_many_pixels_is_refused(remote):
    (image,) = encoded(1)
    size = image.index(b"IHDR") + 4
    huge = image[:size] + b"\0\0\xff\xff" * 2 + image[size + 8 :]
    began = time.monotonic()
    with pytest.raises(BadImage, match="pixels"):
        remote.answer([huge])
    assert time.monotonic() - began < 10


def test_a_request_larger_than_any_is_not_sent(remote, monkeypatch):
    monkeypatch.setattr(client, "_MAX_IMAGE_BYTES", 1000)
    with pytest.raises(BadImage, match="larger than a request can be"):
        remote.answer([b"x" * 600] * 2)


@pytest.mark.parametrize(
    "server", ["", "nonsense", ":", "a b", "é:1", "[::", "x" * 5000, "\0:1"]
)
def test_a_server_of_a_hostile_name_is_an_error(server):
    with pytest.raises(UserError) as caught:
        RemoteModel(server, "animals", 0.2).answer(encoded(1))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("host", ["nonsense host", "é", "1.2.3", "[::", ""])
def test_a_host_that_is_none_is_an_error(base_path, host):
    try:
        made = Server("animals", str(base_path), host, 0, 1, print)
    except UserError as error:
        assert "cannot listen on" in str(error)
    else:
        made.stop(0)  # some systems take it for any


def test_a_server_that_is_not_there_is_named():
    model = RemoteModel(f"127.0.0.1:{free_port()}", "animals", 20)
    began = time.monotonic()
    with pytest.raises(UserError, match="cannot reach 127"):
        model.answer(encoded(1))
    assert time.monotonic() - began < 15


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        model = RemoteModel(f"127.0.0.1:{port}", "animals", 0.5)
        with pytest.raises(UserError, match=r"within 0\.5 s"):
            model.answer(encoded(1))


@pytest.mark.parametrize("size", [12, 400])
def test_a_server_that_is_about_to_start_is_waited_for(base_path, size):
    publish(base_path, 1)
    port = free_port()
    server = []

    def start():
        time.sleep(0.3)
        server.append(
            Server("animals", str(base_path), "127.0.0.1", port, 1, print)
        )
        server[0].start(0)

    starting = threading.Thread(target=start)
    starting.start()
    try:
        model = RemoteModel(f"127.0.0.1:{port}", "animals", 20)
        # The larger one is more than gRPC keeps for a repetition unasked.
        assert len(model.answer(encoded(1, size=size))) == 1
    finally:
        starting.join()
        server[0].stop(0)


def test_a_folder_without_a_saved_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no saved_model\.pb; give the folder"):
        LocalModel(str(tmp_path))


def test_a_saved_model_that_does_not_load_is_named(tmp_path):
    broken = write(tmp_path / "1", 1)
    graph = broken / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        LocalModel(str(broken))


def test_a_saved_model_of_something_else_is_refused(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.double = tf.function(
        lambda x: 2 * x, input_signature=[tf.TensorSpec([None])]
    )
    tf.saved_model.save(module, str(tmp_path / "1"), module.double)
    with pytest.raises(UserError, match="not exported by hierkeras"):
        LocalModel(str(tmp_path / "1"))


def test_a_saved_model_needs_none_of_tensorflow_s_python(tmp_path):
    folder = write(tmp_path / "1", 1)
    (image,) = encoded(1)
    (tmp_path / "image").write_bytes(image)
    program = (
        "import sys, pathlib\n"
        "from hierkeras.serving.local import LocalModel\n"
        "image = pathlib.Path(sys.argv[2]).read_bytes()\n"
        "print(LocalModel(sys.argv[1]).answer([image])[0].classes)\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder, tmp_path / "image"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert tag(1) in done.stdout
