"""A model on a server and the same one in this process."""

import pytest

from hierkeras.serving.client.remote import RemoteModel
from hierkeras.serving.client.saved_model import LocalModel
from tests.serving import served_tree
from tests.serving.served_tree import write

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
