"""How a version that is there answers, from its manifest."""

import json

import msgspec
import pytest

from hierkeras.recipe.serving import Serving
from hierkeras.serving.checks.manifest import EXTRA, MANIFEST, differences
from hierkeras.tree.routing import Routing

FUSED = {"rule": "fused", "beam_width": 2, "contention": 0.0}
HARD = {"rule": "hard", "beam_width": 2, "contention": 0.0}


@pytest.fixture
def version(tmp_path):
    """A function that makes a version whose manifest is this."""

    def version(raw):
        (tmp_path / EXTRA).mkdir(exist_ok=True)
        (tmp_path / EXTRA / MANIFEST).write_bytes(raw)
        return tmp_path

    return version


def test_what_a_version_does_not_say_is_told_as_unknown(version):
    content = {"routing": {"rule": "hard"}, "serving": {}, "generation": 1}
    folder = version(json.dumps(content).encode())
    found = differences(folder, Routing("hard"), Serving(top=5))
    assert "top unknown instead of 5" in found


@pytest.mark.parametrize(
    ("there", "asked", "expected"),
    [
        (FUSED, Routing("fused", 2), []),
        (
            FUSED,
            Routing("soft", 3, 0.5),
            [
                "routing fused instead of soft",
                "beam_width 2 instead of 3",
                "contention 0.0 instead of 0.5",
            ],
        ),
        (HARD, Routing("hard", 3, 0.5), []),  # which has neither
    ],
)
def test_what_differs_is_named_as_the_flags_are(
    version, there, asked, expected
):
    serving = msgspec.to_builtins(Serving(top=5))
    content = {"routing": there, "serving": serving, "generation": 1}
    folder = version(json.dumps(content).encode())

    assert differences(folder, asked, Serving(top=5)) == expected
    assert differences(folder, asked, Serving(top=3)) == [
        *expected,
        "top 5 instead of 3",
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"routing": 1, "serving": {}}',
        b'{"routing": {"rule": "\xff"}, "serving": {}}',
        b'{"routing": ' + b"[" * 100_000,
    ],
)
def test_a_damaged_manifest_says_nothing(version, raw):
    assert differences(version(raw), Routing(), Serving()) == []
