"""Arguments and errors of the command lines of the test bed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dreamr.errors import DreamrError

_INTERRUPTED = 130  # exit status of shells for a process that Ctrl-C ended


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an argument: a whole number that is not below a bound."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return number


@contextmanager
def errors_in_one_line(parser: argparse.ArgumentParser, interrupted: str) -> Iterator[None]:
    """End the process with one line and a status if a block fails or is interrupted.

    Args:
        parser: Parser of the command line.
        interrupted: What has become of the results, or how to go on, after Ctrl-C.
    """
    try:
        yield
    except DreamrError as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(_INTERRUPTED, f"interrupted: {interrupted}\n")
