"""What is left out of a context, which itself stays as it is."""

import pytest

from hierkeras._errors import UserError
from hierkeras.data.source import DataConfig
from tests import builders
from tests.conftest import write_images


@pytest.fixture
def context(tmp_path):
    return builders.open_context(tmp_path)


def keys(context, name):
    rows = context.catalogue.indices("train", [name])
    return context.catalogue.keys[rows].tolist()


def test_of_a_class_with_exemplars_only_training_images_are_forgotten(context):
    before = context.catalogue.counts(["0", "6"])
    kept = tuple(keys(context, "0")[:3])

    left = context.keeping({"0": kept, "no such class": ()})

    assert keys(left, "0") == list(kept)
    assert left.catalogue.counts(["0", "6"]) == (
        before | {"0": before["0"] | {"train": 3}}
    )
    assert keys(builders.without(left, kept[:1]), "0") == list(kept[1:])
    # What was kept takes the place of what was kept before.
    assert left.keeping({}).catalogue.counts(["0", "6"]) == before
    assert context.catalogue.counts(["0", "6"]) == before


def test_what_is_left_out_stays_out(context):
    first, second, *others = keys(context, "0")

    left = builders.without(builders.without(context, [second]), [first])

    assert set(left.config.unreadable) == {first, second}
    assert keys(left, "0") == others
    assert keys(left.keeping({}), "0") == others
    assert (context.config.unreadable, keys(context, "0")[0]) == ({}, first)


def test_a_step_leaves_out_what_it_recorded(context):
    first, _, third, *_ = keys(context, "0")
    row = context.catalogue.keys.tolist().index(first)
    step = builders.step(
        unreadable_images={first: context.catalogue.digest(row)},
        exemplars={"0": (first, third)},
    )

    assert keys(context.left_by(step), "0") == [third]
    assert context.left_by(None) is context
    assert context.left_by(builders.step()) is context


def test_contexts_that_differ_little_share_their_decoded_images(context):
    left = builders.without(context, keys(context, "0")[:1]).keeping({"1": ()})

    assert left.images is context.images
    assert left.source is context.source


def test_a_key_that_nothing_could_record_is_refused(context):
    with pytest.raises(UserError, match=r"'a\\udcff.png' cannot be read") as e:
        context.without({"a\udcff.png": "1"})

    assert "\n" not in str(e.value)


def test_names_of_files_have_no_part_in_the_order_that_a_job_learns_in(
    tmp_path,
):
    folder = tmp_path / "images"
    for seed, name in enumerate(("ant", "bee")):
        write_images(folder / name, range(9), seed)
    # The same picture in two classes.
    first = (folder / "ant" / "0.png").read_bytes()
    (folder / "bee" / "0.png").write_bytes(first)

    def learnt():
        data = DataConfig(f"folder:{folder}")
        context = builders.open_context(tmp_path / "workdir", data=data)
        rows, labels = context.samples("train", ("bee", "ant"))
        files = [folder / key for key in context.catalogue.keys[rows]]
        spec = context.catalogue.fingerprint(("ant", "bee"))
        return spec, [f.read_bytes() for f in files], labels.tolist()

    before = learnt()
    for file in list(folder.rglob("*.png")):
        file.rename(file.with_name(f"{9 - int(file.stem)}_renamed.png"))

    assert learnt() == before
