import os
import pathlib
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierkeras.data.files import listing
from hierkeras.data.files.left_out import Tally


def write(root, *paths):
    for path in paths:
        file = pathlib.Path(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)


def walk(root):
    """Paths, empty folders, and what is left out by reason."""
    tally = Tally()
    files = listing.walk(str(root), tally)
    assert len(files.paths) == len(files.states)
    left_out = {one.why: (one.count, one.example) for one in tally.result()}
    return files.paths, files.empty, left_out


def test_every_file_by_its_path(tmp_path):
    write(tmp_path, "b/2.png", "b/1.png", "a-b/1", "a/x/y/z.txt", "readme")

    paths, empty, left_out = walk(tmp_path)

    assert paths == ["a-b/1", "a/x/y/z.txt", "b/1.png", "b/2.png", "readme"]
    assert (empty, left_out) == ((), {})


def test_debris_is_counted_by_whose_it_is(tmp_path):
    write(
        tmp_path,
        *("__MACOSX/cat/._1.jpg", "cat/._1.jpg", "cat/.DS_Store"),
        *("cat/Thumbs.db", "DESKTOP.INI"),
        *(".git/objects/1", ".gitignore", "cat/.hidden.jpg", "cat/1.jpg"),
    )

    paths, _, left_out = walk(tmp_path)

    assert paths == ["cat/1.jpg"]
    assert {why: count for why, (count, _) in left_out.items()} == {
        "debris of macOS": 3,
        "debris of Windows": 2,
        "debris of git": 2,
        "hidden": 1,
    }


def test_folders_that_hold_nothing(tmp_path):
    (tmp_path / "new" / "below").mkdir(parents=True)
    (tmp_path / ".git" / "refs").mkdir(parents=True)
    write(tmp_path, "kept/.gitkeep")

    assert walk(tmp_path)[1] == ("kept", "new/below")


def test_a_linked_folder_is_listed_once_under_its_own_name(tmp_path):
    write(tmp_path, "z/1.jpg")
    (tmp_path / "a").symlink_to("z", target_is_directory=True)
    (tmp_path / "z" / "up").symlink_to("..", target_is_directory=True)

    paths, _, left_out = walk(tmp_path)

    assert paths == ["z/1.jpg"]
    assert left_out == {"links to folders that are listed": (2, "a")}


def test_links_to_what_is_elsewhere_are_followed(tmp_path):
    write(tmp_path, "elsewhere/cat/1.jpg", "elsewhere/2.jpg", "data/dog/3.jpg")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "data" / "dog" / "2.jpg").symlink_to("../../elsewhere/2.jpg")

    assert walk(tmp_path / "data")[0] == [
        "cat/1.jpg",
        "dog/2.jpg",
        "dog/3.jpg",
    ]


def test_links_that_lead_nowhere_do_not_end_it(tmp_path):
    write(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "a" / "itself").symlink_to("itself")

    assert walk(tmp_path)[0] == ["a/1.jpg", "a/gone.jpg", "a/itself"]


def test_pipes_are_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")

    assert walk(tmp_path)[2] == {
        "no files but pipes or devices": (1, "pipe.jpg")
    }


def test_a_state_follows_a_file(tmp_path):
    write(tmp_path, "a", "b")
    before = os.stat(tmp_path / "a")
    states = listing.walk(str(tmp_path), Tally()).states

    (tmp_path / "a").write_text("c")  # of the same size
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = listing.walk(str(tmp_path), Tally()).states

    assert states[0] != after[0]
    assert states[1] == after[1]


NAMES = st.sampled_from(
    ["cat", ".git", "x.jpg", "train", "Thumbs.db", ".h", "é", "._x", "b c"]
)


@given(st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=12))
@settings(max_examples=30, deadline=None)
def test_counts_add_up(tree):
    files = {
        path
        for path in tree
        if not any(other[: len(path)] == path for other in tree - {path})
    }
    with tempfile.TemporaryDirectory() as root:
        write(root, *map("/".join, files))
        paths, _, left_out = walk(root)

    assert paths == sorted(paths)
    assert set(paths) <= set(map("/".join, files))
    total = len(paths) + sum(count for count, _ in left_out.values())
    assert total == len(files)


@pytest.mark.parametrize("name", ["Thumbs.db", "THUMBS.DB", "__MACOSX", "._a"])
def test_names_of_debris_in_any_case(name):
    assert listing.whose_debris(name) in {"Windows", "macOS"}
    assert listing.whose_debris("cat") is None
