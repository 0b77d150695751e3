"""A version is there whole, or it is not there."""

import pytest
from etils import epath

from hierkeras.serving.checks import publication


@pytest.fixture
def base_path(tmp_path):
    return epath.Path(tmp_path / "serving")


def publish(base_path, version):
    with publication.new_version(base_path, version) as folder:
        (folder / "variables").mkdir()
        (folder / "variables" / "data").write_bytes(b"numbers")
        (folder / "saved_model.pb").write_bytes(b"graph")


def names(base_path):
    return sorted(path.name for path in base_path.iterdir())


def test_a_version_appears_when_it_is_complete(base_path):
    assert publication.versions(base_path) == []
    with publication.new_version(base_path, 3) as folder:
        (folder / "saved_model.pb").write_bytes(b"graph")
        assert publication.versions(base_path) == []
        assert not [name for name in names(base_path) if name.isdecimal()]
    assert publication.versions(base_path) == [3]
    assert names(base_path) == ["3"]


def test_of_a_failure_only_the_reason_stays(base_path):
    with (
        pytest.raises(ValueError),
        publication.new_version(base_path, 3) as folder,
    ):
        (folder / "saved_model.pb").write_bytes(b"graph")
        raise ValueError("a score differs")

    assert names(base_path) == ["3.rejected.txt"]
    assert (base_path / "3.rejected.txt").read_text() == "a score differs\n"

    publish(base_path, 3)
    assert names(base_path) == ["3"]


def test_what_a_killed_exporter_left_goes(base_path):
    (base_path / ".tmp-2-0123abcd" / "variables").mkdir(parents=True)
    publish(base_path, 2)
    assert names(base_path) == ["2"]


def test_a_version_is_never_rewritten(base_path):
    publish(base_path, 1)
    with publication.new_version(base_path, 1) as folder:
        (folder / "saved_model.pb").write_bytes(b"another")
    assert (base_path / "1" / "saved_model.pb").read_bytes() == b"graph"


def test_only_integers_are_versions(base_path):
    publish(base_path, 10)
    publish(base_path, 9)
    (base_path / "latest").mkdir()
    (base_path / "11").write_text("a file")
    assert publication.versions(base_path) == [9, 10]


@pytest.mark.parametrize(
    ("keep", "made", "left"),
    [
        (0, None, [1, 2, 10]),
        (2, None, [2, 10]),
        (5, None, [1, 2, 10]),
        (1, 10, [10]),
        (1, 2, [2, 10]),  # an earlier generation's, exported just now
        (2, 1, [1, 2, 10]),
    ],
)
def test_the_oldest_versions_go_but_for_the_new_one(
    base_path, keep, made, left
):
    for version in (1, 2, 10):
        publish(base_path, version)
    removed = publication.prune(base_path, keep, made)
    assert publication.versions(base_path) == left
    assert removed == [v for v in (1, 2, 10) if v not in left]
    assert names(base_path) == sorted(map(str, left))


def test_in_an_object_store_the_graph_comes_last(base_path, monkeypatch):
    written = []
    write = type(base_path).write_bytes

    def noting(path, content):
        if str(path).startswith(str(base_path)):
            written.append(path.name)
        return write(path, content)

    monkeypatch.setattr(type(base_path), "write_bytes", noting)
    monkeypatch.setattr(publication.atomic, "new_folder", publication._uploaded)
    with publication.new_version(base_path, 1) as folder:
        assert not str(folder).startswith(str(base_path))
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables").mkdir()
        (folder / "variables" / "z").write_bytes(b"numbers")
    assert written == ["z", "saved_model.pb"]
    assert (base_path / "1" / "variables" / "z").read_bytes() == b"numbers"
