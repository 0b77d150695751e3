"""Files of images: which there are, what is in them, where they belong."""
