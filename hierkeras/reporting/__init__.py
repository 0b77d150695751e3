"""The report of a tree: a page for people."""
