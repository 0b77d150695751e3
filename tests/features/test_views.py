"""Random crops that are a function of what an image is."""

import subprocess
import sys

import numpy as np
import pytest

from hierkeras.features.shards import KEY_TYPE
from hierkeras.features.views import WHOLE, View
from tests.conftest import ROOT

KEYS = np.array([bytes([k] * 15 + [0]) for k in range(200)], KEY_TYPE)


def test_a_whole_image_has_no_box():
    assert WHOLE.boxes(KEYS) is None
    assert WHOLE.name == "whole"


def test_views_have_names_of_their_own():
    views = [WHOLE, View(1), View(2), View(1, True), View(2, True)]
    assert len({view.name for view in views}) == 5


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_crop_is_a_square_of_at_least_two_fifths(is_mirrored):
    boxes = View(1, is_mirrored).boxes(KEYS)
    assert (boxes.shape, boxes.dtype) == ((200, 4), np.float32)
    assert (boxes >= 0).all() and (boxes <= 1 + 1e-6).all()
    top, left, bottom, right = boxes.T
    turned = left > right
    height, width = bottom - top, np.abs(right - left)
    np.testing.assert_allclose(height, width, atol=1e-6)
    assert (height**2 > 0.4 - 1e-5).all()
    # Areas are even over their range, as are places.
    assert abs((height**2).mean() - 0.7) < 0.05
    room = height < 0.9
    assert abs((top / (1 - height))[room].mean() - 0.5) < 0.1
    assert abs(turned.mean() - (0.5 if is_mirrored else 0)) < 0.1
    straight = View(1).boxes(KEYS)
    np.testing.assert_array_equal(np.sort(boxes), np.sort(straight))


def test_an_image_has_its_crops_in_any_company():
    order = np.random.default_rng(0).permutation(200)
    found = View(3).boxes(KEYS[order])
    np.testing.assert_array_equal(found, View(3).boxes(KEYS)[order])


def test_crops_of_an_image_differ_and_so_do_images():
    one, other = View(1).boxes(KEYS), View(2).boxes(KEYS)
    assert not (one == other).all(axis=1).any()
    assert len(np.unique(one, axis=0)) == 200


def test_another_process_makes_the_same():
    code = (
        "import numpy as np\n"
        "from hierkeras.features.views import View\n"
        "keys = np.array([b'k' * 16], 'S16')\n"
        "print(View(7, True).boxes(keys).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    here = View(7, True).boxes(np.array([b"k" * 16], KEY_TYPE))
    assert done.stdout.strip() == here.tobytes().hex()
