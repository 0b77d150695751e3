"""A server for a laptop and for tests, which answers as TF Serving does."""
