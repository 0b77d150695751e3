"""What a tree gets right and wrong, and pictures of it."""
