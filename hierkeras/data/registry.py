"""From a data set's name to its source."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, cast

from hierkeras._errors import UsageError, UserError
from hierkeras.data import names
from hierkeras.data.source import DataConfig, Source

Opener = Callable[[str, DataConfig, bytes], Source]

# Kind -> (module:function, what follows the kind). The function takes what
# follows the colon and the configuration.
OPENERS: Final[Mapping[str, tuple[str, str]]] = {
    "digits": ("hierkeras.data.digits:open_digits", ""),
    "folder": ("hierkeras.data.image_folder:open_folder", ":PATH"),
    "csv": ("hierkeras.data.csv_file:open_csv", ":FILE"),
    "tfds": ("hierkeras.data.tfds_source:open_tfds", ":NAME[@DIR]"),
    "npz": ("hierkeras.data.npz:open_npz", ":FILE"),
    "none": ("hierkeras.data.nothing:open_nothing", ""),
}
# Nobody has to give it.
_UNTOLD = "none"


def open_source(config: DataConfig, kept: bytes = b"") -> Source:
    """Opens a data set.

    Args:
        config: its name, the splits and the classes to use.
        kept: what `Source.keep` gave in an earlier run; what it is of is not
            read again where it is as it was.

    Returns:
        The source; its catalogue lists the classes of `config.class_list`, in
        that order, or all.

    Raises:
        UsageError: if the name is none of a data set.
        UserError: if the data set cannot be read, lacks a class, or has two
            that nobody can tell apart.
    """
    kind, colon, place = config.dataset.partition(":")
    if kind not in OPENERS or bool(OPENERS[kind][1]) != bool(colon and place):
        valid = ", ".join(
            kind + rest
            for kind, (_, rest) in OPENERS.items()
            if kind != _UNTOLD
        )
        raise UsageError(
            f"Unknown data set {config.dataset!r}; valid are {valid}."
        )
    module, function = OPENERS[kind][0].split(":")
    opener = cast(Opener, getattr(importlib.import_module(module), function))
    source = opener(place, config, kept)
    if config.class_list:
        check_class_list(source.catalogue.class_names, config.class_list)
        source.catalogue = source.catalogue.restricted_to(config.class_list)
    names.check_text(source.catalogue.class_names)
    names.check_distinct(source.catalogue.class_names)
    return source


def check_class_list(
    class_names: Collection[str], class_list: Sequence[str]
) -> None:
    """Checks that a list names classes of the data set, each once.

    Args:
        class_names: the data set's classes.
        class_list: the classes to use.

    Raises:
        UserError: if not, naming the class.
    """
    known = frozenset(class_names)
    seen: set[str] = set()
    for name in class_list:
        if name not in known:
            near = difflib.get_close_matches(name, class_names, 3, 0.0)
            raise UserError(
                f"The class list names {name!r}, which is no class of the "
                f"data set; the nearest are {', '.join(near) or 'none'}."
            )
        if name in seen:
            raise UserError(
                f"The class list names {name!r} twice; remove one of them."
            )
        seen.add(name)
