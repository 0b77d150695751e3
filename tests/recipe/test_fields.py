"""Fields by name: parsing, bounds, and what a new one needs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hierkeras
from hierkeras._errors import UsageError
from hierkeras.recipe import fields
from hierkeras.recipe.recipe import Recipe

PACKAGE = Path(hierkeras.__file__).parent


def test_names_and_flags_are_unique_in_the_whole_recipe():
    sections = Recipe.__struct_fields__
    names = [
        name
        for section in sections
        for name in getattr(Recipe(), section).__struct_fields__
    ]
    assert sorted(fields.fields()) == sorted(names)
    named = [f.flag for f in fields.fields().values() if f.flag]
    assert len(named) == len(set(named))
    # A flag may have another name than its field, but no other field's.
    for field in fields.fields().values():
        assert field.flag in ("", field.name) or (
            field.flag not in fields.fields()
        )


def test_every_field_says_what_it_means_and_what_it_takes():
    for field in fields.fields().values():
        assert field.meaning.endswith(".")
        assert field.valid or isinstance(field.default, str)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("batch_size", "64", 64),
        ("batch_size", " 64 ", 64),
        ("shrink", "1", 1.0),
        ("momentum", "0.5", 0.5),
        ("calibrate", "false", False),
        ("leaves", "after", "after"),
        ("backbone_weights", "some file.h5", "some file.h5"),
        ("dropout", "0.25", 0.25),
    ],
)
def test_a_text_becomes_a_value_of_the_fields_type(name, text, value):
    parsed = fields.fields()[name].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)
    assert fields.value(fields.changed(Recipe(), {name: parsed}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("batch_size", "-1", "a whole number from 0 to 1048576"),
        ("batch_size", "1.5", "a whole number"),
        ("momentum", "nan", "a number from 0 to 0.999"),
        ("momentum", "1", "a number from 0 to 0.999"),
        ("shrink", "0", "a number from 0.01 to 1"),
        ("initial_learning_rate", "inf", "a number from 1e-12 to 1000"),
        ("leaves", "before", "after, beside or together"),
        ("increments", "", "growth takes clone, compete or flat"),
        ("calibrate", "perhaps", "true or false"),
        ("dropout", "1", "a number from 0 to 0.999"),
    ],
)
def test_what_makes_no_sense_is_told_with_what_would(name, text, said):
    with pytest.raises(UsageError) as error:
        fields.fields()[name].parse(text)
    assert said in str(error.value)
    assert repr(text) in str(error.value)


@given(st.text())
def test_no_text_breaks_the_parsing(text):
    for field in fields.fields().values():
        try:
            field.parse(text)
        except UsageError as error:
            assert field.valid in str(error)


def test_a_field_is_found_by_its_name_and_by_its_flag():
    assert fields.find("rule") is fields.find("routing")
    with pytest.raises(UsageError, match="no field 'contenton'; valid are"):
        fields.find("contenton")
    with pytest.raises(UsageError, match="valid are rule, beam_width"):
        fields.find("batch_size", ("routing",))


def test_changing_fields_leaves_the_others():
    changed = fields.changed(Recipe(), {"batch_size": 7, "rule": "soft"})
    others = [n for n in fields.fields() if n not in ("batch_size", "rule")]
    assert all(
        fields.value(changed, n) == fields.value(Recipe(), n) for n in others
    )
    assert (changed.training.batch_size, changed.routing.rule) == (7, "soft")


NEW_FIELD = """
    probe: Annotated[
        int, option("Seconds of nothing.", 0, 9, flag="probe")
    ] = 0
"""
JOB = """
import sys, msgspec
from hierkeras.training.results import JobResult
result = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=JobResult)
training = msgspec.structs.replace(result.spec.training, probe=0)
print(result.job, msgspec.structs.replace(result.spec, training=training).job)
"""


@pytest.mark.slow
def test_a_new_field_is_on_the_command_line_in_the_file_and_in_the_job(
    tmp_path,
):
    copy = tmp_path / "hierkeras"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.pyc"))
    training = copy / "recipe" / "training.py"
    training.write_text(training.read_text() + NEW_FIELD)

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("-m", "hierkeras.increment", "--help")
    assert "--probe  Seconds of nothing. Valid: a whole number from 0" in said
    run(
        *("-m", "hierkeras.increment", "--dataset=digits", "--workdir=w"),
        *("--probe=7", "--class_batches=2", "--max_epochs=1", "--noexport"),
        "--width_multiplier=0.25",
    )
    recorded = json.loads((tmp_path / "w/generations/000001.json").read_text())
    assert recorded["settings"]["recipe"]["training"]["probe"] == 7
    (folder,) = (tmp_path / "w" / "models").iterdir()
    with_it, without = run("-c", JOB, str(folder / "job.json")).split()
    assert with_it == folder.name != without
