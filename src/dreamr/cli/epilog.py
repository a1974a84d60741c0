"""Text below the options in the help of a command: examples and notes."""

from __future__ import annotations

EXAMPLES = "Examples:"
ENVIRONMENT = (
    "Options of a run have environment variables, such as DREAMR_MAX_TOKENS for --max-tokens. "
    "A flag overrides its variable."
)
METHODS = (
    "Methods: fpsr overlaps drafting, judging and writing; sequential does one after the other; "
    "target and draft run one model alone; the others are for comparison."
)
EXIT_STATUS = (
    "Exit status: 0 success, 1 failure, 2 wrong command line, 74 standard output cannot be "
    "written, 141 its reader is gone, 130, 143 or 129 ended by Ctrl-C, SIGTERM or SIGHUP."
)


def epilog(*examples: str, notes: tuple[str, ...] = ()) -> str:
    """Return an epilog with example command lines and one paragraph for each note."""
    lines = "\n".join((EXAMPLES, *(f"  {line}" for line in examples)))
    return "\n\n".join((lines, *notes))
