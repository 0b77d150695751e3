"""The recipe: all that decides how a tree is trained, grown and served."""
