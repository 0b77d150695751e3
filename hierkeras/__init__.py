"""hierkeras: an image classifier that grows as classes arrive."""

from hierkeras import _starting

__version__ = "0.1.0"

_starting.prepare()
