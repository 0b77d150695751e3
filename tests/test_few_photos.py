"""Classes of one or two photos above a network that somebody saved."""

import pytest

from hierkeras import evaluate, increment
from hierkeras.tree.store import Store
from tests import small_trunks


@pytest.fixture
def grow(run_main, tmp_path):
    small_trunks.write(tmp_path / "net.keras")

    def grow(*flags: str):
        return run_main(
            increment,
            f"--dataset=folder:{tmp_path / 'photos'}",
            f"--backbone={tmp_path / 'net.keras'}",
            f"--workdir={tmp_path / 'workdir'}",
            *("--noexport", "--augment=none", *flags),
        )

    return grow


def test_a_class_of_one_photo_is_learnt(grow, run_main, tmp_path):
    for name, count in {"bee": 12, "cat": 2, "dog": 1}.items():
        small_trunks.write_photos(tmp_path / "photos", [name], each=count)
    first = grow()
    assert first.status == 0, first.stderr
    assert "nothing tells the error, of 2 classes, 'cat' first" in first.stderr
    # One more, of one photo, goes to where it looks alike.
    small_trunks.write_photos(tmp_path / "photos", ["emu"], each=1)
    second = grow()
    assert second.status == 0, second.stderr
    tree = Store(tmp_path / "workdir").latest().tree
    assert set(tree.classes) == {"bee", "cat", "dog", "emu"}
    evaluated = run_main(evaluate, f"--workdir={tmp_path / 'workdir'}")
    assert evaluated.status == 0, evaluated.stderr


def test_trained_networks_want_three(grow, tmp_path):
    for name, count in {"bee": 12, "cat": 2}.items():
        small_trunks.write_photos(tmp_path / "photos", [name], each=count)
    grow("--set=heads=trained").check_refused(1, "'cat'", "at least 3")


def test_where_no_class_has_two_nothing_can_be_chosen(grow, tmp_path):
    small_trunks.write_photos(tmp_path / "photos", ["bee", "cat"], each=1)
    grow().check_refused(1, "None of the 2 classes of the step has two images")


@pytest.mark.slow
def test_classes_of_one_photo_do_not_come_first(grow, tmp_path):
    for name, count in {"bee": 1, "cat": 1, "dog": 6, "emu": 6}.items():
        small_trunks.write_photos(tmp_path / "photos", [name], each=count)
    batches = "--class_batches=2,2"
    grow(batches).check_refused(1, "None of the 2 classes of the step has two")
    assert not (tmp_path / "workdir" / "generations").exists()
    (tmp_path / "photos" / "bee").rename(tmp_path / "photos" / "gnu")
    (tmp_path / "photos" / "cat").rename(tmp_path / "photos" / "hen")
    outcome = grow(batches)
    assert outcome.status == 0, outcome.stderr
    latest = Store(tmp_path / "workdir").latest()
    assert (latest.number, len(latest.tree.classes)) == (2, 4)
