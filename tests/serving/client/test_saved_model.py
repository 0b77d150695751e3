"""A SavedModel is asked without a server."""

import subprocess
import sys

import pytest

from hierkeras._errors import UserError
from hierkeras.serving.client.saved_model import LocalModel
from tests.serving.served_tree import ROOT, encoded, tag, write


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
        "from hierkeras.serving.client.saved_model import LocalModel\n"
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
