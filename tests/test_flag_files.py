"""Every recipe in flags/ can be read, and says what it is."""

import re
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from hierkeras import _recipe_flags, increment
from hierkeras.recipe import compose
from hierkeras.recipe.resolve import Facts

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "flags").glob("*"))
HEADER = ("source", "command", "hardware", "time", "error|expected")


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request):
    return request.param


def test_the_folder_holds_the_recipes():
    assert {path.name for path in FILES} >= {
        "digits.flags",
        "tiny_imagenet_animal.flags",
        "cifar100.flags",
        "imagenet_1k_animal.flags",
        "imagenet_22k_animal.flags",
    }


def test_every_flag_is_one_of_the_increment(file):
    known = {
        flag.name
        for flag in flags.FLAGS.get_key_flags_for_module(increment.__name__)
    }
    named = re.findall(r"^--(?:no)?(\w+)", file.read_text(), re.MULTILINE)
    assert named
    assert set(named) <= known


def test_the_values_make_a_recipe(file):
    with flagsaver.flagsaver():
        assert flags.FLAGS(["increment", f"--flagfile={file}"]) == ["increment"]
        asked = _recipe_flags.asked()
        workdir = flags.FLAGS.workdir
    assert asked.preset  # each begins where a name says
    about = Facts(30_000, 60, is_photos=True, side=64)
    composed = compose.compose(asked, None, "photos").resolved(about)
    given = {n for n, where in composed.sources.items() if where == "given"}
    assert given == set(asked.changes)
    assert workdir == f"runs/{file.stem}"


def test_the_header_says_what_to_expect(file):
    lines = file.read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    header = "\n".join(lines[:end]).lower()
    assert [word for word in HEADER if not re.search(word, header)] == []
    assert f"--flagfile=flags/{file.name}" in header
