"""What is said of exported versions, without loading one."""

import json
import shutil
import subprocess

import pytest

from hierkeras.serving.checks import published
from hierkeras.tree import sums
from hierkeras.tree.store import Store


@pytest.fixture
def store(digits_tree, tmp_path):
    """A copy of a work directory with generations 1 and 2, and version 2."""
    for name in ("generations", "serving"):
        shutil.copytree(digits_tree.workdir / name, tmp_path / name)
    return Store(tmp_path)


def check(store, latest=2, exportable=(1, 2)):
    generations = {number: store.read(number) for number in (1, 2)}
    return published.check_versions(store, generations, latest, exportable)


def files(store):
    return list(sums.files(store.serving / "2"))


def test_of_a_whole_version_nothing_is_said(store):
    assert check(store) == []


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_the_standard_tool_can_check_it(store):
    command = ["sha256sum", "--check", "--strict", "assets.extra/SHA256SUMS"]
    done = subprocess.run(
        command, cwd=store.serving / "2", check=True, capture_output=True
    )
    assert done.stdout.count(b": OK\n") == len(files(store)) - 1


def test_a_flipped_bit_or_a_missing_file_is_found(store):
    names = set()
    for path in files(store):
        content = path.read_bytes()
        for place in (0, len(content) // 3, len(content) - 1):
            flipped = bytearray(content)
            flipped[place] ^= 1
            path.write_bytes(bytes(flipped))
            (finding,) = check(store)
            assert finding.level == "damage", path
            assert finding.place == str(store.serving / "2")
        path.unlink()
        (finding,) = check(store)
        assert finding.level == "damage", path
        assert path.name in finding.what
        path.write_bytes(content)
        names.add(path.name)
    assert {"saved_model.pb", "manifest.json", "SHA256SUMS"} <= names
    assert check(store) == []


def test_it_is_removed_and_exported_again_where_it_can_be(store):
    (store.serving / "2" / "saved_model.pb").write_bytes(b"")

    (finding,) = check(store)
    assert finding.commands == (
        f"rm -r {store.serving}/2",
        f"python -m hierkeras.export --workdir={store.root} --generation=2 "
        "--force",
    )
    (finding, _) = check(store, latest=1, exportable=(1,))
    assert finding.commands == (f"rm -r {store.serving}/2",)


def forge(store, text):
    folder = store.serving / "2"
    extra = folder / "assets.extra"
    (extra / "manifest.json").write_text(text)
    (extra / "SHA256SUMS").unlink()
    sums.write(folder, extra / "SHA256SUMS")


def test_a_manifest_that_is_nested_too_deeply_is_damage(store):
    forge(store, '{"a":' * 99_999)
    (finding,) = check(store)
    assert finding.level == "damage"
    assert "manifest.json cannot be read" in finding.what


def test_a_version_of_another_tree_is_damage(store):
    manifest = store.serving / "2" / "assets.extra" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["tree"]["root"]["fusion_exponent"] = 0.123
    forge(store, json.dumps(content))
    (finding,) = check(store)
    assert finding.level == "damage"
    assert "another tree than generation 2" in finding.what


def test_a_version_of_another_generation_is_damage(store):
    (store.serving / "2").rename(store.serving / "1")
    finding, _ = check(store)
    assert finding.level == "damage"
    assert "another tree than generation 1" in finding.what


def test_a_version_without_its_generation_can_be_served(store):
    (store.serving / "2").rename(store.serving / "5")
    assert {finding.level for finding in check(store)} == {"information"}


def test_a_rejection_says_why(store):
    (store.serving / "3.rejected.txt").write_text("a score\ndiffers\x1b[31m")
    (finding,) = check(store)
    assert finding.level == "information"
    assert finding.what == (
        "version 3 was not published: a score differs\\x1b[31m"
    )


def test_a_generation_that_is_not_exported(store):
    shutil.rmtree(store.serving)
    (finding,) = check(store)
    assert finding.level == "information"
    assert f"hierkeras.export --workdir={store.root}" in finding.advice


def test_servers_do_not_go_back_by_themselves(store):
    (finding,) = check(store, latest=1)
    assert finding.level == "information"
    assert "servers answer with version 2" in finding.what
