"""Errors of pair files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dreamr._option_specs import BadOption
from dreamr.errors import DreamrError


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong at one place of a pair file.

    Attributes:
        line: Line, from 1.
        column: Column, from 1.
        message: What is wrong and what to do, in one line.
    """

    line: int
    column: int
    message: str

    def at(self, path: object) -> str:
        """Return the message with file, line and column in front."""
        return f"{path}:{self.line}:{self.column}: {self.message}"


_FLAG = re.compile(r"--([a-z][a-z-]*)")


def without_dashes(message: str) -> str:
    """Return a message about flags with the names of the options in a pair file."""
    return _FLAG.sub(lambda match: match[1].replace("-", "_"), message)


class BadPairFile(BadOption):
    """A pair file cannot be read, or declares something that is not possible.

    Attributes:
        faults: All faults, by their place in the file; none if it could not be read.
    """

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class PairNotFound(BadOption):
    """A pair file has no pair of this name."""


class NotRunning(DreamrError):
    """A model of a pair file has to be started first, by `dreamr up`."""
