"""What was read as the data set, for people and for programs."""

from __future__ import annotations

import dataclasses
from typing import Any

from hierkeras.data import catalogue
from hierkeras.data.files import left_out
from hierkeras.data.source import Source
from hierkeras.data.splits import untested


def lines(source: Source) -> list[str]:
    """What was read, in a line, and a line for each thing that is odd.

    Args:
        source: The data set.
    """
    about = as_object(source)
    splits = ", ".join(
        f"{number:,} {split}" for split, number in about["images"].items()
    )
    parts = [
        f"data {source.name}: {sum(about['images'].values()):,} images of "
        f"{about['classes']:,} classes ({splits})",
        source.how,
        left_out.line(source.left_out),
    ]
    bare = untested(source.catalogue, source.catalogue.class_names)
    if bare:
        classes = f"{len(bare):,} class{'' if len(bare) == 1 else 'es'}"
        parts.append(
            "no test images, so that nothing tells the error, of "
            f"{classes}, {bare[0]!r} first"
        )
    return ["; ".join(filter(None, parts)), *source.notes]


def as_object(source: Source) -> dict[str, Any]:
    """The same for programs.

    Args:
        source: The data set.
    """
    about = source.catalogue
    counts = {
        split: int((about.splits == number).sum())
        for number, split in enumerate(catalogue.SPLITS)
    }
    return {
        "dataset": source.name,
        "classes": len(about.class_names),
        "images": counts,
        "how": source.how,
        "left_out": [dataclasses.asdict(one) for one in source.left_out],
        "notes": list(source.notes),
    }
