"""Damaged and forged files of a work directory: one line, never a traceback.

Damage by chance is found by check sums. What is forged here has the right
sums, and is refused for what it says.
"""

import copy
import hashlib
import io
import json
import os
import re
import shutil
import sys
import zipfile

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hierkeras import evaluate, export, increment
from hierkeras._errors import UserError
from hierkeras.recipe import remembered
from hierkeras.training import results
from hierkeras.tree import generation as generations
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

BINARIES = (evaluate, export, increment)
LONG = 10**30


@pytest.fixture(scope="module")
def grown(digits_tree, tmp_path_factory):
    """A copy of a work directory of two generations, the second a branch."""
    root = tmp_path_factory.mktemp("forged") / "workdir"
    skipped = shutil.ignore_patterns("tensorboard", "serving")
    shutil.copytree(digits_tree.workdir, root, ignore=skipped)
    return Store(root)


@pytest.fixture
def generation(grown):
    """The file of the latest generation; put back when the test ends."""
    path = grown.generations / "000002.json"
    before = path.read_bytes()
    yield path
    if path.exists() and path.is_dir():
        path.rmdir()
    path.write_bytes(before)


def forge(path, change):
    """Changes what a generation says, and gives it the sum for that."""
    raw = json.loads(path.read_bytes())
    raw.pop("sha256", None)
    change(raw)
    try:
        text = generations.to_json(msgspec.convert(raw, Generation))
        total = json.loads(text)["sha256"]
    except (msgspec.ValidationError, RecursionError):
        total = "0" * 64  # it is refused before that
    path.write_bytes(json.dumps(raw | {"sha256": total}).encode())


def check_refused(run_main, store, *named):
    for binary in BINARIES:
        outcome = run_main(binary, f"--workdir={store.root}")
        assert outcome.status in (1, 2), (binary, outcome)
        outcome.check_refused(outcome.status, *named)


def read_whole(store):
    """Reads the generation as the binaries do."""
    found = store.read(2)
    recorded = remembered.read(found)
    results.check_jobs(store, found, recorded.recipe.network.image_size)


def test_forging_alone_is_not_noticed(grown, generation):
    forge(generation, lambda raw: raw["step"].update(seconds=12345.0))
    assert grown.read(2).step.seconds == 12345.0


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


DAMAGE = {
    "empty": b"",
    "zeros": b"\0" * 1000,
    "no utf-8": b'{"number": "\xff"}',
    "a list": b"[1, 2]",
    "null": b"null",
    "a number": b"2",
    "NaN": b'{"number": NaN}',
    "a huge number": b'{"number": 1e999}',
    "a long number": b'{"number": ' + b"9" * 5000 + b"}",
    "deep objects": nested(100_000),
    "deep lists": b"[" * 100_000,
    "half a surrogate": b'{"number": "\\ud800"}',
    "nothing": b"{}",
    "a key twice": b'{"number": 1, "number": 2}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_generation_file_of_something_else(
    run_main, grown, generation, content
):
    generation.write_bytes(content)
    check_refused(run_main, grown, "000002.json")


def test_a_folder_where_a_generation_should_be(run_main, grown, generation):
    generation.unlink()
    generation.mkdir()
    check_refused(run_main, grown, "000002.json")


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_generation_file_damaged_anywhere(grown, generation, data):
    whole = generation.read_bytes()
    expected = grown.read(2)
    place = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(("flip", "cut", "insert", "repeat")))
    damaged = bytearray(whole)
    if kind == "flip":
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del damaged[place:]
    elif kind == "insert":
        damaged[place:place] = data.draw(st.binary(min_size=1, max_size=9))
    else:
        damaged += whole[place:]
    generation.write_bytes(bytes(damaged))
    try:
        found = grown.read(2)
    except UserError as error:
        assert "000002.json" in str(error)
    else:
        assert found == expected  # only what stands between the words
    finally:
        generation.write_bytes(whole)


def root(raw):
    return raw["tree"]["root"]


def child(raw):
    return root(raw)["children"][0]


def recipe(raw):
    return raw["settings"]["recipe"]


def network(raw):
    return recipe(raw)["network"]


def routing(raw):
    return recipe(raw)["routing"]


def data(raw):
    return raw["settings"]["data"]


FORGED = {
    "a job that is a path": lambda raw: child(raw).update(job="../../x"),
    "a job that is an absolute path": lambda raw: root(raw).update(job="/etc"),
    "a job of another letter": lambda raw: root(raw).update(job="A" * 16),
    "a job with an end of line": lambda raw: root(raw).update(job="ab\n"),
    "no job": lambda raw: root(raw).update(job=""),
    "a job that is not there": lambda raw: root(raw).update(job="0" * 16),
    "a job of another node": lambda raw: root(raw).update(
        job=child(raw)["job"]
    ),
    "a node that is a path": lambda raw: child(raw).update(name="../x"),
    "a node below none": lambda raw: child(raw).update(name="root.x"),
    "a node twice": lambda raw: child(raw).update(name="root"),
    "a node without classes": lambda raw: child(raw).update(classes=[]),
    "classes in another order": lambda raw: child(raw)["classes"].reverse(),
    "other classes": lambda raw: child(raw).update(classes=["x", "y"]),
    "a class of a number": lambda raw: child(raw)["classes"].append(3),
    "an only child": lambda raw: root(raw)["children"].pop(),
    "NaN": lambda raw: root(raw).update(fusion_exponent="NaN"),
    "an exponent above 1": lambda raw: root(raw).update(fusion_exponent=2),
    "an answer's temperature of 0": lambda raw: raw["tree"].update(
        temperatures={"hard": 1, "soft": 0, "fused": 1}
    ),
    "a rule without temperature": lambda raw: raw["tree"]["temperatures"].pop(
        "soft"
    ),
    "another number": lambda raw: raw.update(number=3),
    "no number": lambda raw: raw.update(number=None),
    "its own parent": lambda raw: raw.update(parent=2),
    "a later parent": lambda raw: raw.update(parent=7),
    "a parent below 1": lambda raw: raw.update(parent=-1),
    "a step with a strange class": lambda raw: raw["step"].update(
        new_classes=["x"]
    ),
    "a decision about no node": lambda raw: raw["step"]["decisions"][0].update(
        node="root.7"
    ),
    "a decision that is a path": lambda raw: raw["step"]["decisions"][0].update(
        node="../../x"
    ),
    "a decision about other classes": lambda raw: raw["step"]["decisions"][0][
        "flat"
    ].update(classes=["x"]),
    "a use of a path": lambda raw: raw["step"]["jobs"][0].update(job="../x"),
    "no settings": lambda raw: raw.update(settings={}),
    "no recipe": lambda raw: raw["settings"].pop("recipe"),
    "no preset": lambda raw: raw["settings"].pop("preset"),
    "no kind": lambda raw: raw["settings"].pop("kind"),
    "one setting more": lambda raw: raw["settings"].update(colour="red"),
    "one section more": lambda raw: recipe(raw).update(colour={}),
    "one network setting more": lambda raw: network(raw).update(colour="red"),
    "one data setting more": lambda raw: data(raw).update(colour="red"),
    "an image size of text": lambda raw: network(raw).update(image_size="64"),
    "an image size below 1": lambda raw: network(raw).update(image_size=-1),
    "an image size of half": lambda raw: network(raw).update(image_size=8.5),
    "a huge image size": lambda raw: network(raw).update(image_size=10**9),
    "another image size": lambda raw: network(raw).update(image_size=16),
    "an unknown backbone": lambda raw: network(raw).update(backbone="../x"),
    "no width": lambda raw: network(raw).update(width_multiplier=0),
    "a recipe of a list": lambda raw: raw["settings"].update(recipe=[1]),
    "a batch below 1": lambda raw: recipe(raw)["training"].update(
        batch_size=-1
    ),
    "a rate of text": lambda raw: recipe(raw)["training"].update(
        initial_learning_rate="0.1"
    ),
    "an unknown growth": lambda raw: recipe(raw)["growth"].update(
        increments="x"
    ),
    "fields that do not fit": lambda raw: recipe(raw)["growth"].update(
        leaves="together", memory_per_class=5, increments="clone"
    ),
    "no pixels": lambda raw: recipe(raw)["serving"].update(max_pixels=0),
    "an unknown rule": lambda raw: routing(raw).update(rule="x"),
    "no beam": lambda raw: routing(raw).update(beam_width=0),
    "a huge beam": lambda raw: routing(raw).update(beam_width=2**62),
    "a contention above 1": lambda raw: routing(raw).update(contention=2),
    "settings of a list": lambda raw: raw.update(settings=[1]),
    "data of a list": lambda raw: raw["settings"].update(data=[1]),
    "a class list of text": lambda raw: data(raw).update(class_list="x"),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_generation_is_refused(run_main, grown, generation, change):
    forge(generation, change)
    check_refused(run_main, grown)
    with pytest.raises(UserError) as caught:
        read_whole(grown)
    assert "not what was written" not in str(caught.value)  # the sum is right


@pytest.mark.parametrize("dataset", ["x", "folder:/nowhere", "npz:.", ""])
def test_a_forged_data_set_is_refused(run_main, grown, generation, dataset):
    forge(generation, lambda raw: data(raw).update(dataset=dataset))
    check_refused(run_main, grown)


def paths(value, here=()):
    """Where there is anything in a JSON value."""
    yield here
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in items:
            yield from paths(below, (*here, key))


NONSENSE = (
    *(None, True, "", "x", "../x", "\x1b[31m\n", 0, -1, 2**62, 1.5, 1e308),
    *([], ["x"], {}, {"x": 1}, [[[]]]),
)


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_nonsense_anywhere_is_refused_or_harmless(grown, generation, data):
    whole = generation.read_bytes()
    raw = json.loads(whole)
    raw.pop("sha256", None)
    *above, last = data.draw(st.sampled_from([p for p in paths(raw) if p]))
    nonsense = copy.deepcopy(data.draw(st.sampled_from(NONSENSE)))

    def change(raw):
        for key in above:
            raw = raw[key]
        if data.draw(st.booleans()):
            raw[last] = nonsense
        else:
            del raw[last]

    try:
        forge(generation, change)
        read_whole(grown)
    except UserError as error:
        assert "job" in str(error) or "000002.json" in str(error)
    finally:
        generation.write_bytes(whole)


@pytest.mark.parametrize(
    "content",
    [b"", b"two", b"-1", b"\xff\xfe2", b"9" * 5000, b"1e3", b"../2", b"2\n3"],
)
def test_a_damaged_pointer(run_main, grown, content):
    pointer = grown.root / "LATEST"
    before = pointer.read_bytes()
    pointer.write_bytes(content)
    try:
        check_refused(run_main, grown, "LATEST")
    finally:
        pointer.write_bytes(before)


# Files of jobs.


@pytest.fixture
def job(grown):
    """The folder of a leaf's job; put back when the test ends."""
    name = grown.read(2).tree.leaves[0].job
    folder = grown.job_folder(name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    yield folder
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    for file, content in before.items():
        (folder / file).write_bytes(content)


def put(folder, name, content):
    """Replaces a file of a job, and its sum."""
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    sums = (folder / results.SUMS_FILE).read_text()
    old, new = (hashlib.sha256(raw).hexdigest() for raw in (before, content))
    (folder / results.SUMS_FILE).write_text(sums.replace(old, new))


def check_job_refused(grown, folder, read):
    with pytest.raises(UserError) as caught:
        read(grown, folder.name)
    assert f"job {folder.name} in {grown.models}" in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_job_file_of_something_else(run_main, grown, job, content):
    put(job, results.JOB_FILE, content)
    check_refused(run_main, grown, job.name)


@pytest.mark.parametrize(
    "content", [v for k, v in DAMAGE.items() if k != "a list"]
)
def test_a_history_of_something_else(grown, job, content):
    put(job, results.HISTORY_FILE, content)
    check_job_refused(grown, job, results.read_history)


SUMS = {
    "empty": b"",
    "no utf-8": b"\xff" * 66,
    "zeros": b"\0" * 66,
    "no sums": b"x\n" * 3,
    "paths": b"0" * 64 + b"  ../../../etc/passwd\n",
}


@pytest.mark.parametrize("content", SUMS.values(), ids=SUMS)
def test_sums_of_something_else(run_main, grown, job, content):
    (job / results.SUMS_FILE).write_bytes(content)
    check_refused(run_main, grown, job.name)


@pytest.mark.parametrize("name", [results.JOB_FILE, results.SUMS_FILE])
def test_a_folder_where_a_job_s_file_should_be(run_main, grown, job, name):
    (job / name).unlink()
    (job / name).mkdir()
    check_refused(run_main, grown, job.name)


def test_a_file_where_a_job_should_be(run_main, grown, job):
    shutil.rmtree(job)
    job.write_bytes(b"")
    check_refused(run_main, grown, job.name)
    job.unlink()


def spec_of(folder):
    return json.loads((folder / results.JOB_FILE).read_bytes())


FORGED_JOBS = {
    "another spec": lambda raw: raw["spec"]["training"].update(seed=7),
    "a path": lambda raw: raw["spec"]["start"].update(parent="../x"),
    "an unknown start": lambda raw: raw["spec"]["start"].update(kind="x"),
    "classes of numbers": lambda raw: raw["spec"].update(classes=[1]),
    "NaN": lambda raw: raw["measured"].update(loss="NaN"),
    "no spec": lambda raw: raw.pop("spec"),
    "one thing more": lambda raw: raw.update(colour="red"),
    "versions of a list": lambda raw: raw.update(versions=[]),
}


@pytest.mark.parametrize("change", FORGED_JOBS.values(), ids=FORGED_JOBS)
def test_a_forged_job_is_refused(run_main, grown, job, change):
    raw = spec_of(job)
    change(raw)
    put(job, results.JOB_FILE, json.dumps(raw).encode())
    check_refused(run_main, grown, job.name)


# Models: what a file may make Keras do.


def rezipped(content, **entries):
    """A model's file with some of its entries replaced."""
    names = {name.replace("__", "."): raw for name, raw in entries.items()}
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(made, "w") as new,
    ):
        for name in old.namelist():
            if name not in names:
                new.writestr(name, old.read(name))
        for name, raw in names.items():
            if raw is not None:
                new.writestr(name, raw)
    return made.getvalue()


def config_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return json.loads(file.read("config.json"))


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that only code of a model's file would make.

    Whoever imports or calls something of `evil` makes it.
    """
    made = tmp_path / "evil was here"
    (tmp_path / "evil.py").write_text(
        "import pathlib\n"
        f"MADE = pathlib.Path({str(made)!r})\n"
        "MADE.write_text('imported')\n"
        "class Evil:\n"
        "    def __init__(self, *a, **k): MADE.write_text('called')\n"
        "    from_config = classmethod(lambda cls, config: cls())\n"
        "def run(*a, **k): MADE.write_text('called')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return made


def of_class(module, name, config=None, registered=None):
    return {
        "module": module,
        "class_name": name,
        "config": config or {},
        "registered_name": registered,
    }


def function(module, name):
    return of_class(module, "function", name, name)


EVIL_CONFIGS = {
    "a class": of_class("evil", "Evil"),
    "a registered class": of_class("evil", "Evil", {}, "evil>Evil"),
    "a function": function("evil", "run"),
    "a dotted class": of_class("keras.evil", "Evil"),
    "a relative class": of_class("keras..evil", "Evil"),
    "keras_hub": of_class("keras_hub.evil", "Evil"),
    "os": of_class("os", "system", "touch {marker}"),
    "builtins": function("builtins", "exec"),
    "subprocess": of_class("subprocess", "Popen", {"args": "touch {marker}"}),
    "of keras, what it imports": of_class("keras.src.utils.file_utils", "os"),
    "a download": function("keras.utils", "get_file"),
    "unsafe mode": function("keras.config", "enable_unsafe_deserialization"),
    "another model": of_class(
        "keras.saving", "load_model", {"filepath": "{marker}.keras"}
    ),
    "a saved model": of_class(
        "keras.layers", "TFSMLayer", {"filepath": "{marker}"}
    ),
    "another program's pickle": of_class(
        "keras.layers", "TorchModuleWrapper", {"module": "{marker}"}
    ),
    "a file of words": of_class(
        "keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}
    ),
    "a layer": of_class("keras.layers", "Dense", {"units": 3}),
    "no class": {"class_name": None},
    "a list": [1, 2],
    "a number": 7,
    "null": None,
}


def layer_in(config, evil):
    """A network's configuration with one more layer in its middle."""
    config = copy.deepcopy(config)
    layers = config["config"]["layers"]
    layers[1] = {**layers[1], **evil}
    return config


def marking(evil, marker):
    return json.loads(
        json.dumps(evil).replace("{marker}", str(marker).replace("\\", "/"))
    )


@pytest.mark.parametrize(
    ("evil", "inside"),
    [
        pytest.param(evil, inside, id=f"{name}-{where}")
        for name, evil in EVIL_CONFIGS.items()
        for where, inside in (("whole", False), ("layer", True))
        # What is no dictionary can take no layer's place.
        if isinstance(evil, dict) or not inside
    ],
)
def test_a_model_file_runs_nothing_and_imports_nothing(
    grown, job, marker, evil, inside
):
    content = (job / results.MODEL_FILE).read_bytes()
    config = marking(evil, marker)
    if inside:
        config = layer_in(config_of(content), config)
    forged = rezipped(content, config__json=json.dumps(config))
    put(job, results.MODEL_FILE, forged)
    results.load_model(grown, grown.read(2).tree.leaves[1].job)
    before = set(sys.modules)  # with all that a model needs

    check_job_refused(grown, job, results.load_model)

    assert not marker.exists()
    assert "evil" not in sys.modules
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    assert new <= {"keras", "tensorflow"}


def test_a_lambda_layer_runs_nothing(grown, job, marker):
    import keras

    path = str(marker)
    images = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(images)
    evil = keras.layers.Lambda(
        lambda x: os.mkdir(path) or x, output_shape=(192,)
    )
    count = len(results.read(grown, job.name).spec.classes)
    logits = keras.layers.Dense(count, name="logits")(evil(flat))
    file = marker.with_suffix(".keras")
    network = keras.Model(images, logits)
    network.save(file)
    network(np.zeros((1, 8, 8, 3)))
    marker.rmdir()  # so much for a layer that runs
    put(job, results.MODEL_FILE, file.read_bytes())

    line = check_job_refused(grown, job, results.load_model)

    assert "Lambda" in line or "lambda" in line
    assert not marker.exists()


class Pickled:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_for_weights_runs_nothing(grown, job, marker):
    content = (job / results.MODEL_FILE).read_bytes()
    weights = io.BytesIO()
    np.savez(weights, **{"layers/dense": np.array([Pickled(marker)], object)})
    np.load(io.BytesIO(weights.getvalue()), allow_pickle=True)["layers/dense"]
    assert marker.exists()  # so much for a pickle
    marker.unlink()
    forged = rezipped(
        content,
        model__weights__h5=None,
        **{"model.weights.npz": weights.getvalue()},
    )
    put(job, results.MODEL_FILE, forged)

    check_job_refused(grown, job, results.load_model)

    assert not marker.exists()


def test_an_archive_writes_nowhere_else(grown, job, marker):
    content = (job / results.MODEL_FILE).read_bytes()
    up = "../" * 20 + str(marker).lstrip("/")
    forged = rezipped(
        content, **{up: b"1", str(marker): b"1", f"assets/{up}": b"1"}
    )
    put(job, results.MODEL_FILE, forged)
    try:
        results.load_model(grown, job.name)  # the rest of it is a model
    except UserError as error:
        assert job.name in str(error)
    assert not marker.exists()


BAD_MODELS = {
    "empty": lambda content: b"",
    "text": lambda content: b"no archive",
    "cut": lambda content: content[: len(content) // 2],
    "no configuration": lambda c: rezipped(c, config__json=None),
    "an empty configuration": lambda c: rezipped(c, config__json=b""),
    "a deep configuration": lambda c: rezipped(c, config__json=nested(10**5)),
    "no utf-8": lambda c: rezipped(c, config__json=b'"\xff"'),
    "no weights": lambda c: rezipped(c, **{"model.weights.h5": None}),
    "empty weights": lambda c: rezipped(c, **{"model.weights.h5": b""}),
    "weights of text": lambda c: rezipped(c, **{"model.weights.h5": b"x" * 99}),
    "half of the weights": lambda c: rezipped(
        c, **{"model.weights.h5": zipped_weights(c)[:5000]}
    ),
}


def zipped_weights(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.read("model.weights.h5")


@pytest.mark.parametrize("change", BAD_MODELS.values(), ids=BAD_MODELS)
def test_a_bad_model_file_is_named(grown, job, change):
    content = (job / results.MODEL_FILE).read_bytes()
    put(job, results.MODEL_FILE, change(content))
    check_job_refused(grown, job, results.load_model)


@pytest.mark.parametrize(
    ("side", "more"), [(16, 0), (8, 1)], ids=["images", "classes"]
)
def test_a_model_of_another_shape_is_refused(grown, job, side, more):
    import keras

    count = len(results.read(grown, job.name).spec.classes) + more
    images = keras.Input((side, side, 3))
    logits = keras.layers.Dense(count)(keras.layers.Flatten()(images))
    file = job / "other.keras"
    keras.Model(images, logits).save(str(file))
    put(job, results.MODEL_FILE, file.read_bytes())
    check_job_refused(grown, job, results.load_model)


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_configuration_damaged_anywhere(grown, job, data):
    """Whatever a configuration says, it loads or is refused."""
    content = (job / results.MODEL_FILE).read_bytes()
    sums = (job / results.SUMS_FILE).read_bytes()
    config = config_of(content)
    *above, last = data.draw(st.sampled_from([p for p in paths(config) if p]))
    parent = config
    for key in above:
        parent = parent[key]
    parent[last] = data.draw(st.sampled_from(NONSENSE[:9] + NONSENSE[11:]))
    put(
        job,
        results.MODEL_FILE,
        rezipped(content, config__json=json.dumps(config)),
    )
    try:
        results.load_model(grown, job.name)
    except UserError as error:
        assert re.search(rf"job {job.name} in ", str(error))
    finally:
        (job / results.MODEL_FILE).write_bytes(content)
        (job / results.SUMS_FILE).write_bytes(sums)


def test_a_damaged_model_is_one_line_for_a_user(run_main, grown, job):
    put(job, results.MODEL_FILE, b"no archive")
    outcome = run_main(evaluate, f"--workdir={grown.root}")
    outcome.check_refused(1, job.name)


def test_what_was_forged_is_whole_again(run_main, grown):
    outcome = run_main(evaluate, f"--workdir={grown.root}", "--format=json")
    assert outcome.status == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert found["generation"] == 2
