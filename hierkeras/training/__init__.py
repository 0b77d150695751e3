"""Jobs: the training of one model, and where it runs."""
