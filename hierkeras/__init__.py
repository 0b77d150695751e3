"""hierkeras: an image classifier that grows as classes arrive."""

__version__ = "0.1.0"
