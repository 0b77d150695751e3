"""Imports point one way, and what can do without TensorFlow does."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Which other libraries (folders of hierkeras/) each library may import.
BELOW_TRAINING = {"data", "features", "models", "recipe", "tree"}
MAY_IMPORT = {
    "data": set(),
    "models": {"tree"},
    "features": {"data", "models", "tree"},
    "recipe": {"data", "models", "tree"},
    "tree": set(),
    "training": BELOW_TRAINING,
    "analysis": BELOW_TRAINING | {"training"},
    "growth": BELOW_TRAINING | {"training"},
    "reporting": BELOW_TRAINING | {"analysis", "growth", "training"},
    "serving": BELOW_TRAINING | {"training"},
}

# Beside these: all of tree/ and every flat file, which are found.
WITHOUT_TENSORFLOW = {
    "hierkeras",
    "hierkeras._errors",
    "hierkeras.increment",
    "hierkeras.evaluate",
    "hierkeras.report",
    "hierkeras.data.catalogue",
    "hierkeras.data.digits",
    "hierkeras.data.image_folder",
    "hierkeras.data.npz",
    "hierkeras.data.registry",
    "hierkeras.data.source",
    "hierkeras.data.splits",
    "hierkeras.data.streams",
    "hierkeras.data.wordnet",
    "hierkeras.features.checks",
    "hierkeras.features.choice",
    "hierkeras.features.heads",
    "hierkeras.features.shards",
    "hierkeras.features.statistics",
    "hierkeras.features.views",
    "hierkeras.growth.checks",
    "hierkeras.growth.evidence",
    "hierkeras.growth.herding",
    "hierkeras.growth.memory",
    "hierkeras.growth.partition",
    "hierkeras.models.registry",
    "hierkeras.recipe.compose",
    "hierkeras.recipe.remembered",
    "hierkeras.serving.checks.manifest",
    "hierkeras.serving.checks.published",
    "hierkeras.serving.client.saved_model",
    "hierkeras.serving.trust.graphs",
    "hierkeras.training.checks",
    "hierkeras.training.solutions",
    "hierkeras.training.trunk_files",
}

LOAD_AND_REPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    for heavy in ("tensorflow", "keras"):
        if heavy in sys.modules:
            sys.exit(f"{name} loads {heavy}")
"""


def modules() -> dict[str, Path]:
    """All of hierkeras's modules by name, packages included."""
    found = {}
    for path in sorted((ROOT / "hierkeras").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def library(module: str) -> str | None:
    """The folder a module is in; None for a flat file."""
    parts = module.split(".")
    is_folder = len(parts) > 1 and (ROOT / "hierkeras" / parts[1]).is_dir()
    return parts[1] if is_folder else None


def imported(module: str, path: Path) -> Iterator[str]:
    """The modules of hierkeras that a module imports, anywhere in its code."""
    known = modules()
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                keep = len(parents) - node.level + is_package
                base = ".".join([*parents[:keep], *filter(None, [base])])
            names = [
                name if (name := f"{base}.{alias.name}") in known else base
                for alias in node.names
            ]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "hierkeras")


# What anything may import, and what imports nothing of the project.
EVERYWHERE = (
    "hierkeras",
    "hierkeras._archives",
    "hierkeras._errors",
    "hierkeras._faults",
    "hierkeras._progress",
    "hierkeras._option",
    "hierkeras._signals",
)


# What has to be done before anything else is imported.
FIRST = ("hierkeras", "hierkeras._starting")


def may_import(importer: str, target: str) -> bool:
    """Whether the design lets one module of hierkeras import another."""
    if (importer, target) == FIRST:
        return True
    if target in EVERYWHERE:
        return importer not in EVERYWHERE
    if importer in EVERYWHERE:
        return False
    above, below = library(importer), library(target)
    if below is None:  # a flat file: a binary, or shared by binaries
        return above is None and target.split(".")[1].startswith("_")
    return above is None or above == below or below in MAY_IMPORT[above]


def test_every_library_has_its_place():
    folders = {library(name) for name in modules()} - {None}
    assert folders <= set(MAY_IMPORT)


def test_imports_point_one_way():
    wrong = [
        f"{importer} imports {target}"
        for importer, path in modules().items()
        for target in imported(importer, path)
        if not may_import(importer, target)
    ]
    assert wrong == []


def test_the_rules_forbid_what_they_should():
    assert not may_import("hierkeras.data.splits", "hierkeras.tree")
    assert not may_import("hierkeras.training.fit", "hierkeras.growth")
    assert not may_import("hierkeras.models.registry", "hierkeras.recipe")
    assert not may_import("hierkeras.recipe.recipe", "hierkeras.training")
    assert not may_import("hierkeras.recipe.recipe", "hierkeras.features")
    assert not may_import("hierkeras.features.shards", "hierkeras.recipe")
    assert not may_import("hierkeras.features.shards", "hierkeras.training")
    assert may_import("hierkeras.training.solving", "hierkeras.features")
    assert not may_import("hierkeras.growth.preview", "hierkeras.analysis")
    assert not may_import("hierkeras.growth.preview", "hierkeras.increment")
    assert not may_import("hierkeras.growth.preview", "hierkeras._flags")
    assert not may_import("hierkeras.evaluate", "hierkeras.increment")
    assert may_import("hierkeras.evaluate", "hierkeras._flags")
    assert may_import("hierkeras.evaluate", "hierkeras.analysis")
    assert may_import("hierkeras.growth.preview", "hierkeras.training")


def test_every_form_of_import_is_seen(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import os, hierkeras.tree\n"
        "from hierkeras import data\n"
        "from hierkeras._errors import UserError\n"
        "def f():\n"
        "    from . import wordnet\n"
        "    from ..models import registry\n"
    )
    assert set(imported("hierkeras.data.module", path)) == {
        "hierkeras.tree",
        "hierkeras.data",
        "hierkeras._errors",
        "hierkeras.data.wordnet",
        "hierkeras.models.registry",
    }


def test_what_needs_no_tensorflow_does_not_load_it():
    found = {name for name in modules() if library(name) in (None, "tree")}
    names = sorted(found | WITHOUT_TENSORFLOW)
    result = subprocess.run(
        [sys.executable, "-c", LOAD_AND_REPORT, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
