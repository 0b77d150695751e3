"""The default preset, then what is remembered, then what is given."""

import msgspec
import pytest

from hierkeras._errors import UsageError
from hierkeras.data.source import DataConfig
from hierkeras.recipe import fields, presets
from hierkeras.recipe.compose import Asked, compose, lines
from hierkeras.recipe.remembered import Remembered
from hierkeras.recipe.resolve import Facts

FACTS = Facts(num_images=27_000, num_classes=60, is_photos=True, side=64)


def remember(preset, **changes):
    recipe = compose(Asked(preset, changes), None, "photos").resolved(FACTS)
    data = DataConfig("folder:photos")
    return Remembered(data, "folder", recipe.recipe, preset)


def test_a_new_work_directory_begins_with_the_default():
    composed = compose(Asked(), None, "digits")
    assert composed.recipe == presets.preset("digits")
    assert composed.preset == "digits"
    assert set(composed.sources.values()) == {"preset digits"}


def test_what_is_remembered_is_gone_on_with():
    before = remember("stream", batch_size=7, beam_width=3)
    composed = compose(Asked(), before, "photos").resolved(FACTS)
    assert composed.recipe == before.recipe
    assert composed.preset == "stream"
    assert composed.chosen == ""
    assert set(composed.sources.values()) == {"remembered"}


def test_what_is_given_overrides_both():
    before = remember("stream", batch_size=7)
    composed = compose(Asked(None, {"batch_size": 9}), before, "photos")
    assert composed.recipe.training.batch_size == 9
    assert composed.sources["batch_size"] == "given"
    assert fields.changed(composed.recipe, {"batch_size": 7}) == before.recipe


def test_a_preset_replaces_all_but_the_network():
    before = remember("photos", width_multiplier=0.5, batch_size=7)
    composed = compose(Asked("paper", {"max_epochs": 3}), before, "photos")
    paper = presets.preset("paper")
    assert composed.recipe == msgspec.structs.replace(
        fields.changed(paper, {"max_epochs": 3}),
        network=before.recipe.network,
    )
    assert composed.preset == "paper"
    assert composed.sources["width_multiplier"] == "remembered"
    assert composed.sources["batch_size"] == "preset paper"
    assert composed.sources["max_epochs"] == "given"


def test_the_remembered_preset_given_again_changes_nothing():
    before = remember("exemplars", max_epochs=10)
    fewer = Facts(num_images=1_700, num_classes=80, is_photos=True, side=64)
    again = compose(Asked("exemplars"), before, "photos").resolved(fewer)
    assert again.recipe == before.recipe
    assert again.chosen == ""


def test_a_file_of_weights_is_needed_once(tmp_path):
    weights = tmp_path / "weights.h5"
    weights.touch()
    network = {
        "backbone": "mobilenet_v3_small",
        "backbone_weights": str(weights),
    }
    before = remember("photos", **network)
    weights.unlink()
    again = compose(Asked(), before, "photos").resolved(FACTS)
    assert again.recipe == before.recipe
    with pytest.raises(UsageError, match="No such file"):
        compose(Asked(None, network), before, "photos").resolved(FACTS)


def test_what_data_decide_is_told_as_theirs():
    composed = compose(Asked(), None, "photos").resolved(FACTS)
    by_data = {k for k, v in composed.sources.items() if v == "by the data"}
    assert by_data == {"image_size", "batch_size", "max_epochs", "augment"}
    assert "image_size=64, batch_size=32, max_epochs=20" in composed.chosen


def test_fields_that_do_not_fit_each_other_are_refused():
    asked = Asked("photos", {"leaf_shrink": 0.5})
    with pytest.raises(UsageError, match="exclude each other"):
        compose(asked, None, "photos").resolved(FACTS)


def test_every_field_is_listed_with_value_and_source():
    composed = compose(Asked(None, {"beam_width": 3}), None, "photos")
    text = "\n".join(lines(composed))
    for name in fields.fields():
        assert f"\n  {name} " in text
    assert "(given) Most children that run" in text
    assert text.startswith("recipe photos: Photos of any number of classes")
