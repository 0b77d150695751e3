"""The served tree as a graph: routing, weights, decoding, signatures."""
