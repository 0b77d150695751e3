"""`tools/competition_power.py`, which is no part of the package."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hierkeras._errors import UsageError
from hierkeras.growth.evidence import Evidence, is_worth
from hierkeras.tree import generation
from hierkeras.tree.store import Store
from tests import builders

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))

import competition_power
from competition_power import RULES, Trial, alone_right


def exactly(alone, num_images, takes):
    """How often a rule takes the clone increment, summed over all counts."""
    clone, flat = np.divmod(np.arange((num_images + 1) ** 2), num_images + 1)
    possible = clone + flat <= num_images
    clone, flat = clone[possible], flat[possible]
    chances = stats.multinomial.pmf(
        np.stack([clone, flat, num_images - clone - flat], axis=1),
        num_images,
        (*alone, 1 - sum(alone)),
    )
    taken = [takes(b, c) for b, c in zip(clone, flat, strict=True)]
    return chances[taken].sum()


@pytest.mark.parametrize("gain", [-0.01, 0.0, 0.05])
def test_samples_agree_with_the_sum_over_all_counts(gain):
    alone = alone_right(0.5, 0.16, gain)
    trial = Trial(np.random.default_rng(0), asked=0.03)
    expected = [
        exactly(alone, 50, lambda clone, flat: clone > flat),
        exactly(
            alone,
            50,
            lambda clone, flat: is_worth(
                Evidence(50, flat, clone, 1.0, 8.0), 0.05, 0.01
            ),
        ),
    ]
    taken = trial.shares_taken(alone, 50)
    assert tuple(taken) == RULES
    assert list(taken.values()) == pytest.approx(expected, abs=0.015)


def test_evidence_takes_no_more_useless_clones_than_its_level():
    trial = Trial(np.random.default_rng(0), draws=5_000)
    for num_images in (50, 500, 5_000):
        taken = trial.shares_taken(alone_right(0.5, 0.16, 0.0), num_images)
        assert taken["evidence"] < 0.06  # 0.05, and chance
        assert taken["lower error"] > 0.4


def test_shares_alone_right_make_up_difference_and_gain():
    clone, flat = alone_right(0.5, 0.16, 0.02)
    assert (clone, flat) == pytest.approx((0.09, 0.07))
    assert alone_right(0.1, 0.0, 0.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("flat_error", "differing", "gain"),
    [
        (0.5, 0.01, 0.02),  # a gain of more images than differ
        (0.05, 0.16, 0.0),  # more that the clone has right than flat errs on
        (0.95, 0.16, 0.0),  # more that flat has right than it does
    ],
)
def test_pairs_that_cannot_be_are_refused(flat_error, differing, gain):
    with pytest.raises(UsageError, match="change --differing"):
        alone_right(flat_error, differing, gain)


def test_the_table_tells_what_is_taken_and_what_is_missed(run_main):
    told = run_main(
        competition_power,
        "--num_images=40,1000",
        "--flat_errors=0.1",
        "--differing=0.1",
        "--gains=-0.1,0.004,0.1",
        "--draws=200",
    )
    assert told.status == 0, told.stderr
    # Of 0.004 it may take some, which the least gain of 0.005 calls useless.
    header, _, *rows = told.stdout.splitlines()[2:]
    assert told.stdout.startswith(
        "Flat error 10 %; one is right and the other wrong on 10 % of the "
        "images.\n\n"
    )
    assert header == (
        "| images | rule | takes 10 points worse | takes 0.4 points better "
        "| misses 10 points better |"
    )
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| 40", "lower error"],
        ["| 40", "evidence"],
        ["| 1,000", "lower error"],
        ["| 1,000", "evidence"],
    ]
    # Where all that differ speak for one, 1,000 images leave no doubt.
    assert rows[3].split(" | ")[2] == "0.0 %"
    assert rows[3].split(" | ")[4] == "0.0 % |"


def test_the_same_seed_gives_the_same_table(run_main):
    flags = ("--num_images=100", "--draws=100")
    first, again, other = (
        run_main(competition_power, *flags, f"--draw_seed={seed}").stdout
        for seed in (1, 1, 2)
    )
    assert first == again != other


def grown(folder, evidence):
    """A work directory whose only step was decided by some evidence."""
    flat = builders.leaf("root", "ab")
    decision = builders.decision(flat, evidence=evidence)
    made = builders.generation(builders.tree("ab"), decisions=(decision,))
    Store(folder).publish(made)


def test_a_real_pair_is_sampled_up_to_its_images(run_main, tmp_path):
    # 90 images that differ of 1,000, two thirds of them for the clone.
    grown(tmp_path, generation.Evidence(1000, 30, 60, 0.001, 1e6, 2e6))
    told = run_main(
        competition_power,
        f"--workdir={tmp_path}",
        "--num_images=50,200,5000",
        "--draws=2000",
    )
    assert told.status == 0, told.stderr
    first, _, header, _, *rows = told.stdout.splitlines()
    assert first.startswith(
        "root, of all images: right where the other is wrong: clone 60 "
        "images, flat 30 of 1,000; p = 0.001 <= 0.05; 3.00 points fewer errors"
    )
    assert header == "| images | lower error takes it | evidence takes it |"
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [cell[0] for cell in cells] == ["50", "200", "1,000"]
    paper, evidence = ([float(c[k].split()[0]) for c in cells] for k in (1, 2))
    assert all(e < p for e, p in zip(evidence, paper, strict=True))
    assert evidence == sorted(evidence)
    assert paper[-1] > 99


@pytest.mark.parametrize(
    ("flags", "status", "named"),
    [
        (["--num_images=0"], 2, "--num_images"),
        (["--gains=much"], 2, "'much'"),
        (["--flat_errors=nan"], 2, "--flat_errors"),
        (["--differing=0.1"], 2, "1 for 2"),
        (["--differing=0.16,0.01"], 2, "change --differing"),
        (["--workdir=no/such"], 1, "no/such"),
        (["more"], 2, "more"),
    ],
)
def test_mistakes_are_one_line(run_main, flags, status, named):
    run_main(competition_power, *flags).check_refused(status, named)


def test_a_step_without_evidence_is_told(run_main, tmp_path):
    grown(tmp_path, None)
    told = run_main(competition_power, f"--workdir={tmp_path}")
    told.check_refused(1, str(tmp_path), "evidence")
