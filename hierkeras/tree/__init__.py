"""The tree as a value, its routing rules and its store."""
