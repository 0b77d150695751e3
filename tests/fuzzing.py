"""What fuzzing shares: how much of it, and how files are damaged.

FUZZ_EXAMPLES=100000 python -m pytest --slow TEST --hypothesis-seed=random
"""

import os
import re
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def times(few):
    """Settings for so many examples, or as many as FUZZ_EXAMPLES says."""
    return settings(
        max_examples=EXAMPLES or few,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def damaged(draw, wholes):
    """Bytes of one of some files, changed in a few places."""
    whole = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 4))):
        # Headers are where sizes, offsets and counts stand.
        place = draw(
            st.one_of(
                st.integers(0, min(64, len(whole))),
                st.integers(0, len(whole)),
            )
        )
        kind = draw(st.sampled_from(("set", "number", "cut", "put", "copy")))
        if kind == "set":
            whole[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "number":
            value = draw(st.sampled_from((0, 1, 255, 2**15, 2**31, 2**32 - 1)))
            order = draw(st.sampled_from(("big", "little")))
            whole[place : place + 4] = value.to_bytes(4, order)
        elif kind == "cut":
            del whole[place : place + draw(st.integers(1, 1 + len(whole)))]
        elif kind == "put":
            whole[place:place] = draw(st.binary(max_size=40))
        else:
            end = place + draw(st.integers(1, 100))
            whole[place:place] = whole[place:end]
    return bytes(whole)


NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.integers(-(2**65), 2**65),
    st.sampled_from((2**31, 2**32, 2**53 + 1, 2**62, 10**400)),
    st.floats(),
)
# JSON that Python's reader takes: NaN, Infinity and lone surrogates, too.
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(st.text(max_size=8), below, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def forged(draw, whole):
    """A JSON value of which a few parts are others, or missing."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(_paths(whole))))
        other = draw(st.sampled_from(["drop", "twice"]) | JSON)
        whole = _changed(whole, path, other)
    return whole


def _paths(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in items:
            yield from _paths(below, (*path, key))


def _changed(value, path, other):
    """The same but for what is at a path."""
    if not path:
        return value if other in ("drop", "twice") else other
    key, *rest = path
    copy = value.copy()
    if rest or other not in ("drop", "twice"):
        copy[key] = _changed(value[key], rest, other)
    elif other == "drop":
        del copy[key]
    elif isinstance(copy, list):
        copy.insert(key, copy[key])
    else:
        copy[f"{key}2"] = copy[key]
    return copy


def forget_peak():
    """Begins to measure the most memory that this process holds."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory():
    """The most bytes that it held since."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
