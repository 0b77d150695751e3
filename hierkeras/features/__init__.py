"""What a frozen trunk says of each image, and heads that are solved from it."""
