"""Values on their way into the page."""

import json

import pytest

from hierkeras.reporting import rendering


def test_what_could_end_a_script_is_escaped():
    data = {"name": "</script><script>alert(1)</script>&<!--"}
    text = rendering._json(data)
    assert not set("<>&") & set(text)
    assert json.loads(text) == data


@pytest.mark.parametrize(
    ("share", "shown"), [(0.125, "12.5%"), (0.0, "0.0%"), (None, "-")]
)
def test_shares_are_shown_in_percent(share, shown):
    assert rendering.percent(share) == shown


def test_no_number_is_no_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        rendering._json({"error": float("nan")})
