"""Tells how often a rule takes a clone increment that it should not.

    python tools/competition_power.py
    python tools/competition_power.py --workdir=DIR

Two rules look at validation images of which the clone increment alone has
some right, and the flat increment alone others: the paper's, which takes the
lower error, and evidence (`hierkeras.growth.evidence`). Without --workdir it
is known by how much each clone increment is truly better, and the table tells
how often a rule takes one that it should not and misses one that it should
take.

With --workdir it looks at the competitions of its latest generation, whose
evidence that has noted: samples of their validation images, drawn with
replacement, tell how often each rule takes the clone increment for a number of
images.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from absl import flags

from hierkeras import _main, _workdir_flag
from hierkeras._errors import UsageError, UserError
from hierkeras._float_flag import define_float
from hierkeras.growth import evidence
from hierkeras.growth.evidence import Evidence
from hierkeras.recipe.growth import Growth
from hierkeras.tree.store import Store

_NUM_IMAGES = flags.DEFINE_list(
    "num_images",
    ["50", "100", "200", "500", "1000", "2000", "5000"],
    "How many validation images there are, e.g. 50,500.",
)
_FLAT_ERRORS = flags.DEFINE_list(
    "flat_errors",
    ["0.5", "0.1"],
    "True errors of flat increments, in [0, 1]; a table for each.",
)
_DIFFERING = flags.DEFINE_list(
    "differing",
    ["0.16", "0.06"],
    "For each of them the share of the images, in [0, 1], that one increment "
    "has right and the other wrong.",
)
_GAINS = flags.DEFINE_list(
    "gains",
    ["-0.01", "0", "0.01", "0.02", "0.05"],
    "By how much clone increments truly err less, in [-1, 1].",
)
_TIMES_OPERATIONS = define_float(
    "times_operations",
    2.0,
    "Operations of a clone increment, the flat one's being 1.",
    lower_bound=0.01,
    upper_bound=1e6,
)
_LEVEL = define_float(
    "level",
    Growth().significance,
    "Greatest p-value that counts as beyond chance.",
    lower_bound=1e-9,
    upper_bound=1.0,
)
_MIN_GAIN_PER_DOUBLING = define_float(
    "min_gain_per_doubling",
    Growth().min_gain_per_doubling,
    "Share of the images that each doubling of the operations has to take off "
    "the error.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_DRAWS = flags.DEFINE_integer(
    "draws",
    20_000,
    "Samples of images for each figure.",
    lower_bound=1,
    upper_bound=10**7,
)
# Not `seed`: tests import this beside the training's flags.
_SEED = flags.DEFINE_integer(
    "draw_seed", 0, "Of the samples.", lower_bound=0, upper_bound=2**32 - 1
)

RULES = ("lower error", "evidence")


@dataclasses.dataclass(frozen=True)
class Trial:
    """What both rules are tried with.

    Args:
        generator: Draws the images.
        draws: Samples of images for each figure, at least 1.
        level: Greatest p-value that evidence takes for more than chance, in
            (0, 1].
        asked: Share of the images by which it wants the error to be lower,
            in [0, 1].
    """

    generator: np.random.Generator
    draws: int = 20_000
    level: float = Growth().significance
    asked: float = Growth().min_gain_per_doubling

    def shares_taken(
        self, alone: tuple[float, float], num_images: int
    ) -> dict[str, float]:
        """How often each rule takes the clone increment.

        Args:
            alone: Shares of images that clone and flat increment alone have
                right.
            num_images: Images of a sample, which are independent.

        Returns:
            Rule -> share of the samples, in [0, 1].
        """
        alike = max(0.0, 1 - sum(alone))
        clone, flat, _ = self.generator.multinomial(
            num_images, (*alone, alike), size=self.draws
        ).T
        worth = evidence.are_worth(
            clone, flat, num_images, self.level, self.asked
        )
        taken = (clone > flat, worth)
        return {
            rule: float(takes.mean())
            for rule, takes in zip(RULES, taken, strict=True)
        }


def main() -> None:
    """Prints the tables."""
    images = [int(number) for number in _numbers(_NUM_IMAGES, 1, 10**7)]
    trial = Trial(
        np.random.default_rng(_SEED.value),
        _DRAWS.value,
        _LEVEL.value,
        evidence.asked_gain(
            _TIMES_OPERATIONS.value, _MIN_GAIN_PER_DOUBLING.value
        ),
    )
    if not _workdir_flag.WORKDIR.value:
        _simulate(trial, images)
        return
    for node, pair in noted_pairs(_workdir_flag.store()):
        asked = _MIN_GAIN_PER_DOUBLING.value
        told = evidence.words(pair, _LEVEL.value, asked)
        gain = evidence.asked_gain(pair.times_operations, asked)
        table = table_of_pair(
            dataclasses.replace(trial, asked=gain), pair, images
        )
        print(f"{node}, of all images: {told}.\n\n{table}")


def _simulate(trial: Trial, images: list[int]) -> None:
    errors = _numbers(_FLAT_ERRORS, 0, 1)
    differing = _numbers(_DIFFERING, 0, 1)
    gains = _numbers(_GAINS, -1, 1)
    if len(errors) != len(differing):
        raise UsageError(
            "--differing takes a share for each of --flat_errors. Received: "
            f"{len(differing)} for {len(errors)}"
        )
    tables = []
    for error, share in zip(errors, differing, strict=True):
        increments = {g: alone_right(error, share, g) for g in gains}
        tables.append(
            f"Flat error {100 * error:g} %; one is right and the other wrong "
            f"on {100 * share:g} % of the images.\n\n"
            + table_of_gains(trial, increments, images)
        )
    print("\n\n".join(tables))


def _numbers(
    flag: flags.FlagHolder[list[str]], least: float, most: float
) -> list[float]:
    try:
        numbers = [float(text) for text in flag.value]
    except ValueError:
        numbers = []
    if not numbers or not all(least <= number <= most for number in numbers):
        raise UsageError(
            f"--{flag.name} takes numbers of {least:g} to {most:g}. Received: "
            f"{','.join(flag.value)!r}"
        )
    return numbers


def alone_right(
    flat_error: float, differing: float, gain: float
) -> tuple[float, float]:
    """Shares of images that clone and flat increment alone have right.

    Args:
        flat_error: Of the flat increment, in [0, 1].
        differing: Share of the images, in [0, 1], that one of both has right.
        gain: Flat minus clone error, in [-1, 1].

    Returns:
        That of the clone increment, and that of the flat one, in [0, 1].

    Raises:
        UsageError: If there are no such two increments.
    """
    clone, flat = (differing + gain) / 2, (differing - gain) / 2
    if not (0 <= clone <= flat_error and 0 <= flat <= 1 - flat_error):
        raise UsageError(
            f"no clone increment differs on {differing:g} of the images and "
            f"errs {gain:g} less than {flat_error:g}; change --differing"
        )
    return clone, flat


def noted_pairs(store: Store) -> list[tuple[str, Evidence]]:
    """The competitions of a work directory's latest step.

    Args:
        store: The work directory.

    Returns:
        Name of the node, and what spoke for each of its increments.

    Raises:
        UserError: If there was none that evidence decided.
    """
    latest = store.latest()
    found = [
        (
            decision.node,
            Evidence(
                noted.num_images,
                noted.only_flat_right,
                noted.only_clone_right,
                noted.flat_flops,
                noted.clone_flops,
            ),
        )
        for decision in (latest.step.decisions if latest else ())
        if (noted := decision.evidence) is not None
    ]
    if not found:
        raise UserError(
            f"no competition of the latest step in {store.root} was decided "
            "by evidence; give another --workdir"
        )
    return found


def table_of_gains(
    trial: Trial,
    increments: dict[float, tuple[float, float]],
    images: list[int],
) -> str:
    """A Markdown table of what rules take wrongly, and what they miss.

    Args:
        trial: What they are tried with.
        increments: By how much a clone increment truly errs less -> shares
            of images that it and the flat increment alone have right.
        images: How many there are, for each row.
    """
    useful = [gain > 0 and gain >= trial.asked for gain in increments]
    headings = map(_heading, increments, useful)
    rows = []
    for count in images:
        taken = [trial.shares_taken(a, count) for a in increments.values()]
        for rule in RULES:
            wrong = [
                1 - shares[rule] if is_useful else shares[rule]
                for shares, is_useful in zip(taken, useful, strict=True)
            ]
            rows.append([f"{count:,}", rule, *map(_percent, wrong)])
    return _markdown(["images", "rule", *headings], rows)


def table_of_pair(trial: Trial, pair: Evidence, images: list[int]) -> str:
    """A Markdown table of how often rules take a real clone increment.

    Args:
        trial: What they are tried with.
        pair: The evidence of all of its images.
        images: How many there are, for each row; as many as the pair has
            are a row too, more of them are none.
    """
    total = pair.num_images
    alone = (pair.only_clone_right / total, pair.only_flat_right / total)
    rows = []
    for count in [*(count for count in images if count < total), total]:
        taken = trial.shares_taken(alone, count)
        rows.append([f"{count:,}", *map(_percent, taken.values())])
    return _markdown(["images", *(f"{rule} takes it" for rule in RULES)], rows)


def _heading(gain: float, is_useful: bool) -> str:
    verb = "misses" if is_useful else "takes"
    if gain == 0:
        return f"{verb} as good"
    points = f"{100 * abs(gain):g}"
    unit = "point" if points == "1" else "points"
    return f"{verb} {points} {unit} {'better' if gain > 0 else 'worse'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    _main.run(main)
