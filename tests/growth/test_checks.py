import pytest

from hierkeras.data.source import DataConfig
from hierkeras.growth.checks import check_data
from hierkeras.recipe.remembered import to_settings
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store
from tests import builders


@pytest.fixture
def found(tmp_path):
    """A function from data set and settings to what is found."""

    def found(dataset, **settings):
        data = DataConfig(dataset)
        settings = to_settings(builders.remembered(data=data)) | settings
        tree = builders.tree(("ant", "bee"))
        latest = Generation(1, settings, tree, builders.step(tree.classes))
        return check_data(Store(tmp_path / "workdir"), latest)

    return found


@pytest.fixture
def images(tmp_path):
    """A folder of two classes, which nobody decodes."""
    for name in ("ant", "bee"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.png").write_bytes(b"image")
    return tmp_path / "images"


def test_a_data_set_that_is_there_is_no_finding(found, images):
    assert found(f"folder:{images}") == []


@pytest.mark.parametrize("dataset", ["digits", "tfds:cifar100"])
def test_some_data_sets_are_not_looked_at(found, dataset):
    assert found(dataset) == []


def test_a_data_set_that_is_gone_or_lacks_a_class_is_told_of(found, images):
    (images / "bee").rename(images / "wasp")
    lacking, gone = found(f"folder:{images}"), found(f"folder:{images}/no")

    for (finding,), dataset in ((lacking, images), (gone, images / "no")):
        assert finding.level == "information"
        assert finding.place == f"folder:{dataset}"
        assert finding.what.startswith("the data set cannot be used: ")
    assert "lacks 1 of the 2 classes" in lacking[0].what


def test_settings_that_make_no_sense_are_told_of(found):
    (finding,) = found("digits", recipe=3)

    assert finding.place == "--dataset"
    assert "make no sense" in finding.what
