"""Where a data set has its classes. Few need it, and `--dataset` names them.

They are no key flags of the binaries: `--help` shows what most runs set.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from hierkeras._errors import UsageError

_CLASS_DEPTH = flags.DEFINE_integer(
    "class_depth",
    None,
    "Of folder:PATH, how many levels of folders lead to a class, what is "
    "deeper belonging to it; 0: every folder that holds images is a class.",
    lower_bound=0,
    upper_bound=100,
)
_PATH_COLUMN = flags.DEFINE_string(
    "path_column", None, "Of csv:FILE, name or number from 0 of the paths."
)
_LABEL_COLUMN = flags.DEFINE_string(
    "label_column", None, "Of csv:FILE, name or number from 0 of the labels."
)
_SPLIT_COLUMN = flags.DEFINE_string(
    "split_column", None, "Of csv:FILE, name or number from 0 of the splits."
)
_GROUP_COLUMN = flags.DEFINE_string(
    "group_column",
    None,
    "Of csv:FILE, name or number from 0 of what belongs to one split, such as "
    "a series of photos.",
)
_LABEL_NAMES = flags.DEFINE_string(
    "label_names",
    None,
    "Of csv:FILE, a file of the names of labels: a table of ids and names, or "
    "a name a line.",
)


def given() -> dict[str, Any]:
    """What the flags give, by field of `DataConfig`; None: it is not given."""
    return {
        "class_depth": _CLASS_DEPTH.value,
        "path_column": _PATH_COLUMN.value,
        "label_column": _LABEL_COLUMN.value,
        "split_column": _SPLIT_COLUMN.value,
        "group_column": _GROUP_COLUMN.value,
        "label_names": _LABEL_NAMES.value,
    }


def check(dataset: str) -> None:
    """Checks that what is given is of use for a data set.

    Args:
        dataset: As of --dataset.

    Raises:
        UsageError: If not.
    """
    kind = dataset.partition(":")[0]
    for name, value in given().items():
        is_of_folders = name == "class_depth"
        kinds = ("folder", "tfds") if is_of_folders else ("csv",)
        if value and kind not in kinds:
            raise UsageError(
                f"--{name} is of {kinds[0]}: data sets alone. Received: "
                f"--dataset={dataset}"
            )
