"""Whether a clone increment is better beyond chance, and worth its price.

    evidence = compare(flat_right, clone_right, flat_flops, clone_flops)
    if is_worth(evidence, level=0.05, min_gain_per_doubling=0.005):
        ...
    print(words(evidence, level=0.05, min_gain_per_doubling=0.005))

Both increments answer the same validation images, so only images that one of
them has right and the other wrong can tell which is better. If neither is,
each such image is as likely to speak for the one as for the other: McNemar's
test (McNemar 1947, "Note on the sampling error of the difference between
correlated proportions or percentages"), here exact and one-sided.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy import stats

# In images; what is asked for is a product of floats, rounded either way.
_ROUNDING = 1e-6
# P-values are not spelt out below it.
_TINY = 1e-6


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What validation images say about the two increments of a leaf.

    Args:
        num_images: Images that both answered, at least 1.
        only_flat_right: How many of them the flat increment alone has right.
        only_clone_right: How many the clone increment alone has right.
        flat_flops: Operations of the flat increment for an image, a
            multiply-add being 2; greater than 0. None, as `clone_flops` is:
            they were not looked at.
        clone_flops: Of the clone increment.

    Raises:
        ValueError: If the counts or the operations contradict themselves.
    """

    num_images: int
    only_flat_right: int
    only_clone_right: int
    flat_flops: float | None = None
    clone_flops: float | None = None

    def __post_init__(self) -> None:
        counts = (self.only_flat_right, self.only_clone_right)
        if self.num_images < 1 or min(counts) < 0:
            raise ValueError(
                "expected at least one image and no negative counts. "
                f"Received: {self}"
            )
        if sum(counts) > self.num_images:
            raise ValueError(
                f"expected no more differences than images. Received: {self}"
            )
        operations = [self.flat_flops, self.clone_flops]
        given = [flops for flops in operations if flops is not None]
        if len(given) == 1 or not all(0 < f < math.inf for f in given):
            raise ValueError(
                "expected the operations of both increments, finite and "
                f"greater than 0, or of neither. Received: {self}"
            )

    @property
    def gain(self) -> float:
        """Flat minus clone error, in [-1, 1]: a share of the images."""
        lead = self.only_clone_right - self.only_flat_right
        return lead / self.num_images

    @property
    def p_value(self) -> float:
        """How likely such a lead is by chance alone, in [0, 1]."""
        return float(p_values(self.only_clone_right, self.only_flat_right))

    @property
    def times_operations(self) -> float | None:
        """Operations of the clone increment, the flat one's being 1."""
        if self.flat_flops is None or self.clone_flops is None:
            return None
        return self.clone_flops / self.flat_flops


def compare(
    flat_right: npt.NDArray[np.bool_],
    clone_right: npt.NDArray[np.bool_],
    flat_flops: float | None = None,
    clone_flops: float | None = None,
) -> Evidence:
    """Compares the answers of two increments to the same images.

    Args:
        flat_right: bool array of shape (n,), n at least 1: the images that
            the flat increment names rightly.
        clone_right: The same of the clone increment, in the same order.
        flat_flops: Operations of the flat increment for an image, a
            multiply-add being 2; None if they do not matter.
        clone_flops: Of the clone increment.

    Raises:
        ValueError: If they are no such arrays.
    """
    flat_right, clone_right = np.asarray(flat_right), np.asarray(clone_right)
    for right in (flat_right, clone_right):
        if right.dtype != np.bool_ or right.ndim != 1:
            raise ValueError(
                "expected bool arrays of shape (n,). Received: "
                f"{right.dtype} of shape {right.shape}"
            )
    if len(flat_right) != len(clone_right):
        raise ValueError(
            "expected answers to the same images. Received: "
            f"{len(flat_right)} of the flat and {len(clone_right)} of the "
            "clone increment"
        )
    return Evidence(
        num_images=len(flat_right),
        only_flat_right=int((flat_right & ~clone_right).sum()),
        only_clone_right=int((clone_right & ~flat_right).sum()),
        flat_flops=flat_flops,
        clone_flops=clone_flops,
    )


def is_worth(
    evidence: Evidence,
    level: float,
    min_gain_per_doubling: float,
) -> bool:
    """Whether to take the clone increment.

    It has to be better beyond chance, and by enough for what it costs to
    serve. With a level of 1 and a minimum of 0 what is left is the paper's
    rule: the lower error wins, a tie goes to the flat increment.

    Args:
        evidence: What is known of both.
        level: Greatest p-value that counts as beyond chance, in (0, 1].
        min_gain_per_doubling: Share of the images, in [0, 1], by which each
            doubling of an image's operations has to lower the error. A clone
            increment that costs no more only has to be better.

    Raises:
        ValueError: If one of them is out of range, or if there is a minimum
            and no operations to apply it to.
    """
    if not 0 < level <= 1:
        raise ValueError(f"expected a level in (0, 1]. Received: {level}")
    return bool(
        are_worth(
            evidence.only_clone_right,
            evidence.only_flat_right,
            evidence.num_images,
            level,
            asked_gain(evidence.times_operations, min_gain_per_doubling),
        )
    )


def are_worth(
    only_clone_right: npt.ArrayLike,
    only_flat_right: npt.ArrayLike,
    num_images: int,
    level: float,
    asked: float,
) -> npt.NDArray[np.bool_]:
    """Whether to take the clone increment, for many comparisons at once.

    Args:
        only_clone_right: int array of any shape: images that the clone
            increment alone has right.
        only_flat_right: Of the flat increment, of the same shape.
        num_images: Images of each comparison.
        level: Greatest p-value that counts as beyond chance, in (0, 1].
        asked: Share of the images by which the error has to be lower.

    Returns:
        A bool array of their shape.
    """
    lead = np.subtract(only_clone_right, only_flat_right)
    enough = (lead > 0) & (lead >= asked * num_images - _ROUNDING)
    return enough & (p_values(only_clone_right, only_flat_right) <= level)


def asked_gain(
    times_operations: float | None, min_gain_per_doubling: float
) -> float:
    """By which share of the images the error has to be lower, at least 0.

    Args:
        times_operations: Operations of the clone increment, the flat one's
            being 1; greater than 0. None if they were not looked at.
        min_gain_per_doubling: Share of the images, in [0, 1], that each
            doubling has to take off the error.

    Raises:
        ValueError: If the minimum is out of range, or if there is one and no
            operations to apply it to.
    """
    if not 0 <= min_gain_per_doubling <= 1:
        raise ValueError(
            "expected a gain per doubling in [0, 1]. Received: "
            f"{min_gain_per_doubling}"
        )
    if min_gain_per_doubling == 0:
        return 0.0
    if times_operations is None:
        raise ValueError(
            "a gain per doubling needs the operations of both increments"
        )
    return max(0.0, min_gain_per_doubling * math.log2(times_operations))


def p_values(
    only_clone_right: npt.ArrayLike, only_flat_right: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """How likely at least such leads of clone increments are by chance.

    That of `scipy.stats.binomtest(only_clone_right, only_clone_right +
    only_flat_right, 0.5, alternative="greater")`; 1 where the two never
    differ.

    Args:
        only_clone_right: int array of any shape, at least 0: images that the
            clone increment alone has right.
        only_flat_right: Of the flat increment, of the same shape.

    Returns:
        A float64 array of their shape, in [0, 1].
    """
    differing = np.add(only_clone_right, only_flat_right)
    beyond = np.subtract(only_clone_right, 1)
    return np.asarray(stats.binom.sf(beyond, differing, 0.5), np.float64)


def words(
    evidence: Evidence,
    level: float,
    min_gain_per_doubling: float,
) -> str:
    """The evidence in a phrase: counts, p-value, gain and price.

    Args:
        evidence: What is known of both increments.
        level: As it was judged by, in (0, 1].
        min_gain_per_doubling: As it was judged by, in [0, 1].

    Raises:
        ValueError: If the minimum is out of range.
    """
    phrase = (
        "right where the other is wrong: "
        f"clone {evidence.only_clone_right:,} images, "
        f"flat {evidence.only_flat_right:,} of {evidence.num_images:,}; "
        f"{_beside(evidence.p_value, level)}; "
        f"{_in_points(evidence.gain)} errors"
    )
    times = evidence.times_operations
    if times is None:
        return phrase
    phrase += f" at {times:.2f} times the operations"
    asked = asked_gain(times, min_gain_per_doubling)
    return f"{phrase}, which ask for {100 * asked:.2f}" if asked else phrase


def _in_points(gain: float) -> str:
    if gain == 0:
        return "as many"
    return f"{100 * abs(gain):.2f} points {'fewer' if gain > 0 else 'more'}"


def _beside(p_value: float, level: float) -> str:
    """A p-value and the level, to as many digits as tell them apart."""
    if p_value < _TINY <= level:
        return f"p < {_TINY:f} <= {level:g}"
    for digits in range(2, 18):
        text = np.format_float_positional(
            p_value, digits, fractional=False, trim="-"
        )
        if (float(text) <= level) == (p_value <= level):
            break
    return f"p = {text} {'<=' if p_value <= level else '>'} {level:g}"
