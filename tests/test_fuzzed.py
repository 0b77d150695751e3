"""Nonsense in flags: one line and exit status 1 or 2, never a traceback.

`run_main` lets every other end of a binary fail the test. Nothing here may
train: TensorFlow does not even start.
"""

import importlib
import pathlib
import pkgutil

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

import hierkeras
from hierkeras import evaluate, export, increment, predict, report, serve
from hierkeras._errors import UsageError
from hierkeras.recipe import fields
from hierkeras.training import startup

# Each ends with an error before TensorFlow starts, whatever one more flag is.
BINARIES = {
    increment: ("--workdir=fuzzed", "--dataset=folder:no such folder"),
    evaluate: ("--workdir=fuzzed",),
    export: ("--workdir=fuzzed",),
    report: ("--workdir=fuzzed",),
    serve: ("--workdir=unused", "--model_base_path=fuzzed"),
    predict: ("--workdir=unused", "--saved_model=fuzzed", "no such image"),
}
HOSTILE = (
    *("", " ", "nan", "-nan", "inf", "-inf", "1e308", "1e-320", "1e400"),
    *("-1", "0", "-0", "0.0", "1.5", str(10**30), str(-(10**30)), "9" * 5000),
    *("0x10", "1_000", "١٢", "1,,2", ",", ",".join("1" * 500), "true", "None"),
    *("x" * 300, "x" * 5000, "é", "🐝", "\u202e", "\x1b[31m", "a\nb", "a\r\tb"),
    *("\udcff", "a\udc80b", "../x", "/", "/dev/null", "tests", "README.md"),
    *("digits:x", "folder:", "folder:tests/../..", "npz:README.md", "npz:/"),
    *("'", '"', "$(touch x)", "{}", "%s%n", "--", "gs:/x", "\\", "CON"),
)


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    """Whoever would start TensorFlow, and so train or serve, fails."""

    def refuse(*arguments):
        raise AssertionError("TensorFlow would start")

    monkeypatch.setattr(startup, "start_tensorflow", refuse)
    monkeypatch.setattr(startup, "starting", refuse)
    monkeypatch.setattr(serve, "_NEEDED", ("no_such_package",))


def names(binary):
    return [
        flag.name
        for flag in flags.FLAGS.get_key_flags_for_module(binary)
        if flag.name.isidentifier()
    ]


def check_ends_well(outcome):
    assert outcome.status in (1, 2), outcome
    outcome.check_refused(outcome.status)
    assert outcome.stderr[:-1].isprintable()
    assert len(outcome.stderr) < 2100


def test_every_binary_is_fuzzed():
    """One that is new joins `BINARIES`, or says here why not."""
    found = {
        module.name
        for module in pkgutil.iter_modules(hierkeras.__path__)
        if not module.ispkg and not module.name.startswith("_")
    }
    fuzzed = {binary.__name__.split(".")[-1] for binary in BINARIES}
    assert found - fuzzed <= {"doctor"}  # whose only flags are the others'
    for name in found:
        importlib.import_module(f"hierkeras.{name}")


@pytest.mark.parametrize("binary", BINARIES, ids=lambda b: b.__name__)
def test_hostile_values(run_main, binary):
    assert len(names(binary)) > 5
    before = sorted(pathlib.Path().iterdir())
    for name in names(binary):
        for value in HOSTILE:
            check_ends_well(
                run_main(binary, *BINARIES[binary], f"--{name}={value}")
            )
    assert sorted(pathlib.Path().iterdir()) == before


@pytest.mark.parametrize("binary", BINARIES, ids=lambda b: b.__name__)
@settings(max_examples=50)
@given(data=st.data())
def test_any_value(run_main, binary, data):
    numbers = st.one_of(st.integers(), st.floats()).map(str)
    value = data.draw(st.one_of(st.text(), numbers))
    name = data.draw(st.sampled_from(names(binary)))
    check_ends_well(run_main(binary, *BINARIES[binary], f"--{name}={value}"))


@pytest.mark.parametrize("binary", [increment, evaluate, export])
@given(data=st.data())
def test_any_field_set_to_anything(run_main, binary, data):
    name = data.draw(st.sampled_from([*fields.fields(), "", "x", "\0"]))
    sign = data.draw(st.sampled_from(["=", "", "==", " = "]))
    value = data.draw(st.one_of(st.sampled_from(HOSTILE), st.text()))
    check_ends_well(
        run_main(binary, *BINARIES[binary], f"--set={name}{sign}{value}")
    )


@pytest.mark.parametrize("name", fields.fields())
def test_a_hostile_value_of_a_field_is_valid_or_told(name):
    field = fields.find(name)
    for value in HOSTILE:
        # What is no UTF-8 gets no further than `_main`.
        text = value.encode(errors="replace").decode()
        try:
            field.parse(text)
        except UsageError as error:
            assert field.valid in str(error)


OUT_OF_BOUNDS = {
    "width_multiplier": ("nan", "inf", "0", "-1", "1e308"),
    "dropout": ("nan", "1", "-0.1"),
    "initial_learning_rate": ("nan", "inf", "0", "1e308"),
    "momentum": ("nan", "1"),
    "weight_decay": ("nan", "inf", "-1"),
    "warmup_epochs": ("nan", "inf", "-1"),
    "min_error_drop": ("nan", "2"),
    "learning_rate_cut_factor": ("nan", "inf", "0.5"),
    "validation_fraction": ("nan", "inf", "-0.1", "0.9"),
    "test_fraction": ("nan", "-0.1"),
    "significance": ("nan", "-0.1", "1.1"),
    "min_gain_per_doubling": ("nan", "-0.1", "1.1"),
    "flat_share": ("nan", "inf", "0", "-1"),
    "leaf_share": ("nan", "inf", "0", "-1"),
    "refine_share": ("nan", "inf", "0", "-1"),
    "shrink": ("nan", "0", "1.1"),
    "perturb": ("nan", "-0.1", "1.1"),
    "leaf_shrink": ("nan", "0", "1.1"),
    "leaf_perturb": ("nan", "-0.1", "1.1"),
    "flat_distillation": ("nan", "inf", "-1"),
    "max_old_class_regression": ("nan", "2"),
    "image_size": ("-1", str(10**9)),
    "batch_size": ("-1", str(10**12)),
    "max_epochs": ("-1", "0.5", str(10**30)),
    "samples_per_check": ("0", str(10**30)),
    "validation_samples": ("0", str(10**30)),
    "patience": ("0", str(10**30)),
    "learning_rate_cuts": ("-1", str(10**30)),
    "min_classes_to_clone": ("-1", "1", str(10**30)),
    "num_superclasses": ("-1", "1", str(10**30)),
    "memory_per_class": ("-1", str(10**30)),
    "leaf_layers": ("-1", str(10**30)),
    "seed": ("-1", str(2**32)),
    "class_seed": ("-2", str(10**30)),
    "num_workers": ("-1", str(10**9)),
    "gpus_per_job": ("0", str(10**9)),
    "max_bad_images": ("-1", str(10**30)),
    "beam_width": ("0", str(10**30)),
    "probes": ("-1", str(10**30)),
    "contention": ("nan", "-0.1", "1.1"),
    "top": ("0", str(10**30)),
    "max_pixels": ("0", str(10**30)),
    "keep_versions": ("-1", str(10**30)),
    "crops": ("-1", "101"),
    "shrinkage": ("-0.1", "1.1", "nan"),
    "feature_depths": ("-1", "101"),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_a_number_out_of_bounds_is_a_usage_error(run_main, tmp_path, name):
    # A field is reached by --set, whether it has a flag of its own or not.
    field = fields.fields().get(name)
    # A flag that --help leaves out is no key flag.
    ways = [name] if name in names(increment) or not field else []
    if field:
        ways.append(f"set={name}")
    assert ways
    for way in ways:
        for value in OUT_OF_BOUNDS[name]:
            outcome = run_main(
                increment,
                f"--workdir={tmp_path / 'new'}",
                "--dataset=digits",
                f"--{way}={value}",
            )
            outcome.check_refused(2, name)
            if field and (name, value) != ("num_superclasses", "1"):
                assert f"takes {field.valid}. " in outcome.stderr


def test_every_number_has_bounds():
    for binary in BINARIES:
        for flag in flags.FLAGS.get_key_flags_for_module(binary):
            if isinstance(flag.parser, flags.FloatParser | flags.IntegerParser):
                if flag.name in ("generation", "against"):
                    continue  # refused where it is more than there are
                assert flag.parser.lower_bound is not None, flag.name
                assert flag.parser.upper_bound is not None, flag.name
    numbers = {
        name
        for name, field in fields.fields().items()
        if not field.values and field.valid
    }
    assert numbers <= OUT_OF_BOUNDS.keys()


FLAG_FILES = {
    "missing": None,
    "binary": bytes(range(256)),
    "utf-16": "--seed=1".encode("utf-16"),
    "zeros": b"\0" * 100,
    "a flag without a value": b"--seed\n",
    "an argument": b"surplus\n",
    "a missing one inside": b"--flagfile=missing\n",
    "a name no system takes": b"--flagfile=a\0b\n",
    "an unknown flag": b"--\xc3\xa9=1\n",
    "a long line": b"--seed=" + b"1" * 10**6,
}


@pytest.mark.parametrize("content", FLAG_FILES.values(), ids=FLAG_FILES)
@pytest.mark.parametrize("binary", BINARIES, ids=lambda b: b.__name__)
def test_hostile_flag_files(run_main, tmp_path, binary, content):
    path = tmp_path / "flags"
    if content is not None:
        path.write_bytes(content)
    check_ends_well(run_main(binary, f"--flagfile={path}"))


def test_a_folder_as_a_flag_file(run_main, tmp_path):
    check_ends_well(run_main(increment, f"--flagfile={tmp_path}"))


def test_a_flag_file_that_includes_itself(run_main, tmp_path):
    path = tmp_path / "flags"
    path.write_text(f"--flagfile={path}\n--seed=x\n")
    outcome = run_main(increment, f"--flagfile={path}")
    assert outcome.status == 2
    warning, error = outcome.stderr.splitlines()
    assert "circular" in warning
    assert error.startswith("error: flag --seed=x")


CLASS_LISTS = {
    "binary": bytes(range(256)),
    "empty": b"",
    "blank": b"\n \n\t\n",
    "unknown": b"../x\n",
    "twice": b"1\n1\n",
    "zeros": b"1\0\n",
    "long": b"1" * 10**6,
    "escapes": b"\x1b[31m",
}


@pytest.mark.parametrize("content", CLASS_LISTS.values(), ids=CLASS_LISTS)
def test_hostile_class_lists(run_main, tmp_path, content):
    (tmp_path / "list").write_bytes(content)
    check_ends_well(
        run_main(
            increment,
            f"--workdir={tmp_path / 'new'}",
            "--dataset=digits",
            f"--class_list={tmp_path / 'list'}",
        )
    )
    assert not (tmp_path / "new").exists()
