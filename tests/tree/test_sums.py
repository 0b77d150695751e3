import shutil
import subprocess

import pytest
from etils import epath

from hierkeras.tree import sums


@pytest.fixture
def folder(tmp_path):
    """Two files, one of them in a folder of its own, and their check sums."""
    folder = epath.Path(tmp_path / "folder")
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_bytes(b"first")
    (folder / "inner" / "b c").write_bytes(b"second")
    sums.write(folder, folder / sums.SUMS_FILE)
    return folder


def problems(folder, *needed):
    return sums.problems(folder, folder / sums.SUMS_FILE, needed)


def test_a_whole_folder_has_no_problem(folder):
    assert problems(folder, "a", "inner/b c") == []
    assert sums.unlisted(folder, folder / sums.SUMS_FILE) == []
    assert sums.size(folder) == 11 + (folder / sums.SUMS_FILE).stat().length


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_they_are_those_of_the_standard_tool(folder):
    command = ["sha256sum", "--check", "--strict", sums.SUMS_FILE]
    subprocess.run(command, cwd=folder, check=True)


def test_every_bit_counts(folder):
    for path in sums.files(folder):
        content = path.read_bytes()
        for place in range(len(content)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(bytes(flipped))
            assert problems(folder), (path.name, place)
        path.write_bytes(content)
    assert problems(folder) == []


def test_a_file_is_read_only_if_it_is_what_was_written(folder):
    assert sums.read(folder, "a") == b"first"
    (folder / "a").write_bytes(b"worst")
    with pytest.raises(ValueError, match="a is not what was written"):
        sums.read(folder, "a")
    (folder / "new").write_bytes(b"first")
    with pytest.raises(ValueError):  # another file has that sum
        sums.read(folder, "new")
    (folder / sums.SUMS_FILE).unlink()
    with pytest.raises(FileNotFoundError):
        sums.read(folder, "a")


def test_what_is_not_there_is_named(folder):
    assert problems(folder, "other") == ["SHA256SUMS lacks other"]
    (folder / "a").unlink()
    assert problems(folder) == ["a is missing"]
    (folder / "a").mkdir()
    assert problems(folder) == ["a cannot be read (Is a directory)"]
    (folder / sums.SUMS_FILE).unlink()
    assert problems(folder) == ["SHA256SUMS is missing"]


def test_no_file_elsewhere_is_read(folder):
    line = f"{'0' * 64}  inner/../../secret\n"
    (folder / sums.SUMS_FILE).write_text(line)
    assert "'inner/../../secret'" in problems(folder)[0]
    (folder / sums.SUMS_FILE).write_text(f"{'0' * 64}  /etc/passwd\n")
    assert problems(folder) == ["SHA256SUMS is damaged"]


def test_what_nobody_wrote_down_is_found(folder):
    (folder / "inner" / "new").write_bytes(b"")
    assert problems(folder) == []
    assert sums.unlisted(folder, folder / sums.SUMS_FILE) == ["inner/new"]


def test_nothing_takes_no_room(tmp_path):
    assert sums.size(epath.Path(tmp_path / "gone")) == 0
