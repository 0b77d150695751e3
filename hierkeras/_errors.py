"""Errors that a user can act on; binaries print them as one line."""


class UserError(Exception):
    """Something that the user can put right.

    The message is one line: what is wrong, what was received, what to do.
    A binary prints it without a traceback and exits with status 1.
    """


class UsageError(UserError):
    """A flag, or a combination of flags, that makes no sense.

    As `UserError`, with exit status 2.
    """
