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
    grow().check_refused(1, "No class has two images")
