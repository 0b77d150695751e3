"""What a version goes through before it is published, and what doctor asks."""
