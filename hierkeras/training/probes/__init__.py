"""Looks inside networks while they are trained: the paper's section 5.2."""
