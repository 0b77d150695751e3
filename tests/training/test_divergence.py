"""A training that diverges is tried once more, at a lower rate."""

import math
import os
import signal

import pytest

from hierkeras._errors import UserError
from hierkeras.training import checkpoint, results
from hierkeras.training.checkpoint import Checkpoint
from hierkeras.training.monitoring import Monitor
from hierkeras.training.run_job import run_job

RECIPES = {
    "cosine": {"max_epochs": 3},
    "adaptive": {
        "schedule": "adaptive",
        "samples_per_check": 200,
        "max_epochs": 3,
    },
}


@pytest.fixture
def diverge(monkeypatch):
    """A function that makes the loss of an epoch infinite at some rates."""
    end = Monitor.on_epoch_end

    def diverge(epoch, least_rate):
        def ending(self, number, logs=None):
            if number + 1 == epoch and self.rate >= least_rate:
                logs = {**logs, "loss": math.inf}
            end(self, number, logs)

        monkeypatch.setattr(Monitor, "on_epoch_end", ending)

    return diverge


@pytest.mark.parametrize(
    "schedule",
    ["adaptive", pytest.param("cosine", marks=pytest.mark.slow)],
)
def test_it_goes_on_from_the_last_good_epoch_at_a_lower_rate(
    tmp_path, open_context, make_spec, diverge, schedule, capsys
):
    context = open_context(tmp_path)
    spec = make_spec(context, recipe=RECIPES[schedule])
    diverge(epoch=2, least_rate=0.02)

    result = run_job(spec, "root flat", context)

    told = capsys.readouterr().err
    assert "[root flat] the loss is inf after epoch 2 at learning rate" in told
    assert "[root flat] goes on after epoch 1" in told
    first, second, third = results.read_history(context.store, spec.job)
    assert first["learning_rate"] == pytest.approx(0.1)
    assert 0.002 < second["learning_rate"] <= 0.0101
    assert third["learning_rate"] <= second["learning_rate"]
    assert result.rate_factor == 0.1
    assert results.read(context.store, spec.job) == result


def test_a_network_that_diverges_at_any_rate_leaves_no_result(
    tmp_path, open_context, make_spec
):
    context = open_context(tmp_path)
    recipe = {"initial_learning_rate": 1e30, "momentum": 0.0}
    spec = make_spec(context, recipe=recipe)

    with pytest.raises(UserError) as raised:
        run_job(spec, "root first", context)

    message = str(raised.value)
    for named in (
        spec.job,
        "root first",
        "epoch 1",
        "rate 1e+29",
        "initial_learning_rate",
    ):
        assert named in message
    assert not context.store.models.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    ["adaptive", pytest.param("cosine", marks=pytest.mark.slow)],
)
def test_a_second_try_that_is_interrupted_stays_at_the_lower_rate(
    tmp_path, open_context, make_spec, diverge, monkeypatch, schedule
):
    context = open_context(tmp_path)
    spec = make_spec(context, recipe=RECIPES[schedule])
    diverge(epoch=2, least_rate=0.02)
    begin = Monitor.on_epoch_begin

    def beginning(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "on_epoch_begin", beginning)
        with pytest.raises(KeyboardInterrupt):
            run_job(spec, "root flat", context)
    path = context.store.checkpoint(spec.job)
    state = checkpoint.read(path, spec.job).state
    assert (len(state.history), state.rate_factor) == (2, 0.1)

    result = run_job(spec, "root flat", context)

    rates = [
        entry["learning_rate"]
        for entry in results.read_history(context.store, spec.job)
    ]
    assert rates[2] <= rates[1] <= 0.0101
    assert result.rate_factor == 0.1


@pytest.mark.slow
def test_an_interruption_is_not_lost_where_the_epoch_diverges(
    tmp_path, open_context, make_spec, diverge, monkeypatch
):
    context = open_context(tmp_path)
    spec = make_spec(context, recipe=RECIPES["cosine"])
    diverge(epoch=1, least_rate=0.0)
    begin = Checkpoint.on_test_begin

    def beginning(self, logs=None):
        begin(self, logs)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "on_test_begin", beginning)
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_job(spec, "root flat", context)

    assert signal.getsignal(signal.SIGINT) is before
