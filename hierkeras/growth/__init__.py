"""Growing a tree: preview, partition, Algorithms 1 and 2."""
