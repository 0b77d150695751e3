"""Runs a binary: exit status and errors as the user meets them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from absl import app, flags

from hierkeras import _faults, _help, _signals, _standard_streams
from hierkeras._errors import UsageError, UserError
from hierkeras.tree.names import shown

_HELP = {"--help", "-help", "-h", "-?", "--helpshort"}
_LONGEST_ERROR = 2_000
# As a shell gives it to those that SIGPIPE, which Python ignores, ends.
_STATUS_OF_BROKEN_PIPE = 128 + 13
_Result = TypeVar("_Result")


def run(main: Callable[..., None]) -> None:
    """Parses the flags and runs `main`.

    Exit status 0: done; 1: failed; 2: usage; 128 and the number of a signal:
    ended by it, also by SIGPIPE, where whoever read the output went away. A
    user's mistake is one line on stderr, and so is a fault of disk, memory or
    data; a fault of the program shows its traceback.

    Args:
        main: Does the work; raises `UserError` for what the user can mend.
            One that takes a parameter is given the arguments that are no
            flags, as a list; otherwise there may be none.
    """
    _standard_streams.prepare()
    takes_arguments = bool(inspect.signature(main).parameters)

    def work(arguments: Sequence[str]) -> None:
        given: list[Any] = []
        if takes_arguments:
            given = [list(arguments[1:])]
        elif len(arguments) > 1:
            raise UsageError(
                f"unexpected argument {arguments[1]!r}; flags begin with --"
            )
        main(*given)

    with _signals.handled():
        app.run(
            lambda arguments: _told(work, arguments),
            flags_parser=lambda arguments: _told(
                functools.partial(_parse_flags, main.__module__), arguments
            ),
        )


def _told(
    work: Callable[[Sequence[str]], _Result], arguments: Sequence[str]
) -> _Result:
    """Does work; ends the process as its user should meet it, if it fails."""
    try:
        return _printed(work, arguments)
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt as interruption:
        _fail(
            UserError(
                "interrupted; run the same command again to go on: what "
                "is finished is kept"
            ),
            _signals.status(interruption),
        )
    except BrokenPipeError:
        _standard_streams.drop()  # whoever read it has seen enough
        sys.exit(_STATUS_OF_BROKEN_PIPE)
    except Exception as error:
        told = _faults.explain(error, _work_directory())
        if told is None:
            raise
        _fail(UserError(told))


def _printed(
    work: Callable[[Sequence[str]], _Result], arguments: Sequence[str]
) -> _Result:
    """Does work, and sees to it that what it printed has gone out."""
    try:
        result = work(arguments)
    except SystemExit:
        _standard_streams.flush()
        raise
    except BaseException:
        with contextlib.suppress(OSError):  # the first error counts
            _standard_streams.flush()
        raise
    _standard_streams.flush()
    return result


def _parse_flags(main_module: str, arguments: Sequence[str]) -> list[str]:
    if not _HELP.isdisjoint(arguments):
        print(_help.text(main_module), end="")
        sys.exit(0)
    try:
        "".join(arguments).encode()
        return flags.FLAGS(list(arguments))
    except flags.Error as error:
        raise UsageError(
            f"{error}; --help lists the flags and their values"
        ) from None
    except UnicodeEncodeError:
        raise UsageError(
            "an argument is no UTF-8; rename what it names"
        ) from None
    except ValueError as error:
        raise UsageError(f"a --flagfile is no text file ({error})") from None
    except SystemExit:
        # absl ends with status 1 after --helpfull, which is no failure.
        sys.exit(0)


def _work_directory() -> list[str]:
    if "workdir" not in flags.FLAGS or not flags.FLAGS.is_parsed():
        return []
    given = flags.FLAGS.workdir
    return [given] if given else []


def _fail(error: UserError, status: int = 1) -> NoReturn:
    # Parts of it may come from a stranger's files.
    message = shown(" ".join(str(error).split()), _LONGEST_ERROR)
    _standard_streams.tell(f"error: {message}")
    sys.exit(2 if isinstance(error, UsageError) else status)
