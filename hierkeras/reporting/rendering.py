"""From values to one page that needs nothing else, and runs nothing else."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from typing import Any

import jinja2
import markupsafe

_FILES = importlib.resources.files("hierkeras.reporting") / "page"
# Inside a script element only these could end it, or begin another.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page(values: dict[str, Any], data: dict[str, Any]) -> str:
    """The page.

    Names of classes and files are text wherever they stand: the template
    escapes them, the script sets them as text, and the page's policy lets no
    script run but its own.

    Args:
        values: What the template shows.
        data: What its script shows; JSON.
    """
    script = (_FILES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest())
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["counted"] = lambda number: f"{number:,}"
    return environment.get_template("report.html").render(
        **values,
        policy=(
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest.decode()}'"
        ),
        style=_as_is("report.css"),
        script=markupsafe.Markup(script),
        data=markupsafe.Markup(_json(data)),
    )


def percent(share: float | None) -> str:
    """A share in [0, 1] as a reader wants it; a dash where there is none."""
    return "-" if share is None else f"{share:.1%}"


def _source(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _as_is(name: str) -> markupsafe.Markup:
    return markupsafe.Markup(_source(name))


def _json(data: dict[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter, escaped in _ESCAPES.items():
        text = text.replace(letter, escaped)
    return text
