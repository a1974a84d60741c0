"""Traces as JSON lines: one event a line, the name of its kind under "event"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from dreamr.errors import DreamrError
from dreamr.gate import Evidence, Verdict
from dreamr.steps import Ending, Step
from dreamr.trace import events as _events
from dreamr.trace.events import CommittedStep, Event, ModelUsage, Result, RunFinished, Usage

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in vars(_events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}


class TraceError(DreamrError):
    """A file that is no trace, or one of another version."""


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as JSON values. A result goes without its events: they are the lines before."""
    if isinstance(event, RunFinished):
        event = replace(event, result=replace(event.result, events=()))
    values = asdict(event, dict_factory=_plain)
    values.get("result", {}).pop("events", None)
    return {"event": type(event).__name__, **values}


def event_from_json(values: Mapping[str, Any]) -> Event:
    """The event that `event_to_json` wrote.

    Raises:
        TraceError: these are not the values of an event.
    """
    try:
        kind = _KINDS[values["event"]]
        return kind(**{f.name: _read(f.name, values[f.name]) for f in fields(kind)})
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(f"not an event of a dreamr trace: {error!r}") from error


def write_trace(path: str | Path, events: Iterable[Event]) -> None:
    """Write one event a line, each at once, so that a lazy iterable leaves what it came to."""
    with open(path, "w", encoding="utf-8", buffering=1) as file:
        for event in events:
            file.write(json.dumps(event_to_json(event), ensure_ascii=False) + "\n")


def read_trace(path: str | Path) -> list[Event]:
    """All events of a file; a final RunFinished has its events again.

    Raises:
        TraceError: a line that is no event; the message names it.
        OSError: the file cannot be read.
    """
    events: list[Event] = []
    for number, line in _lines(Path(path)):
        try:
            event = event_from_json(json.loads(line))
        except (TraceError, json.JSONDecodeError) as error:
            raise TraceError(f"{path}, line {number}: {error}") from error
        if isinstance(event, RunFinished):
            event = replace(event, result=replace(event.result, events=tuple(events)))
        events.append(event)
    return events


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut at U+2028
    except UnicodeDecodeError as error:
        raise TraceError(f"{path} is not text: {error}") from error
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value.value if isinstance(value, Enum) else value for key, value in items}


def _read(name: str, value: Any) -> Any:
    return _READERS[name](value) if name in _READERS and value is not None else value


def _step(values: Mapping[str, Any]) -> Step:
    return Step(**{**values, "ending": Ending(values["ending"])})


def _verdict(values: Mapping[str, Any]) -> Verdict:
    evidence = values["evidence"]
    if evidence is not None:
        evidence = Evidence(**{**evidence, "scores": tuple(evidence["scores"])})
    return Verdict(**{**values, "evidence": evidence})


def _committed(values: Mapping[str, Any]) -> CommittedStep:
    verdict = _read("verdict", values["verdict"])
    return CommittedStep(_step(values["step"]), values["source"], verdict)


def _usage(values: Mapping[str, Any]) -> Usage:
    models = {role: ModelUsage(**values[role]) for role in ("draft", "target")}
    return Usage(**{**values, **models})


def _result(values: Mapping[str, Any]) -> Result:
    steps = tuple(map(_committed, values["steps"]))
    return Result(**{**values, "steps": steps, "usage": _usage(values["usage"])})


_READERS: dict[str, Callable[[Any], Any]] = {
    "positions": tuple,
    "result": _result,
    "step": _step,
    "verdict": _verdict,
    "verdicts": lambda values: tuple(map(_verdict, values)),
}
