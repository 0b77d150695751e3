"""A tree above a network that somebody saved, as its user grows it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hierkeras import doctor, evaluate, export, increment
from hierkeras.recipe import remembered
from hierkeras.training import models, results, solutions, solving
from hierkeras.training.context import Context, ContextConfig
from hierkeras.training.predictor import Predictor
from hierkeras.training.spec import Solved
from hierkeras.tree import routing
from hierkeras.tree.store import Store
from tests import small_trunks

CLASSES = ("bee", "cat", "dog", "emu")
OLD = CLASSES[:2]


class Grown:
    """A work directory that grew by two steps, and what was said."""

    def __init__(self, run_main, root: Path) -> None:
        self.root, self.workdir = root, root / "workdir"
        self._run = run_main
        small_trunks.write(root / "net.keras")
        small_trunks.write_photos(root / "photos", CLASSES, each=12)
        self.network = f"--backbone={root / 'net.keras'}"

    def increment(self, *flags: str):
        return self._run(
            increment,
            f"--dataset=folder:{self.root / 'photos'}",
            *(f"--workdir={self.workdir}", "--noexport"),
            *flags,
        )

    @property
    def store(self) -> Store:
        return Store(self.workdir)

    def context(self) -> Context:
        latest = self.store.latest()
        recorded = remembered.read(latest)
        config = ContextConfig(
            str(self.workdir),
            recorded.data,
            recorded.recipe.network.image_size,
            recorded.recipe.pixels,
        )
        return Context(config)

    def shards(self) -> dict[str, set[str]]:
        """The names of the shards of each view."""
        (trunk,) = self.store.trunks()
        return {
            view.name: {shard.name for shard in view.iterdir()}
            for view in self.store.views(trunk.name)
        }

    def num_embedded(self, view: str) -> int:
        (trunk,) = self.store.trunks()
        return sum(
            len(np.load(shard / "keys.npy"))
            for shard in (trunk / view).iterdir()
        )


@pytest.fixture(scope="module")
def grown(run_main, tmp_path_factory):
    """Two classes, and then two more, above a tiny trunk."""
    grown = Grown(run_main, tmp_path_factory.mktemp("pretrained"))
    photos, later = grown.root / "photos", grown.root / "later"
    for name in CLASSES[2:]:
        later.mkdir(exist_ok=True)
        shutil.move(photos / name, later / name)
    grown.first = grown.increment(
        grown.network,
        *("--set=feature_depths=1", "--set=crops=1"),
        *("--augment=none", "--max_old_class_regression=1"),
    )
    grown.after_first = grown.shards()
    grown.num_first = grown.num_embedded("crop-1")
    for name in CLASSES[2:]:
        shutil.move(later / name, photos / name)
    grown.second = grown.increment("--max_old_class_regression=1")
    return grown


@pytest.fixture(scope="module")
def exported(grown, run_main, tmp_path_factory):
    """A copy of it, exported."""
    workdir = tmp_path_factory.mktemp("exported") / "workdir"
    shutil.copytree(grown.workdir, workdir)
    return workdir, run_main(export, f"--workdir={workdir}")


def test_two_steps(grown):
    assert (grown.first.status, grown.second.status) == (0, 0), (
        grown.first.stderr + grown.second.stderr
    )
    latest = grown.store.latest()
    assert (latest.number, set(latest.tree.classes)) == (2, set(CLASSES))
    assert latest.settings["preset"] == "pretrained"
    assert latest.step.error_after < 0.5  # 3 of 4 by chance
    (job,) = [use.job for use in latest.step.jobs]
    assert isinstance(results.read(grown.store, job).spec.start, Solved)


def test_the_second_step_embeds_the_new_images_alone(grown):
    training = grown.context().samples("train", CLASSES)[0]
    old = grown.context().samples("train", OLD)[0]
    assert grown.after_first.keys() == {"whole", "crop-1"}
    for view, names in grown.after_first.items():
        assert names < grown.shards()[view]
    assert grown.num_first == len(old)
    assert grown.num_embedded("crop-1") == len(training)
    latest = grown.store.latest()
    (use,) = latest.step.jobs
    swept = results.read(grown.store, use.job).images_swept
    assert swept == len(training) - len(old)


def test_its_head_is_that_of_all_images_at_once(grown):
    context, latest = grown.context(), grown.store.latest()
    job = latest.tree.root.job
    spec = results.read(grown.store, job).spec
    assert spec.start.parent is not None
    at_once = solving.solve(spec, Solved(None), context)
    head = solutions.read_head(grown.store, job)
    expected = at_once.solution.head
    np.testing.assert_allclose(
        head.kernel, expected.kernel, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(head.bias, expected.bias, rtol=1e-5, atol=1e-6)


def test_it_is_evaluated(grown):
    workdir = f"--workdir={grown.workdir}"
    outcome = grown._run(evaluate, workdir, "--format=json")
    assert outcome.status == 0, outcome.stderr
    assert json.loads(outcome.stdout)


@pytest.mark.slow
def test_the_served_model_answers_as_the_predictor(grown, exported):
    import tensorflow as tf

    workdir, outcome = exported
    assert outcome.status == 0, outcome.stderr
    assert "answers as the tree does" in outcome.stdout
    context, latest = grown.context(), grown.store.latest()
    indices, _ = context.samples("validation", latest.tree.classes)
    indices = np.sort(indices)
    how = remembered.read(latest).recipe.routing
    predictor = Predictor(context)
    expected, rounded = (
        routing.route(
            latest.tree, each.node_probabilities, indices, how
        ).probabilities
        for each in (predictor.through_networks(), predictor)
    )
    # Features on disk are float16, which this random trunk makes the most of.
    np.testing.assert_allclose(rounded, expected, atol=0.05)
    order = latest.tree.classes
    served = tf.saved_model.load(str(workdir / "serving" / "2"))
    signature = served.signatures["serving_default"]
    ((name, _),) = signature.structured_input_signature[1].items()
    assert set(signature.structured_outputs) >= {"classes", "scores"}
    keys = context.catalogue.keys[indices].tolist()
    raw = [(grown.root / "photos" / key).read_bytes() for key in keys]
    answer = signature(**{name: tf.constant(raw)})
    names = np.char.decode(answer["classes"].numpy().astype(bytes))
    scores = answer["scores"].numpy()
    for row, probabilities in enumerate(expected):
        for column, score in zip(names[row], scores[row], strict=True):
            own = probabilities[order.index(column)]
            np.testing.assert_allclose(score, own, atol=1e-4)


def test_nothing_is_pending_then(grown, contents):
    before = contents(grown.workdir)
    for flags in ((), (grown.network,)):
        outcome = grown.increment("--max_old_class_regression=1", *flags)
        assert outcome.status == 0, outcome.stderr
        assert "nothing new" in outcome.stdout
    assert contents(grown.workdir) == before


def test_another_trunk_is_refused(grown):
    other = small_trunks.write(grown.root / "other.keras", seed=1)
    outcome = grown.increment(f"--backbone={other}")
    outcome.check_refused(1, "was grown with backbone=trunk:", "--workdir")


@pytest.fixture
def copy(grown, tmp_path):
    """A copy of the work directory, to be damaged."""
    workdir = tmp_path / "workdir"
    shutil.copytree(grown.workdir, workdir)
    return workdir


def examined(run_main, workdir):
    outcome = run_main(doctor, f"--workdir={workdir}", "--format=json")
    found = json.loads(outcome.stdout)["findings"]
    assert outcome.status == any(each["level"] == "damage" for each in found)
    # It is not exported, of which it tells.
    besides = ("--dataset", f"{workdir / 'serving'}")
    return [each for each in found if each["place"] not in besides]


def test_the_doctor_knows_all_of_it(run_main, copy):
    assert examined(run_main, copy) == []
    (trunk,) = Store(copy).trunks()
    shard = min((trunk / "whole").iterdir())
    for path in (
        shard / "features.npy",
        shard / "keys.npy",
        trunk / "trunk" / "trunk.keras",
        copy / "models" / Store(copy).latest().tree.root.job / "sums.npz",
        copy / "models" / Store(copy).latest().tree.root.job / "head.npz",
    ):
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        found = examined(run_main, copy)
        ours = [f for f in found if f["place"] == str(path.parent)]
        assert len(ours) == 1
        assert f"{path.name} is not what was written" in ours[0]["what"]
        assert ours[0]["commands"] == [f"rm -r {path.parent}"]
        path.write_bytes(content)
    (trunk / "whole" / ".tmp-0123-ab").mkdir()
    (trunk / ".tmp-trunk-ab").mkdir()
    found = examined(run_main, copy)
    assert [each["level"] for each in found] == ["information"] * 2
    with Store(copy).lock():
        pass
    assert examined(run_main, copy) == []


def test_a_trunk_that_is_gone_comes_back_with_its_network(
    grown, run_main, copy, contents
):
    (trunk,) = Store(copy).trunks()
    before = contents(Path(trunk / "trunk"))
    (trunk / "trunk").rmtree()
    (found,) = examined(run_main, copy)
    assert found["place"] == str(trunk / "trunk")
    assert "is missing" in found["what"]
    assert "--backbone=FILE" in found["advice"]
    flags = (
        f"--dataset=folder:{grown.root / 'photos'}",
        *(f"--workdir={copy}", "--noexport"),
    )
    outcome = run_main(increment, *flags, grown.network)
    assert outcome.status == 0, outcome.stderr
    after = contents(Path(trunk / "trunk"))
    assert after.keys() == before.keys()
    assert after["trunk.id"] == before["trunk.id"]
    assert examined(run_main, copy) == []


def test_without_its_trunk_a_step_says_what_to_give(grown, run_main, copy):
    (trunk,) = Store(copy).trunks()
    trunk.rmtree()
    outcome = run_main(evaluate, f"--workdir={copy}")
    outcome.check_refused(1, "missing", "--backbone")


def test_the_model_of_a_job_shares_its_trunk(grown):
    context = grown.context()
    jobs = [grown.store.read(n).tree.root.job for n in (1, 2)]
    one, other = (models.load(context, job) for job in jobs)
    shared = {id(weight) for weight in one.weights}
    shared &= {id(weight) for weight in other.weights}
    assert len(shared) == len(one.weights) - 2


@pytest.mark.parametrize(
    ("flags", "status", "named"),
    [
        (("--backbone=missing.keras",), 1, ["No such file: 'missing.keras'"]),
        (("--input_range=unit",), 2, ["input_range is of the network of a"]),
        (("--set=crops=2",), 2, ["crops is of solved heads"]),
        (("--set=feature_depths=2",), 2, ["feature_depths is of a trunk"]),
        (("--set=heads=solved",), 2, ["--backbone=FILE.keras"]),
        (("--backbone=README.h5",), 1, ["No such file"]),
        (("--input_range=bgr",), 2, ["--input_range", "inside"]),
    ],
)
def test_a_mistake_is_one_line(grown, run_main, tmp_path, flags, status, named):
    workdir = tmp_path / "new"
    outcome = run_main(
        increment,
        f"--dataset=folder:{grown.root / 'photos'}",
        f"--workdir={workdir}",
        *flags,
    )
    outcome.check_refused(status, *named)
    assert not workdir.exists()
