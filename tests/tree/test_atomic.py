import pytest
from etils import epath

from hierkeras.tree import atomic


@pytest.fixture
def folder(tmp_path):
    return epath.Path(tmp_path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_stays(folder):
    atomic.write_file(folder / "LATEST", b"1")
    atomic.write_file(folder / "LATEST", b"2")

    assert (folder / "LATEST").read_bytes() == b"2"
    assert names(folder) == ["LATEST"]


def test_a_file_that_cannot_be_put_in_place_leaves_nothing(folder):
    (folder / "LATEST" / "a folder").mkdir(parents=True)

    with pytest.raises(OSError):
        atomic.write_file(folder / "LATEST", b"2")

    assert names(folder) == ["LATEST"]


def test_a_folder_appears_whole_when_the_block_ends(folder):
    with atomic.new_folder(folder / "job") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "weights").write_text("1")
        assert not (folder / "job").exists()

    assert (folder / "job" / "deep" / "weights").read_text() == "1"
    assert names(folder) == ["job"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_nothing(folder, error):
    with (
        pytest.raises(error),
        atomic.new_folder(folder / "job") as temporary,
    ):
        (temporary / "weights").write_text("1")
        raise error

    assert names(folder) == []


def test_a_folder_that_is_there_stays_as_it_is(folder):
    for content in ("first", "second"):
        with atomic.new_folder(folder / "job") as temporary:
            (temporary / "weights").write_text(content)

    assert (folder / "job" / "weights").read_text() == "first"
    assert names(folder) == ["job"]


def test_debris_is_removed_and_counted(folder):
    (folder / ".tmp-job-1" / "deep").mkdir(parents=True)
    (folder / ".tmp-LATEST-2").write_text("")
    (folder / "job").mkdir()
    (folder / ".hidden").write_text("")

    assert atomic.remove_debris(folder) == 2
    assert names(folder) == [".hidden", "job"]
    assert atomic.remove_debris(folder) == 0
    assert atomic.remove_debris(folder / "missing") == 0
