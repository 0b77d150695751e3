import dataclasses

import pytest

from hierkeras.data import places
from hierkeras.data.source import DataConfig


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def config(dataset, **fields):
    return DataConfig(dataset, **fields)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("folder:../photos", "folder:{}/photos"),
        ("csv:a:b.csv", "csv:{}/here/a:b.csv"),
        ("npz:x.npz", "npz:{}/here/x.npz"),
        ("tfds:mnist:3.0.1@../tfds", "tfds:mnist:3.0.1@{}/tfds"),
        ("tfds:image_folder@a@b", "tfds:image_folder@{}/here/a@b"),
        ("tfds:mnist", "tfds:mnist"),
        ("digits", "digits"),
    ],
)
def test_paths_are_those_of_the_current_directory(tmp_path, dataset, expected):
    found = places.absolute(config(dataset), "../runs/one")

    assert found.dataset == expected.format(tmp_path)
    assert places.absolute(found, str(tmp_path / "runs/one")) == found


def test_from_another_directory_it_is_the_same(tmp_path, monkeypatch):
    before = places.absolute(
        config("folder:../photos", label_names="names.txt"), "../runs/one"
    )
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)

    assert places.found(before, "runs/one") == before
    assert before.label_names == f"{tmp_path}/here/names.txt"
    assert before.from_workdir == "../../photos"


@pytest.mark.parametrize("kind", ["folder:", "csv:", "tfds:image_folder@"])
def test_it_may_move_with_the_work_directory(tmp_path, kind):
    old = tmp_path / "old"
    data, names = old / "data" / "list", old / "names.txt"
    before = places.absolute(
        config(f"{kind}{data}", label_names=str(names)), str(old / "work")
    )
    new = tmp_path / "new"
    (new / "data" / "list").mkdir(parents=True)

    found = places.found(before, str(new / "work"))

    assert found == dataclasses.replace(
        before,
        dataset=f"{kind}{new}/data/list",
        label_names=f"{new}/names.txt",
    )


def test_what_is_nowhere_stays_as_it_was(tmp_path):
    before = places.absolute(config("folder:gone"), str(tmp_path / "work"))

    assert places.found(before, str(tmp_path / "work")) == before


def test_a_work_directory_elsewhere_has_no_path_to_it():
    found = places.absolute(config("folder:photos"), "gs://bucket/work")

    assert found.from_workdir == ""
