"""Asking a served tree: on a server, or in this process."""
