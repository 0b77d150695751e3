"""What is said of LATEST and of generations, and where LATEST should point."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from hierkeras.tree import checks
from hierkeras.tree.store import Store
from tests.tree.stores import generation, holder


@pytest.fixture
def store(tmp_path):
    """Three generations, each from the one before."""
    store = Store(tmp_path / "workdir")
    for number in (1, 2, 3):
        store.publish(generation(number, number - 1 or None))
    return store


def check(store, **lacking):
    found = checks.read_generations(store)
    bad = {int(name[1:]): why for name, why in lacking.items()}
    return checks.check_generations(store, found, bad), found.best(bad)


def file(store, number):
    return store.generations / f"{number:06d}.json"


def damages(findings):
    return [finding for finding in findings if finding.level == "damage"]


def follow(findings):
    for finding in damages(findings):
        for command in finding.commands:
            subprocess.run(command, shell=True, check=True)


def test_of_what_is_whole_nothing_is_said(store):
    assert check(store) == ([], 3)


def test_in_a_new_work_directory_nothing_is_missed(tmp_path):
    assert check(Store(tmp_path)) == ([], None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "it is missing"),
        (b"", "it is damaged: it holds ''"),
        (b"00000s\n", "it is damaged: it holds '00000s\\n'"),
        (b" 00003\n", "no number"),
        (b"000003\x0b", "no number"),
        ("٣".encode(), "no number"),
        (b"9" * 5000, "no number"),
        (b"000007\n", "it points at generation 7, which is missing"),
        (b"000000\n", "it points at generation 0, which is missing"),
    ],
)
def test_a_pointer_that_leads_nowhere(store, content, complaint):
    path = store.root / "LATEST"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    findings, best = check(store)

    assert best == 3
    (finding,) = findings
    assert (finding.level, finding.place) == ("damage", str(path))
    assert complaint in finding.what
    assert "run the increment" not in finding.advice  # No step is lost.
    follow(findings)
    assert check(store) == ([], 3)
    assert store.latest() == generation(3, 2)


def test_going_back_is_no_damage(store):
    (store.root / "LATEST").write_text("1")

    findings, best = check(store)

    assert best == 1
    assert damages(findings) == []
    assert [finding.place for finding in findings] == [
        str(file(store, 2)),
        str(file(store, 3)),
    ]
    assert "goes on from generation 1" in findings[0].advice


def test_every_bit_of_a_generation_counts(store):
    path = file(store, 3)
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(bytes(flipped))
        assert 3 in checks.read_generations(store).unreadable, place
    digit = content.replace(b"0.30000000000000004", b"0.30000000000000005")
    assert digit != content
    path.write_bytes(digit)
    assert 3 in checks.read_generations(store).unreadable


@pytest.mark.parametrize(
    ("number", "best", "places"),
    [
        (3, 2, ["LATEST", "generations/000003.json"]),
        (2, 1, ["LATEST", "generations/000002.json"]),
        (1, None, ["LATEST", "generations/000001.json"]),
    ],
)
def test_a_damaged_generation_is_put_aside(store, number, best, places):
    file(store, number).write_bytes(b"{")

    findings, found_best = check(store)

    assert found_best == best
    found = damages(findings)
    assert [finding.place for finding in found] == [
        str(store.root / place) for place in places
    ]
    assert "run the increment again, with the flags of before" in (
        found[0].advice
    )
    follow(findings)
    findings, found_best = check(store)
    assert found_best == best
    assert damages(findings) == []
    latest = store.latest()
    assert (latest and latest.number) == best
    # The number stays taken: a server may have it.
    assert store.next_number() == 4


def test_a_generation_under_another_ones_name_is_damaged(store):
    file(store, 2).rename(file(store, 4))
    findings, best = check(store)
    assert best == 1
    assert "it says that it is generation 2" in damages(findings)[1].what


@pytest.mark.parametrize(
    "name", ["999999999999999999.json", "900000.json", "3.json", "000000.json"]
)
@pytest.mark.parametrize("is_copy", [False, True])
def test_a_file_that_is_only_called_as_a_generation(store, name, is_copy):
    path = store.generations / name
    path.write_bytes(file(store, 3).read_bytes() if is_copy else b"")
    # Steps go on without it.
    assert store.latest() == generation(3, 2)
    assert store.numbered(generation(9, 3)).number == 4

    findings, best = check(store)

    assert best == 3
    (finding,) = findings
    assert (finding.level, finding.place) == ("damage", str(path))
    follow(findings)
    assert check(store) == ([], 3)
    assert store.next_number() == 4


def test_where_jobs_are_lacking_latest_goes_back_along_its_line(store):
    store.publish(generation(4, parent=2))
    findings, best = check(store, g4="lacks job abc")
    assert best == 2  # not 3, from which somebody went back
    (finding,) = damages(findings)
    assert "generation 4, which lacks job abc" in finding.what
    assert "at generation 2" in finding.advice
    assert check(store, g4="x", g2="x", g1="x")[1] == 3
    assert check(store, g1="lacks job abc")[1] == 4


def test_without_any_whole_generation_it_begins_anew(store):
    lacking = {f"g{number}": "lacks job abc" for number in (1, 2, 3)}
    findings, best = check(store, **lacking)
    assert best is None
    follow(findings)
    assert store.latest() is None
    findings, _ = check(store, **lacking)
    assert [finding.level for finding in findings] == ["information"]


def test_paths_are_quoted(tmp_path):
    store = Store(tmp_path / "it's a folder; really")
    store.publish(generation(1))
    (store.root / "LATEST").write_bytes(b"x")
    follow(check(store)[0])
    assert store.latest() == generation(1)


def test_a_process_at_work_is_named_and_what_it_writes_no_debris(store):
    assert checks.holder(store) == ""
    with holder(store) as process:
        held_by = checks.holder(store)
        assert held_by.startswith(f"process {process.pid} on ")
        assert checks.check_debris(store, held_by) == []
        (finding,) = checks.check_lock(store, held_by)
        assert held_by in finding.what
        process.kill()


def test_a_process_that_was_killed_is_named_and_its_debris(store):
    with holder(store) as process:
        process.kill()
    assert checks.holder(store) == ""
    (dead,) = checks.check_lock(store, "")
    assert "was killed while it was at work" in dead.what
    (debris,) = checks.check_debris(store, "")
    assert Path(debris.place).parent == Path(store.models)
    assert {dead.level, debris.level} == {"information"}

    with store.lock():  # as the next increment does
        pass
    assert checks.check_lock(store, "") == []
    assert checks.check_debris(store, "") == []


def test_looking_at_the_lock_leaves_it_free(store):
    with store.lock():
        assert checks.holder(store) != ""
    with store.lock():
        pass


def test_findings_are_json(store):
    (store.root / "LATEST").unlink()
    findings, _ = check(store)
    assert b'"level":"damage"' in msgspec.json.encode(findings)
