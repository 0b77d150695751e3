"""`python -m hierkeras.export`, and the export at the end of an increment."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hierkeras import evaluate, export, increment
from hierkeras.serving.local.servable import Servable
from hierkeras.tree import generation

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def workdir(digits_tree, tmp_path) -> Path:
    """A copy of a grown tree that has not been exported."""
    copy = tmp_path / "workdir"
    shutil.copytree(digits_tree.workdir, copy)
    shutil.rmtree(copy / "serving")
    return copy


def change_step(workdir: Path, **changes) -> None:
    path = workdir / "generations" / "000002.json"
    before = generation.from_json(path.read_bytes())
    step = msgspec.structs.replace(before.step, **changes)
    after = msgspec.structs.replace(before, step=step)
    path.write_bytes(generation.to_json(after))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_increment_ends_with_an_export(digits_tree):
    assert digits_tree.outcome.status == 0
    path = digits_tree.workdir / "serving" / "2"
    assert f"exported {path} (" in digits_tree.outcome.stdout
    assert "also without Keras" in digits_tree.outcome.stdout
    assert names(digits_tree.workdir / "serving") == ["2"]


def test_the_manifest_says_what_it_is(digits_tree):
    extra = digits_tree.workdir / "serving" / "2" / "assets.extra"
    manifest = json.loads((extra / "manifest.json").read_text())
    written = json.loads(
        (digits_tree.workdir / "generations" / "000002.json").read_text()
    )
    assert manifest["generation"] == 2
    assert manifest["tree"] == written["tree"]
    assert manifest["classes"] == written["tree"]["root"]["classes"]
    assert len(manifest["jobs"]) == 3
    assert set(manifest["jobs"]) <= set(names(digits_tree.workdir / "models"))
    assert manifest["routing"] == {
        "rule": "fused",
        "beam_width": 2,
        "contention": 0.0,
    }
    assert manifest["temperature"] == written["tree"]["temperatures"]["fused"]
    assert re.fullmatch("[0-9a-f]{64}", manifest["data"]["fingerprint"])
    assert manifest["validation_error"] == written["step"]["error_after"]
    assert manifest["verified"]["score_difference"] < 1e-4
    assert set(manifest["versions"]) == {"hierkeras", "tensorflow", "keras"}
    card = (extra / "model_card.md").read_text()
    assert "3 small_cnn networks with\n2 leaves and depth 2" in card
    assert "temperature of the answer is" in card
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in card.replace("\n", " ")


@pytest.mark.slow
def test_the_warm_up_reaches_every_leaf(digits_tree):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    folder = digits_tree.workdir / "serving" / "2"
    served = tf.saved_model.load(str(folder)).signatures
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    reached, asked, classified = set(), set(), []
    for record in tf.data.TFRecordDataset(str(file)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        if log.HasField("classify_log"):
            request = log.classify_log.request
            asked.add(request.model_spec.signature_name)
            classified.append(len(request.input.example_list.examples))
            continue
        request = log.predict_log.request
        signature = request.model_spec.signature_name
        asked.add(signature)
        (tensor,) = request.inputs.values()
        images = tf.constant(tf.make_ndarray(tensor))
        reached |= set(served[signature](images)["path"].numpy())
    assert reached == {b"root/root.1", b"root/root.2"}
    assert asked == {"serving_default", "predict_images", "classify"}
    # One for each leaf, and then one that is not plain.
    assert classified == [2, 1]


def test_nothing_is_exported_twice(run_main, digits_tree, contents):
    before = contents(digits_tree.workdir)
    outcome = run_main(export, f"--workdir={digits_tree.workdir}")
    assert outcome.status == 0
    path = digits_tree.workdir / "serving" / "2"
    assert outcome.stdout == (
        f"{path} is there already; remove it to export it again\n"
    )
    outcome = run_main(increment, *digits_tree.flags)
    assert outcome.status == 0
    assert "exported" not in outcome.stdout
    assert contents(digits_tree.workdir) == before


def test_a_version_that_answers_otherwise_is_told(run_main, digits_tree):
    asked = ["--routing=soft", "--contention=0.6", "--set=top=3"]
    outcome = run_main(export, f"--workdir={digits_tree.workdir}", *asked)
    assert outcome.status == 0
    assert (
        "is there already, made with routing fused instead of soft, contention "
        "0.0 instead of 0.6, top 5 instead of 3; remove it" in outcome.stdout
    )


@pytest.mark.slow
def test_an_increment_makes_up_for_a_missing_export(run_main, workdir):
    outcome = run_main(
        increment, "--flagfile=flags/digits.flags", f"--workdir={workdir}",
        "--width_multiplier=0.5", "--max_old_class_regression=1",
        "--format=json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.stderr
    result = json.loads(outcome.stdout)
    assert result["steps"] == []
    assert result["exported"]["version"] == 2
    assert result["exported"]["leaves_warmed_up"] == 2


@pytest.mark.slow
def test_an_earlier_generation_with_another_routing(run_main, workdir):
    (workdir / "serving" / "3").mkdir(parents=True)
    outcome = run_main(
        export, f"--workdir={workdir}", "--generation=1", "--set=top=2",
        "--routing=hard", "--keep_versions=1", "--format=json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.stderr
    exported = json.loads(outcome.stdout)
    assert exported["version"] == 1
    assert exported["path"] == str(workdir / "serving" / "1")
    assert exported["verified"]["c_api_difference"] < 1e-6
    # What was just made stays, and so does the latest, which is served.
    assert names(workdir / "serving") == ["1", "3"]
    assert exported["removed"] == []


@pytest.mark.slow
def test_a_tree_that_asks_its_leaves_where_it_is_unsure(
    run_main, workdir, digits_tree
):
    outcome = run_main(
        export, f"--workdir={workdir}", "--contention=0.2", "--format=json"
    )

    assert outcome.status == 0, outcome.stderr
    exported = json.loads(outcome.stdout)
    assert exported["verified"]["score_difference"] < 1e-4
    assert exported["leaves_warmed_up"] == 2
    extra = workdir / "serving" / "2" / "assets.extra"
    manifest = json.loads((extra / "manifest.json").read_text())
    assert manifest["routing"]["contention"] == 0.2
    servable = Servable(str(workdir / "serving" / "2"), 2)
    servable.warm_up()
    costs = []
    for contention in (0.0, 0.2):
        outcome = run_main(
            evaluate, f"--workdir={digits_tree.workdir}", "--format=json",
            f"--contention={contention}",
        )  # fmt: skip
        found = json.loads(outcome.stdout)
        root = found["root_flops_per_image"]
        costs.append(found["forward_flops_per_image"] / root)
    # A beam of 2 runs all three; leaves have fewer columns.
    assert costs[0] == pytest.approx(3.0, rel=0.01)
    assert 1.0 < costs[1] < 2.0


@pytest.mark.slow
def test_a_tree_that_forgot_is_exported_by_force_only(run_main, workdir):
    change_step(workdir, old_error_before=0.1, old_error_after=0.16)

    usual = "--max_old_class_regression=0.05"
    outcome = run_main(export, f"--workdir={workdir}", usual)
    outcome.check_refused(
        1, "generation 2", "from 10.0% to 16.0%", "0.05", "--force"
    )
    assert names(workdir / "serving") == ["2.rejected.txt"]
    reason = (workdir / "serving" / "2.rejected.txt").read_text()
    assert "from 10.0% to 16.0%" in reason

    forced = run_main(export, f"--workdir={workdir}", usual, "--force")
    assert forced.status == 0
    assert names(workdir / "serving") == ["2"]


def test_a_refused_export_does_not_hide_what_was_grown(run_main, workdir):
    change_step(workdir, old_error_before=0.1, old_error_after=0.4)
    outcome = run_main(
        increment, "--flagfile=flags/digits.flags", f"--workdir={workdir}",
        "--width_multiplier=0.5", "--max_old_class_regression=0.05",
    )  # fmt: skip
    assert outcome.status == 1
    assert "tree: 10 classes" in outcome.stdout
    assert "is not exported" in outcome.stderr


@pytest.mark.slow  # checks/test_verification.py tells the same of each check
def test_a_wrong_answer_is_never_published(run_main, workdir, monkeypatch):
    from hierkeras.serving.graph.composite import Composite

    answer = Composite.__call__

    def wrong(self, images):
        probabilities, leaves = answer(self, images)
        return probabilities * 0.99, leaves

    monkeypatch.setattr(Composite, "__call__", wrong)
    outcome = run_main(
        export, f"--workdir={workdir}", "--max_old_class_regression=1"
    )
    outcome.check_refused(1, "a score differs")
    assert names(workdir / "serving") == ["2.rejected.txt"]


def test_without_a_tree_there_is_nothing_to_export(run_main, tmp_path):
    outcome = run_main(export, f"--workdir={tmp_path / 'none'}")
    outcome.check_refused(1, "holds no tree", "hierkeras.increment")


@pytest.mark.slow
def test_a_killed_exporter_leaves_nothing_half_done(workdir):
    import tensorflow as tf

    command = [
        sys.executable, "-m", "hierkeras.export", f"--workdir={workdir}",
        "--max_old_class_regression=1",
    ]  # fmt: skip
    base_path = workdir / "serving"
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    whole = time.monotonic() - start
    images = tf.zeros([3, 8, 8, 3], tf.uint8)

    def answers() -> np.ndarray:
        served = tf.saved_model.load(str(base_path / "2"))
        return served.signatures["predict_images"](images)["scores"].numpy()

    expected = answers()
    generator = np.random.default_rng(0)
    for _ in range(30):
        shutil.rmtree(base_path / "2", ignore_errors=True)
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            # Most of it is done in its last two thirds.
            process.wait(timeout=whole * generator.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        if (base_path / "2").exists():
            np.testing.assert_array_equal(answers(), expected)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert names(base_path) == ["2"]
    np.testing.assert_array_equal(answers(), expected)
