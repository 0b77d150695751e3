"""Probes, as a user switches them on."""

import json

from hierkeras import increment
from hierkeras.recipe import remembered
from hierkeras.training.probes import record
from hierkeras.tree.store import Store


def test_a_field_of_the_recipe_switches_them_on(
    photo_tree, run_main, tmp_path, monkeypatch
):
    plain = Store(photo_tree.workdir).latest()
    others = [f for f in photo_tree.flags if not f.startswith("--workdir")]

    outcome = run_main(
        increment,
        *others,
        f"--workdir={tmp_path}",
        "--set=probes=1",
        "--format=json",
    )

    assert outcome.status == 0, outcome.stderr
    store = Store(tmp_path)
    latest = store.latest()
    assert remembered.read(latest).recipe.watching.probes == 1
    # Nothing else is otherwise: it is the same job.
    assert latest.tree == plain.tree
    job = latest.tree.root.job
    seen = record.read(store, job)
    assert [look.step for look in seen.looks] == [0, 1, 2, 3]
    assert record.read(Store(photo_tree.workdir), job) is None
    # A job that is there is not run again to be looked at.
    again = run_main(
        increment, *photo_tree.flags, "--set=probes=1", "--format=json"
    )
    assert again.status == 0 and json.loads(again.stdout)["steps"] == []
