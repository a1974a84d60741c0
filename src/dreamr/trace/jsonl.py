"""Read and write traces as JSON lines: one event per line, its class name under "event"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from dreamr._files import open_binary
from dreamr._messages import reason
from dreamr._output_files import open_output
from dreamr.answers import CallDelta, TokenLogprob
from dreamr.conversation import ToolCall
from dreamr.errors import DreamrError
from dreamr.gate import Evidence, Verdict
from dreamr.steps import Ending, Step
from dreamr.trace import events as _events
from dreamr.trace.events import (
    CommittedStep,
    Event,
    ModelUsage,
    Result,
    RunFinished,
    Usage,
    all_events,
)

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in vars(_events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}


class TraceError(DreamrError):
    """The file cannot be read as a trace of this version."""


def event_to_json(event: Event) -> dict[str, Any]:
    """Convert an event to JSON values.

    A result is stored without its events, since these are the preceding lines.
    """
    if isinstance(event, RunFinished):
        event = replace(event, result=replace(event.result, events=()))
    values = asdict(event, dict_factory=_plain)
    values.get("result", {}).pop("events", None)
    return {"event": type(event).__name__, **values}


def event_from_json(values: Mapping[str, Any]) -> Event:
    """Convert the values that `event_to_json` returned back to an event.

    Raises:
        TraceError: If the values are not those of an event.
    """
    try:
        kind = _kind(values)
        return kind(**{f.name: _read(f.name, values[f.name]) for f in fields(kind)})
    except KeyError as error:
        raise TraceError(f"not an event of a trace: {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise TraceError("not an event of a trace: a value has the wrong type") from error


def write_trace(path: str | Path, events: Iterable[Event] | Result) -> None:
    """Write events to a file, one per line, replacing it when all of them are written.

    Args:
        path: The file.
        events: The result of a run, for the trace of the whole run, or events in order.

    Raises:
        OSError: If the file cannot be written; the old one is then left as it is.
    """
    with open_output(Path(path)) as file:
        for event in all_events(events):
            line = json.dumps(event_to_json(event), ensure_ascii=False) + "\n"
            file.write(line.encode("utf-8", "replace"))


def read_trace(path: str | Path) -> list[Event]:
    """Read all events of a file. A final `RunFinished` gets its events back.

    Raises:
        TraceError: If the file cannot be read, or a line is not an event; the message names the
            line.
    """
    events: list[Event] = []
    for number, line in _lines(Path(path)):
        try:
            event = event_from_json(json.loads(line))
        except json.JSONDecodeError as error:
            raise TraceError(f"{path}, line {number}: not valid JSON") from error
        except TraceError as error:
            raise TraceError(f"{path}, line {number}: {error}") from error
        if isinstance(event, RunFinished):
            event = replace(event, result=replace(event.result, events=tuple(events)))
        events.append(event)
    return events


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with open_binary(path) as file:
            lines = file.read().decode().split("\n")  # splitlines would cut at U+2028
    except OSError as error:
        raise TraceError(f"cannot read {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}, line {number}: not UTF-8 text") from error
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _kind(values: Mapping[str, Any]) -> type[Event]:
    """Return the class of an event, after a check of its scalar values."""
    if not isinstance(values, Mapping):
        raise TraceError("not an event of a trace: not a JSON object")
    kind = _KINDS.get(values["event"])
    if kind is None:
        raise TraceError(f"not an event of a trace: unknown event {values['event']!r}")
    for name in (f.name for f in fields(kind)):
        if name in _SCALARS and not isinstance(values[name], _SCALARS[name]):
            raise TraceError(f"not an event of a trace: {name!r} has the wrong type")
    return kind


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
    known = {
        "calls": tuple(ToolCall(**call) for call in values.get("calls", ())),
        "answer_logprobs": _logprobs(values.get("answer_logprobs", ())),
    }
    return Result(**{**values, **known, "steps": steps, "usage": _usage(values["usage"])})


def _logprobs(values: Iterable[Mapping[str, Any]]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            one["token"],
            one["logprob"],
            None if one["raw"] is None else tuple(one["raw"]),
            _logprobs(one["top"]),
        )
        for one in values
    )


_SCALARS: dict[str, type | tuple[type, ...]] = {
    "time": (int, float),
    **dict.fromkeys(("lane", "position", "call", "tokens", "resample"), int),
    **dict.fromkeys(("method", "role", "source", "why", "message", "reason"), str),
    **dict.fromkeys(("name", "text", "reasoning", "stage"), str),
    "left": (int, float),
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "calls": lambda values: tuple(CallDelta(**delta) for delta in values),
    "logprobs": _logprobs,
    "positions": tuple,
    "result": _result,
    "step": _step,
    "verdict": _verdict,
    "verdicts": lambda values: tuple(map(_verdict, values)),
}
