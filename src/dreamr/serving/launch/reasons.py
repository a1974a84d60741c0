"""Why an engine did not start, in one line, from the end of its log."""

from __future__ import annotations

import re
import signal

from dreamr._messages import one_line
from dreamr.serving.launch.guarded import Ending

_SHOWN_LINES = 12
_MOST_REASON = 240  # characters
# Beginnings of lines that loggers write: time, level, process.
_PREFIX = re.compile(
    r"^(?:\([^)]*pid=\d+\)\s*|\x1b\[[\d;]*m|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b:?\s*"
    r"|\d\d-\d\d \d\d:\d\d:\d\d\s*|\[[^\]]*:\d+\]\s*|\d+\.\d+\.\d+\.\d+ [A-Z] )+"
)
_ADVICE = (
    (
        re.compile(
            r"out of memory|OutOfMemory|bad_alloc|No available memory for the cache"
            r"|less than desired GPU memory|KV cache is needed|failed to allocate"
            r"|unable to allocate|Cannot allocate memory|MemoryError"
        ),
        "out of memory: lower 'memory' or 'context', or give the model other 'devices'",
    ),
    (
        re.compile(
            r"invalid device ordinal|No CUDA GPUs are available|no CUDA-capable device"
            r"|Torch not compiled with CUDA"
        ),
        "the machine has no such GPU: change 'devices', or install the engine for GPUs",
    ),
    (
        re.compile(r"address already in use|couldn't bind|bind_to_port|Errno 98"),
        "its port is in use: choose another 'port'",
    ),
    (
        re.compile(r"unrecognized arguments?|invalid argument|unknown argument|invalid choice"),
        "the engine does not know one of its flags: change 'flags'",
    ),
    (
        re.compile(
            r"Repository Not Found|RepositoryNotFound|is not a local folder|not a valid model id"
            r"|LocalEntryNotFound|Can't load the configuration|failed to open GGUF"
            r"|No such file or directory|GatedRepo|couldn't connect to 'https://huggingface"
        ),
        "the model was not found: check 'model' and 'revision'",
    ),
    (
        re.compile(r"ModuleNotFoundError|ImportError|error while loading shared libraries"),
        "the engine's installation is incomplete: reinstall it",
    ),
)
_FAULT = re.compile(r"(?:\b\w*(?:Error|Exception)\b|\b(?:error|ERROR|failed|fatal)\b)")
_FORWARDED = re.compile(r"See root cause above|Engine core initialization failed")


def describe_ending(ending: Ending) -> str:
    """Return how an engine ended and why, for a message."""
    if ending.problem is not None:
        return one_line(ending.problem)
    why = _reason(ending.tail)
    if ending.status is None:
        return "its guard process was killed"
    if ending.status == -signal.SIGKILL:
        return "killed, perhaps because the machine's memory ran out"
    how = f"exit status {ending.status}"
    if ending.status < 0:
        how = _signal_name(-ending.status)
    return f"{how}: {why}" if why else how


def last_lines(tail: str) -> list[str]:
    """Return the last lines of a log, printable."""
    return [one_line(line) for line in _lines(tail)[-_SHOWN_LINES:]]


def _reason(tail: str) -> str:
    """Return the first line that explains the end, with advice; or the last one that names it."""
    lines = [_PREFIX.sub("", line).strip() for line in _lines(tail)]
    for pattern, advice in _ADVICE:
        for line in lines:
            if pattern.search(line):
                return f"{advice} ({one_line(line, _MOST_REASON)})"
    faults = [line for line in lines if _FAULT.search(line) and not _FORWARDED.search(line)]
    found = [*lines[-1:], *faults]
    return one_line(found[-1], _MOST_REASON) if found else ""


def _lines(tail: str) -> list[str]:
    return [line for line in tail.splitlines() if line.strip()]


def _signal_name(number: int) -> str:
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended by signal {number}"
