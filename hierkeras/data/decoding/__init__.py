"""From an image's bytes to the pixels that people see.

Training, the served graph and the client use these functions and no others.
"""
