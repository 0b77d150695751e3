"""What a person at a terminal sees."""

import os
import pty
import subprocess
import sys

from hierkeras import _terminal
from hierkeras.tree.generation import Decision
from hierkeras.tree.nodes import Branch, Leaf, Tree
from tests.conftest import ROOT

CLASSES = ("ant", "bee [red]", "cat", "dog")


def leaf(name, classes):
    return Leaf(name, tuple(classes), "0" * 16)


BRANCH = Branch(
    "root",
    CLASSES,
    "1" * 16,
    (leaf("root.1", CLASSES[:1]), leaf("root.2", CLASSES[1:])),
)


def test_a_tree_is_drawn(capsys):
    _terminal.draw_tree(Tree(BRANCH))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "tree: 4 classes, 2 leaves, depth 2",
        "└── root, branch over 4 classes",
        "    ├── root.1, 1 class",
        "    │   └── ant",
        "    └── root.2, 3 classes",
        "        └── bee [red], cat, dog",
    ]


def contenders(**changes):
    asked = {
        "node": "root",
        "received": ("dog",),
        "growth": "clone",
        "reason": "it errs less",
        "flat": leaf("root", CLASSES),
        "flat_error": 0.25,
        "clone": BRANCH,
        "clone_error": 0.2,
    }
    return _terminal._rows(Decision(**(asked | changes)))


def test_contenders_have_a_row_each_and_one_is_taken():
    assert list(contenders()) == [
        ("root", "flat", "1", "25.0%", ""),
        ("root", "clone", "3", "20.0%", "yes"),
    ]
    assert [row[-1] for row in contenders(growth="flat")] == ["yes", ""]


def at_a_terminal(arguments):
    """What a command writes on a terminal of 100 columns."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hierkeras.increment", *arguments],
        cwd=ROOT,
        stdout=slave,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    ) as process:
        os.close(slave)
        found = b""
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # Linux says so that nobody writes any more
                break
            if not piece:
                break
            found += piece
        assert process.wait() == 0, process.stderr.read()
    os.close(master)
    return found.decode()


def test_a_terminal_gets_the_drawn_tree_and_a_pipe_plain_lines(
    digits_tree, run_binary
):
    arguments = (*digits_tree.flags, "--noexport")
    seen = at_a_terminal(arguments)
    assert "├── root.1, " in seen
    assert "\x1b[3" not in seen  # NO_COLOR
    piped = run_binary("increment", *arguments)
    assert "  root.1: " in piped.stdout
    assert "──" not in piped.stdout
