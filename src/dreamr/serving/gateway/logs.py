"""The log of the gateway: one line for each record, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

from dreamr.serving.gateway.request_ids import request_id
from dreamr.serving.options import ServeOptions

LOG = logging.getLogger("dreamr.serving.gateway")
_NOISY = ("httpx2", "httpcore2", "uvicorn")


def log(level: int, message: str, /, *arguments: object, **fields: object) -> None:
    """Log a message of the gateway.

    Args:
        level: Level of the `logging` module.
        message: Message with placeholders.
        arguments: Values of the placeholders.
        fields: Members of the record in JSON.
    """
    LOG.log(level, message, *arguments, extra={"fields": fields})


def configure_log(options: ServeOptions, stream: TextIO | None = None) -> None:
    """Send all records of the process to a stream.

    Args:
        options: Format and level of the log.
        stream: Where to write; standard error by default.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonLines() if options.log_format == "json" else _TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(options.log_level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class _Handler(logging.StreamHandler[TextIO]):
    """Handler that drops records which cannot be written, as on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignore errors of the stream: a log must not end a request."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handleError(record)


class _TextLines(logging.Formatter):
    """Formats a record as `TIME LEVEL [ID] MESSAGE` with unprintable characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        known = request_id()
        head = f"{clock} {record.levelname} " + (f"[{known}] " if known else "")
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return head + escaped(" ".join(filter(None, (record.getMessage(), trace))))


class _JsonLines(logging.Formatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (known := request_id()) is not None:
            values["request_id"] = known
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        values |= getattr(record, "fields", {})
        return json.dumps(values, default=str)  # ASCII: no character can break a line


def escaped(text: str) -> str:
    """Return a text with its line breaks and other unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
