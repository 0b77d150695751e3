"""What a stranger's files and names may not do."""

import ast
import json
import os
import pathlib

import numpy as np
import pytest

from hierkeras import evaluate, export, increment, predict, serve
from hierkeras.tree.names import printable, shown

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Functions that run code which a file brings, whatever they are called by.
RUN_CODE = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml"}


def faults(source):
    """Where a module could run what a file says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.split(".")[0] for alias in node.names}
            names.add((getattr(node, "module", None) or "").split(".")[0])
            if names & MODULES:
                yield ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in RUN_CODE or given.get("shell") == "True":
            yield ast.unparse(node)
        last = called.rsplit(".", 1)[-1]
        if called in ("np.load", "numpy.load", "np.fromfile"):
            if given.get("allow_pickle") != "False":
                yield ast.unparse(node)
        elif last == "load_model" and "keras" in called:
            if given.get("safe_mode") != "True":
                yield ast.unparse(node)
        elif last in ("enable_unsafe_deserialization", "system", "popen"):
            yield ast.unparse(node)


def test_no_load_path_runs_code():
    found = {
        str(path.relative_to(ROOT)): list(faults(path.read_text()))
        for folder in ("hierkeras", "tools", "export")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }
    assert len(found) > 80
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import load",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "keras.saving.load_model(path)",
        "keras.models.load_model(path, safe_mode=safe)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "keras.config.enable_unsafe_deserialization()",
    ],
)
def test_the_rule_sees_what_it_should(line):
    assert list(faults(line))


NAMES = (
    *("../x", "../../../../../../tmp/x", "/etc/passwd", "\x1b[31mred\x1b[0m"),
    *("a/b", "CON", "nul."),
    *("x" * 5000, "🐝", "👩‍👩‍👧", "\u202eeeb", "אבג", "a\nb", "a\r\tb"),
    *("\x07\x08", "'", '"', "<script>alert(1)</script>"),
    *("$\\frac{", "$x$", "%s", "{0}", "", "root.1", "-", "--help", "*", "\\"),
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A data set whose classes have such names, each a colour."""
    folder = tmp_path_factory.mktemp("hostile")
    names = [name for name in NAMES if name]
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (len(names), 1, 1, 3))
    images = np.repeat(np.broadcast_to(colours, (len(names), 8, 8, 3)), 8, 0)
    noise = random.integers(0, 20, images.shape)
    np.savez(
        folder / "images.npz",
        images=np.clip(images + noise, 0, 255).astype(np.uint8),
        labels=np.repeat(np.arange(len(names)), 8),
        class_names=np.array(names),
    )
    return folder, names


@pytest.fixture(scope="module")
def grown(hostile, run_main):
    """A work directory of two steps, and what they said."""
    folder, names = hostile
    flags = (
        f"--workdir={folder / 'workdir'}",
        f"--dataset=npz:{folder / 'images.npz'}",
        *("--image_size=8", "--width_multiplier=0.5"),
        *("--max_epochs=1", "--batch_size=16", "--growth=flat", "--noexport"),
    )
    half = len(names) // 2
    before = outside(folder)
    outcome = run_main(
        increment, *flags, f"--class_batches={half},{len(names) - half}"
    )
    assert outside(folder) == before
    return folder / "workdir", outcome


def outside(folder):
    """What is beside the work directory, where `../x` would lead."""
    return {
        str(path)
        for place in (folder, folder.parent, ROOT, pathlib.Path("/tmp/x"))
        for path in place.glob("*")
        if path.name not in ("workdir", ".pytest_cache", "__pycache__")
    }


def check_shown(outcome):
    assert outcome.status == 0, outcome.stderr
    for line in (outcome.stdout + outcome.stderr).split("\n"):
        assert line.isprintable(), ascii(line)


def test_names_never_become_paths(grown, hostile):
    workdir, *_ = grown
    for path in workdir.rglob("*"):
        relative = str(path.relative_to(workdir))
        assert relative.isascii()
        assert not any(len(n) > 4 and n in relative for n in hostile[1][:4])


def test_growing_prints_no_control_characters(grown):
    _, outcome = grown
    check_shown(outcome)
    assert r"\x1b[31mred" in outcome.stdout
    assert "Warning" not in outcome.stderr


def test_evaluating_prints_no_control_characters(grown, run_main):
    workdir, *_ = grown
    check_shown(run_main(evaluate, f"--workdir={workdir}"))


@pytest.mark.slow
def test_names_are_served_as_they_are(grown, hostile, run_main):
    from PIL import Image

    workdir, *_ = grown
    before = outside(workdir.parent)
    check_shown(
        run_main(
            export,
            f"--workdir={workdir}",
            "--force",
            f"--set=top={len(hostile[1])}",
        )
    )
    photo = workdir.parent / "a\x1b[31m.png"
    Image.new("RGB", (8, 8), "red").save(photo)
    flags = (
        "--workdir=unused",
        f"--saved_model={workdir / 'serving' / '2'}",
        "--top=1000",
    )
    answered = run_main(predict, *flags, "--format=json", str(photo))
    check_shown(answered)
    (row,) = json.loads(answered.stdout)["answers"]
    assert set(row["classes"]) <= set(hostile[1])
    assert len(row["classes"]) > 10
    table = run_main(predict, *flags, str(photo))
    check_shown(table)
    assert shown("a\x1b[31m.png") in table.stdout
    photo.unlink()
    assert outside(workdir.parent) == before
    card = workdir / "serving" / "2" / "assets.extra" / "model_card.md"
    assert "<script>" not in card.read_text()
    assert "\x1b" not in card.read_text()


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_class_without_a_proper_name_is_refused(run_main, tmp_path, name):
    np.savez(
        tmp_path / "images.npz",
        images=np.zeros((8, 8, 8, 3), np.uint8),
        labels=np.repeat([0, 1], 4),
        class_names=np.array(["bee", name]),
    )
    run_main(
        increment,
        f"--workdir={tmp_path / 'new'}",
        f"--dataset=npz:{tmp_path / 'images.npz'}",
    ).check_refused(1, ascii(name))


def test_a_folder_whose_name_is_no_utf_8_is_refused(run_main, tmp_path):
    from PIL import Image

    for name in (b"bee", b"\xff\xfe"):
        folder = os.path.join(os.fsencode(tmp_path), b"images", name)
        try:
            os.makedirs(folder)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        for number in range(8):
            file = os.path.join(folder, b"%d.png" % number)
            with open(file, "wb") as out:
                Image.new("RGB", (8, 8)).save(out, "PNG")
    run_main(
        increment,
        f"--workdir={tmp_path / 'new'}",
        f"--dataset=folder:{tmp_path / 'images'}",
    ).check_refused(1, r"\udcff\udcfe", "rename")


def test_an_unreadable_image_whose_name_is_no_utf_8_is_named(
    run_main, tmp_path
):
    from PIL import Image

    for number in range(16):
        folder = tmp_path / "images" / ("ant" if number % 2 else "bee")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    try:
        with open(os.path.join(os.fsencode(folder), b"\xff.png"), "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\nbroken")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    outcome = run_main(
        increment,
        f"--workdir={tmp_path / 'new'}",
        f"--dataset=folder:{tmp_path / 'images'}",
        "--image_size=8",
    )
    assert outcome.status == 1
    error = outcome.stderr.splitlines()[-1]
    assert error.startswith("error: image 'ant/\\udcff.png' cannot be read")


def test_the_server_is_for_this_machine_unless_told_otherwise():
    from absl import flags

    assert flags.FLAGS["host"].default == "127.0.0.1"
    assert flags.FLAGS["host"] in flags.FLAGS.get_key_flags_for_module(serve)


def test_what_is_shown_is_printable_and_short():
    for name in NAMES:
        assert shown(name).isprintable()
        assert len(shown(name)) < 500
    assert shown("bee 🐝 é") == "bee 🐝 é"
    assert printable("a\x1b[31m\udcff\n") == r"a\x1b[31m\udcff\n"
