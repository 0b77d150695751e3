import subprocess
import sys

import pytest

from hierkeras._errors import UsageError, UserError
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig


@pytest.mark.parametrize(
    "dataset", ["imagenet", "", "folder", "folder:", "digits:8", "npz:"]
)
def test_a_name_of_no_data_set_is_answered_with_the_valid_ones(dataset):
    with pytest.raises(UsageError) as error:
        open_source(DataConfig(dataset))

    assert str(error.value) == (
        f"Unknown data set {dataset!r}; valid are digits, folder:PATH, "
        "csv:FILE, tfds:NAME[@DIR], npz:FILE."
    )


def test_a_path_may_hold_colons(write_photos, tmp_path):
    root = write_photos({"ant": 1}, tmp_path / "a:b")

    assert open_source(DataConfig(f"folder:{root}")).name == f"folder:{root}"


@pytest.mark.parametrize("dataset", ["digits", "folder"])
def test_a_class_list_selects_and_orders(dataset, write_photos):
    if dataset == "folder":
        root = write_photos({str(digit): 5 for digit in range(10)})
        dataset = f"folder:{root}"

    catalogue = open_source(
        DataConfig(dataset, class_list=("7", "2"))
    ).catalogue

    assert catalogue.class_names == ("7", "2")
    everything = open_source(DataConfig(dataset)).catalogue
    chosen = everything.indices("train", ["2", "7"])
    assert (
        catalogue.keys[catalogue.indices("train", ["2", "7"])].tolist()
        == everything.keys[chosen].tolist()
    )
    assert catalogue.fingerprint(["7"]) == everything.fingerprint(["7"])


@pytest.mark.parametrize("names", [("bee", "any"), ("any",)])
def test_an_unknown_class_is_answered_with_the_nearest(names, write_photos):
    root = write_photos({"ant": 1, "bee": 1})

    with pytest.raises(UserError, match=r"'any'.*nearest are ant, bee\.$"):
        open_source(DataConfig(f"folder:{root}", class_list=names))


def test_a_class_listed_twice_is_refused():
    with pytest.raises(UserError, match="'3' twice"):
        open_source(DataConfig("digits", class_list=("3", "3")))


def test_opening_a_source_needs_no_tensorflow():
    code = (
        "import sys\n"
        "from hierkeras.data import registry, source, streams\n"
        "from hierkeras.data import image_folder, npz\n"
        "registry.open_source(source.DataConfig('digits'))\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
