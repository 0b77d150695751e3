"""Whether a SavedModel holds nothing but what an export can hold."""
