"""Long requests are run part by part, and parts are short."""

import time

import numpy as np
import pytest

from hierkeras.serving.local import slices
from hierkeras.serving.local.errors import ServingError, invalid
from hierkeras.serving.local.limits import Budget


class Model:
    """Doubles rows, each in so many seconds."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.parts = []

    def __call__(self, feeds):
        self.parts.append(len(feeds["x"]))
        time.sleep(self.seconds * len(feeds["x"]))
        return {"y": 2 * feeds["x"]}


def run(model, count, budget=None):
    feeds = {"x": np.arange(count)}
    return slices.run(model, feeds, budget or Budget())["y"].tolist()


def test_few_rows_are_one_part():
    for count in 0, 1, slices.FIRST_ROWS:
        model = Model()
        assert run(model, count) == [2 * row for row in range(count)]
        assert model.parts == [count]


def test_fast_rows_come_in_larger_parts():
    model = Model()
    assert run(model, 200) == [2 * row for row in range(200)]
    assert model.parts == [16, 32, 64, 64, 24]


def test_slow_rows_come_in_smaller_parts():
    model = Model(seconds=0.05)
    run(model, 30)
    assert model.parts[0] == slices.FIRST_ROWS
    assert all(3 <= part <= 5 for part in model.parts[1:-1])


def test_between_parts_others_go_first():
    gone = []
    budget = Budget()
    budget.share(lambda: gone.append(1))
    run(Model(), 200, budget)
    assert len(gone) == 4


@pytest.mark.parametrize("end", [Budget.cancel, lambda budget: None])
def test_it_ends_where_nobody_waits_any_more(end):
    budget = Budget(seconds=0.3)
    budget.share(lambda: end(budget))
    model = Model(seconds=0.015)
    with pytest.raises(ServingError) as caught:
        run(model, 1000, budget)
    assert caught.value.code.name in ("CANCELLED", "DEADLINE_EXCEEDED")
    assert sum(model.parts) < 100


def test_a_row_is_named_by_its_number_among_all():
    def refuse(feeds):
        bad = np.flatnonzero(feeds["x"] == 55)
        if bad.size:
            raise invalid(f"row {bad[0]} of the request is damaged")
        return feeds

    with pytest.raises(ServingError) as caught:
        run(refuse, 100)
    assert caught.value.message == "row 55 of the request is damaged"


def test_what_does_not_answer_row_by_row_is_run_whole():
    sizes = []

    def total(feeds):
        sizes.append(len(feeds["x"]))
        return {"y": feeds["x"].sum(keepdims=True)}

    assert run(total, 100) == [4950]
    assert sizes == [slices.FIRST_ROWS, 100]
