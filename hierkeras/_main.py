"""Runs a binary: exit status and errors as the user meets them."""

from __future__ import annotations

import functools
import inspect
import io
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags

from hierkeras import _faults, _help
from hierkeras._errors import UsageError, UserError
from hierkeras.tree.names import shown

_HELP = {"--help", "-help", "-h", "-?", "--helpshort"}
_LONGEST_ERROR = 2_000
_SECONDS_TO_INTERRUPT = 0.1


def run(main: Callable[..., None]) -> None:
    """Parses the flags and runs `main`.

    Exit status 0: done; 1: failed; 2: usage. A user's mistake is one line on
    stderr, and so is a fault of disk, memory or data; a fault of the program
    shows its traceback.

    Args:
        main: Does the work; raises `UserError` for what the user can mend.
            One that takes a parameter is given the arguments that are no
            flags, as a list; otherwise there may be none.
    """
    takes_arguments = bool(inspect.signature(main).parameters)

    def guarded(arguments: Sequence[str]) -> None:
        try:
            given: list[Any] = []
            if takes_arguments:
                given = [list(arguments[1:])]
            elif len(arguments) > 1:
                raise UsageError(
                    f"unexpected argument {arguments[1]!r}; flags begin with --"
                )
            main(*given)
            _flush_stdout()
        except UserError as error:
            _fail(error)
        except KeyboardInterrupt:
            _fail(
                UserError(
                    "interrupted; run the same command again to go on: what "
                    "is finished is kept"
                )
            )
        except BrokenPipeError:
            _drop_stdout()  # whoever read it has seen enough
            sys.exit(1)
        except Exception as error:
            told = _faults.explain(error, _work_directory())
            if told is None:
                raise
            _fail(UserError(told))

    # A handler of our own also keeps asyncio from putting off Ctrl-C until
    # the training that it interrupts is over.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _raise_later
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal has the letters of every class.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app.run(
        guarded,
        flags_parser=functools.partial(_parse_flags, main.__module__),
    )


def _parse_flags(main_module: str, arguments: Sequence[str]) -> list[str]:
    if not _HELP.isdisjoint(arguments):
        print(_help.text(main_module), end="")
        sys.exit(0)
    try:
        "".join(arguments).encode()
        return flags.FLAGS(list(arguments))
    except flags.Error as error:
        _fail(UsageError(f"{error}; --help lists the flags and their values"))
    except UnicodeEncodeError:
        _fail(UsageError("an argument is no UTF-8; rename what it names"))
    except ValueError as error:
        _fail(UsageError(f"a --flagfile is no text file ({error})"))
    except SystemExit:
        # absl ends with status 1 after --helpfull, which is no failure.
        sys.exit(0)


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


def _raise_later(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupts again, where an interruption was raised in vain.

    Python runs the callbacks of weak references and `__del__` between any two
    steps, also those in which it handles a signal, and drops what they raise.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    again = threading.Timer(
        _SECONDS_TO_INTERRUPT, os.kill, (os.getpid(), signal.SIGINT)
    )
    again.daemon = True
    again.start()


def _work_directory() -> list[str]:
    if "workdir" not in flags.FLAGS:
        return []
    given = flags.FLAGS.workdir
    return [given] if given else []


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_stdout()
        error.filename = "standard output"
        raise


def _drop_stdout() -> None:
    # Python would write what is left as it ends, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: UserError) -> NoReturn:
    # Parts of it may come from a stranger's files.
    message = shown(" ".join(str(error).split()), _LONGEST_ERROR)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UsageError) else 1)
