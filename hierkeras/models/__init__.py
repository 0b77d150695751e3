"""Networks, their registry, and surgery on their softmax."""
