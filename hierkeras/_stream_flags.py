"""The data, and how its classes arrive."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from hierkeras import _columns_flags, _common_flags, _workdir_flag
from hierkeras._errors import UsageError, UserError
from hierkeras._float_flag import define_float
from hierkeras.data import nothing, places, streams
from hierkeras.data.files import left_out
from hierkeras.data.source import DataConfig, Source
from hierkeras.data.splits import check_enough
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.remembered import Remembered
from hierkeras.tree.generation import Generation
from hierkeras.tree.names import shown

_SHOWN = 6

_CLASS_BATCHES = flags.DEFINE_list(
    "class_batches",
    [],
    "How many classes each step takes, e.g. 30,30; empty: every class that "
    "the tree does not know, at once.",
)
_CLASS_SEED = flags.DEFINE_integer(
    "class_seed",
    -1,
    "Order in which --class_batches draws classes; -1: the data set's.",
    lower_bound=-1,
    upper_bound=2**32 - 1,
)
_CLASS_LIST = flags.DEFINE_string(
    "class_list",
    None,
    "File that names the classes to use, one a line; empty: all. A work "
    "directory remembers its own; all in a new one.",
)
_VALIDATION_FRACTION = define_float(
    "validation_fraction",
    None,
    "Share of the images that is validation, where the data set has none. A "
    "work directory remembers its own; 0.05 in a new one.",
    lower_bound=0.0,
    upper_bound=0.5,
)
_TEST_FRACTION = define_float(
    "test_fraction",
    None,
    "Share of the images that is test, where the data set has none. A work "
    "directory remembers its own; 0.1 in a new one.",
    lower_bound=0.0,
    upper_bound=0.5,
)
MAX_BAD_IMAGES = flags.DEFINE_integer(
    "max_bad_images",
    100,
    "Most unreadable images that a step leaves out before it gives up.",
    lower_bound=0,
    upper_bound=10**9,
)


def data_config(
    remembered: Remembered | None, imported: tuple[str, ...] = ()
) -> DataConfig:
    """The data set that the flags ask for, or the work directory remembers.

    Args:
        remembered: What the work directory remembers; None in a new one.
        imported: Classes of a model that is imported, which needs no images.

    Raises:
        UsageError: If there is none.
        UserError: If the list of classes cannot be read.
    """
    dataset = _common_flags.DATASET.value
    before = remembered.data if remembered else None
    if before is not None and before.dataset == nothing.KIND and dataset:
        before = None  # there were no images to remember anything of
    if dataset in (None, nothing.KIND) and before is None and imported:
        return DataConfig(nothing.KIND, class_list=imported)
    if dataset is None and before is None:
        raise UsageError(
            "--dataset is not given; give digits, folder:PATH, csv:FILE, "
            "tfds:NAME or npz:FILE"
        )
    if _VALIDATION_FRACTION.value == 0:
        raise UsageError(
            "--validation_fraction=0: everything is chosen on validation "
            "images; give more than 0"
        )
    given = {
        "dataset": dataset,
        "validation_fraction": _VALIDATION_FRACTION.value,
        "test_fraction": _TEST_FRACTION.value,
        "class_list": _class_list(),
        **_columns_flags.given(),
    }
    changes = {k: value for k, value in given.items() if value is not None}
    _columns_flags.check(str(dataset or (before and before.dataset)))
    workdir = str(_workdir_flag.store().root)
    config = dataclasses.replace(before or DataConfig(str(dataset)), **changes)
    if dataset is None:
        config = places.found(config, workdir)
    return places.absolute(config, workdir)


def _class_list() -> tuple[str, ...] | None:
    """The classes that a file names; none: all; None: it is not given."""
    if not _CLASS_LIST.value:
        return None if _CLASS_LIST.value is None else ()
    try:
        lines = Path(_CLASS_LIST.value).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--class_list: {_CLASS_LIST.value} cannot be read ({error}); "
            "give a text file with a class a line"
        ) from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UserError(
            f"--class_list: {_CLASS_LIST.value} names no class; write a "
            "class a line"
        )
    return names


def pending_batches(
    source: Source,
    latest: Generation | None,
    recipe: Recipe,
    imported: tuple[str, ...] = (),
) -> list[tuple[str, ...]]:
    """The batches to take in; what is wrong with them is found here.

    Args:
        source: The data set.
        latest: The tree that grows; None if there is none yet.
        recipe: How it grows.
        imported: The classes that an imported model knows, where there is no
            tree yet.

    Raises:
        UsageError: If the batches make no sense.
        UserError: If a class has too few images.
    """
    try:
        sizes = [int(size) for size in _CLASS_BATCHES.value]
    except ValueError:
        raise UsageError(
            "--class_batches takes whole numbers, e.g. 30,30. Received: "
            + ",".join(_CLASS_BATCHES.value)
        ) from None
    known = latest.tree.classes if latest else imported
    batches = streams.pending_batches(
        source.catalogue.class_names, sizes, _CLASS_SEED.value, known
    )
    if not known and batches and len(batches[0]) == 1:
        raise UserError(
            f"the first step would learn one class, {batches[0][0]!r}, and one "
            "class is nothing to tell apart: the data set, or --class_batches, "
            "must begin with two"
        )
    besides = left_out.line(source.left_out)
    before = tuple(known)
    for batch in batches:
        check_enough(
            source.catalogue,
            batch,
            besides,
            recipe.training.least_images,
            before,
        )
        before += batch
    growth = recipe.growth
    # The first step makes a single leaf, which nothing divides.
    dividing = batches if known else batches[1:]
    if dividing and growth.increments != "flat":
        total = len(known) + sum(len(batch) for batch in batches)
        least = 2 * max(2, growth.num_superclasses)
        if growth.num_superclasses and total < least:
            raise UsageError(
                f"--num_superclasses={growth.num_superclasses} takes at "
                f"least {least} classes, two in each. Received: {total} "
                "classes; ask for fewer superclasses, or --growth=flat"
            )
    _tell_rest(source, batches, known)
    return batches if latest or not imported else [imported, *batches]


def _tell_rest(
    source: Source, batches: list[tuple[str, ...]], known: Sequence[str]
) -> None:
    """Says which classes are in no batch: a user may have forgotten them."""
    taken = {*known, *(name for batch in batches for name in batch)}
    rest = [n for n in source.catalogue.class_names if n not in taken]
    if rest and _CLASS_BATCHES.value:
        names = ", ".join(map(shown, rest[:_SHOWN]))
        more = f" and {len(rest) - _SHOWN} more" if len(rest) > _SHOWN else ""
        print(
            f"--class_batches leaves {len(rest)} of the data set's classes "
            f"for later: {names}{more}",
            file=sys.stderr,
        )
