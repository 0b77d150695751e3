"""An increment that `kill -9` ends goes on as if nothing had happened.

The slow tests print what was killed when:

    HIERKERAS_KILLS=60 python -m pytest --slow -rP tests/test_killed.py
"""

import math
import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hierkeras import evaluate, export, increment
from hierkeras.tree.store import Store
from tests import small_trunks, survival
from tests.serving.served_tree import serving
from tests.survival import Victim

# Of the tests at random moments together.
KILLS = int(os.environ.get("HIERKERAS_KILLS", "6"))
FLAGS = (
    "--flagfile=flags/digits.flags",
    "--deterministic",
    "--width_multiplier=0.5",
    "--max_old_class_regression=1",
)
STREAM = (*FLAGS, "--max_epochs=3", "--class_batches=4,3,3", "--noexport")


@pytest.fixture
def visit(run_main, contents):
    """Evaluates a work directory as it was left, and changes nothing."""

    def visit(workdir, *flags):
        before = contents(workdir)
        outcome = run_main(
            evaluate, "--format=json", f"--workdir={workdir}", *flags
        )
        assert contents(workdir) == before
        if Store(workdir).latest() is None:
            outcome.check_refused(1, str(workdir), "holds no tree")
            return None
        assert outcome.status == 0, outcome.stderr
        return survival.evaluation(outcome.stdout)

    return visit


@pytest.fixture
def check_end(visit):
    """Compares a work directory with one that nobody interrupted."""

    def check(victim, whole):
        assert survival.debris(victim.workdir) == []
        assert survival.final(victim.workdir) == survival.final(whole)
        assert visit(victim.workdir) == visit(whole)
        ours, theirs = (answers(workdir) for workdir in (victim.workdir, whole))
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name])

    return check


@pytest.fixture
def check_served(run_binary, tmp_path):
    """Asks a server for the latest version that is there."""

    def check(base_path):
        from sklearn import datasets

        image = tmp_path / "digit.png"
        pixels = datasets.load_digits().images[0] * 15.9
        Image.fromarray(pixels.astype(np.uint8)).save(image)
        with serving(base_path) as server:
            server.read_until(r"version \d+ is served", seconds=300)
            outcome = run_binary(
                "predict",
                f"--server={server.address}",
                "--model=animals",
                "--format=json",
                str(image),
            )
        assert outcome.status == 0, outcome.stderr
        assert "root" in outcome.stdout

    return check


def answers(workdir: Path) -> dict[str, np.ndarray]:
    """What each node of the latest tree answers for the test images."""
    from hierkeras.recipe import remembered
    from hierkeras.training.context import Context, ContextConfig
    from hierkeras.training.predictor import Predictor

    latest = Store(workdir).latest()
    recorded = remembered.read(latest)
    context = Context(
        ContextConfig(
            str(workdir),
            recorded.data,
            recorded.recipe.network.image_size,
            recorded.recipe.pixels,
        )
    )
    indices = context.catalogue.indices("test", latest.tree.classes)
    predictor = Predictor(context)
    return {
        node.name: predictor.probabilities(node.job, indices)
        for node in latest.tree.nodes()
    }


@pytest.mark.slow
def test_what_is_finished_is_kept_and_the_rest_goes_on(digits_tree, tmp_path):
    flags = (*digits_tree.flags[:-1], "--noexport")
    victim = Victim(tmp_path / "victim", flags)
    # Within the second step's first training.
    run = victim.start("os.rename checkpoints/.*#4")
    assert run.wait() == -9, run.said
    victim.check_kept()
    assert Store(victim.workdir).latest().number == 1
    assert (victim.workdir / "LOCK.holder").exists()
    last = victim.start()
    assert last.wait() == 0, last.said

    assert "[root flat] goes on after epoch 1" in last.said
    assert victim.epochs_again() == 1
    victim.check_kept()
    assert survival.debris(victim.workdir) == []
    found, expected = map(survival.final, (victim.workdir, digits_tree.workdir))
    assert found == {**expected, "versions": []}


def test_a_run_with_nothing_else_to_do_cleans_up(
    digits_tree, run_main, tmp_path
):
    workdir = tmp_path / "workdir"
    shutil.copytree(digits_tree.workdir, workdir)
    # As a process leaves it that is killed while it removes old versions.
    (workdir / "LOCK.holder").write_text("process 1 on elsewhere")
    for name in ("1", ".tmp-removed-0"):
        shutil.copytree(workdir / "serving" / "2", workdir / "serving" / name)

    outcome = run_main(
        increment,
        *digits_tree.flags,
        "--keep_versions=1",
        f"--workdir={workdir}",
    )

    assert outcome.status == 0, outcome.stderr
    assert survival.debris(workdir) == []
    assert survival.final(workdir) == survival.final(digits_tree.workdir)


@pytest.mark.slow
def test_killed_once_in_every_phase(tmp_path, visit, check_end, check_served):
    flags = (*FLAGS, "--max_epochs=2", "--growth=flat", "--keep_versions=1")
    # A step and an export each, so that the second removes a version.
    first, second = "--class_batches=4", "--class_batches=4,3"
    whole = Victim(tmp_path / "whole", (*flags, first))
    assert whole.start("-").wait() == 0
    begun = tmp_path / "begun"
    shutil.copytree(whole.workdir, begun)
    whole.flags = (*flags, second)
    assert whole.start("-").wait() == 0
    phases = every_phase(Path(f"{whole.workdir}.events").read_text())
    expected = [visit(whole.workdir, f"--generation={n}") for n in (1, 2)]
    killed = []

    def kill(victim, event):
        run = victim.start(event)
        status = run.wait()
        if status == 0:
            return False
        assert status == -9, run.said
        assert survival.complaints(run.said) == []
        victim.check_kept()
        assert visit(victim.workdir) in (None, *expected)
        plain = event.replace("\\", "")
        killed.append(re.sub(r"[0-9a-f]{16}", "<job>", plain))
        return True

    victim = Victim(tmp_path / "new", (*flags, first))
    for event in NEW:
        assert kill(victim, event), event
    assert victim.start().wait() == 0
    check_end(victim, begun)

    victims = []
    while phases:
        workdir = tmp_path / f"victim{len(victims)}"
        shutil.copytree(begun, workdir)
        victims.append(Victim(workdir, (*flags, second)))
        before = len(phases)
        while phases and kill(victims[-1], phases[0]):
            phases.pop(0)
            if killed[-1].startswith("os.rename serving"):
                check_served(workdir / "serving")
        assert len(phases) < before, phases[0]
        assert victims[-1].start().wait() == 0
        check_end(victims[-1], whole.workdir)

    print(survival.table("before", killed))
    again = [one.epochs_again() for one in (victim, *victims)]
    print(f"{sum(again)} epochs run again, {1 + len(victims)} directories")


# Of the first generation of all.
NEW = (
    r"os.mkdir \.",
    "open LOCK",
    "see tensorboard/.*",
    "os.rename checkpoints/.*",
    "os.rename generations/.*",
    "os.rename LATEST",
)


def every_phase(events: str) -> list[str]:
    """One event of each kind, in the order in which they happen."""
    kinds = {}
    for event in dict.fromkeys(events.splitlines()):
        kind = re.sub(r"[0-9a-f]{16}", "<job>", event)
        kind = re.sub(r"(\.tmp-removed-\d+)/.*", r"\1/<file>", kind)
        # Of the last, for the most is there to lose.
        kinds[re.sub(r"\d+", "<n>", kind)] = re.escape(event)
    phases = list(kinds.values())
    for after, more in MORE.items():
        # The first: a job's comes before a version's.
        place = next(
            number
            for number, event in enumerate(phases, 1)
            if event.replace("\\", "").endswith(after)
        )
        phases[place:place] = more
    return phases


# What happens only after a kill, or is seen only when it is there.
MORE = {
    "SHA256SUMS": [r"shutil.rmtree models/\.tmp-.*", r"os.rmdir models/.*"],
    "os.rename LATEST": [r"os.remove \.tmp-LATEST"],
    "serving/.tmp-2": [
        "see serving/.*/variables/.*",
        "see serving/.*/saved_model.pb",
        "see serving/.*/tf_serving_warmup_requests",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "kills"),
    [("inline", KILLS - KILLS // 3), ("process", max(1, KILLS // 3))],
)
def test_killed_at_random_moments(
    executor, kills, tmp_path, visit, check_end, check_served, run_main
):
    flags = (*STREAM, f"--executor={executor}", "--num_workers=2")
    whole = Victim(tmp_path / "whole", flags)
    undisturbed = whole.start()
    assert undisturbed.work(math.inf) == 0, undisturbed.said
    expected = [visit(whole.workdir, f"--generation={n}") for n in (1, 2, 3)]
    moments = random.Random(executor)
    killed, victims, is_served = [], [], False
    while True:
        victim = Victim(tmp_path / f"victim{len(victims)}", flags)
        victims.append(victim)
        ended = False
        while not ended and len(killed) < kills:
            run = victim.start()
            moment = moments.uniform(0, undisturbed.processor_seconds / 2)
            alone = executor == "process" and moments.random() < 0.6
            what, ended = kill(run, moment, alone)
            if what is not None:
                killed.append(what)
            if ended:
                assert run.wait() == 0, run.said
                break
            victim.check_kept()
            if len(killed) % 10 == 3:
                assert visit(victim.workdir) in (None, *expected)
                if Store(victim.workdir).latest() is not None:
                    copy = tmp_path / "copy"
                    shutil.copytree(victim.workdir, copy)
                    outcome = run_main(export, f"--workdir={copy}")
                    assert outcome.status == 0, outcome.stderr
                    if not is_served:
                        check_served(copy / "serving")
                        is_served = True
                    shutil.rmtree(copy)
        if not ended:
            run = victim.start()
            assert run.work(math.inf) == 0, run.said
        victim.check_kept()
        check_end(victim, whole.workdir)
        print(f"{victim.workdir.name}: {len(victim.runs)} runs", flush=True)
        if len(killed) >= kills:
            break

    print(survival.table("killed", killed))
    again = sum(victim.epochs_again() for victim in victims)
    needed = len(victims) * undisturbed.processor_seconds
    took = sum(victim.processor_seconds for victim in victims)
    print(
        f"{again} epochs run again; {len(victims)} work directories took "
        f"{took:.0f} s of the processors instead of {needed:.0f} s, "
        f"{(took - needed) / len(killed):.1f} s more a kill"
    )


def kill(run, moment, alone):
    """Kills an increment, or only a worker of it, after some seconds.

    Returns what was killed, or None if it had ended before, and whether it
    has come to its end.
    """
    if run.work(moment) is not None:
        return None, True
    if not alone:
        what = f"the increment, {survival.doing(run.said)}"
        assert run.kill() == [], "workers outlive the increment"
        assert survival.complaints(run.said) == []
        return what, False
    while not (workers := run.workers()):
        if run.wait(0.05) is not None:
            return None, True
    what = f"a worker, {survival.doing(run.said)}"
    workers[-1].kill()
    if run.wait() == 0:
        # It had handed its result over, and was about to end.
        assert survival.complaints(run.said) == []
        return what, True
    assert run.wait() == 1, run.said
    (line,) = survival.complaints(run.said)
    assert line.startswith("error: the worker of job "), line
    return what, False


# In the order of a run: what it kills itself before, and what it then keeps.
SOLVING = (
    (r"os.rename features/[^/]+/trunk", 0),
    (r"os.rename features/[^/]+/whole/.*", 0),
    (r"os.rename features/[^/]+/whole/.*#2", 1),
    (r"open features/[^/]+/crop-1/\.tmp-.*/features\.npy", 2),
    (r"os.rename features/[^/]+/crop-1/.*#2", 3),
    (r"open models/\.tmp-.*/head\.npz", 4),
    (r"os.rename models/.*", 4),
    (r"os.rename generations/.*", 4),
    # The second step: its shards, its head, and between.
    (r"os.rename features/[^/]+/crop-1/.*", 6),
    (r"open models/\.tmp-.*/sums\.npz", 7),
    (r"os.rename LATEST", 7),
)


@pytest.mark.slow
def test_killed_while_it_embeds_and_solves(tmp_path):
    network = small_trunks.write(tmp_path / "network.keras", size=8)
    flags = (
        *("--dataset=digits", "--recipe=pretrained", "--class_batches=6,4"),
        *(f"--backbone={network}", "--set=crops=1", "--noexport"),
        "--deterministic",
    )
    whole = Victim(tmp_path / "whole", flags)
    undisturbed = whole.start()
    assert undisturbed.wait() == 0, undisturbed.said
    victim = Victim(tmp_path / "victim", flags)
    kept: dict[str, int] = {}

    for event, at_least in SOLVING:
        run = victim.start(event)
        assert run.wait() == -9, (event, run.said)
        assert survival.complaints(run.said) == []
        victim.check_kept()
        found = shards_of(victim.workdir)
        # What was embedded stays, and is not embedded again.
        assert found.items() >= kept.items(), event
        assert len(found) >= at_least, (event, found)
        kept = found
    last = victim.start()
    assert last.wait() == 0, last.said

    assert shards_of(victim.workdir).keys() == shards_of(whole.workdir).keys()
    assert survival.debris(victim.workdir) == []
    assert survival.final(victim.workdir) == survival.final(whole.workdir)
    ours, theirs = (answers(each.workdir) for each in (victim, whole))
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def shards_of(workdir: Path) -> dict[str, int]:
    """The shards of training images, by name, and their inodes."""
    return {
        str(path.parent.relative_to(workdir)): path.stat().st_ino
        for path in workdir.glob("features/*/*/[!.]*/SHA256SUMS")
    }
