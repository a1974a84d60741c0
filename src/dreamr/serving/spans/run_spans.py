"""Spans of a run, made from its events when it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from opentelemetry.context import Context
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from dreamr.runner import RunConfig, RunScope
from dreamr.trace import (
    DeadlineNear,
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    Note,
    Result,
    RunStarted,
)

Value: TypeAlias = str | int | float | bool
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TimedPart:
    """A lane or a judge call of a run.

    Attributes:
        name: Name of the span.
        began: Seconds from the start of the run.
        ended: Seconds from the start of the run.
        values: Attributes of the span.
        error: Error of a part that failed, else None.
    """

    name: str
    began: float
    ended: float
    values: Mapping[str, Value]
    error: str | None = None


def timed_parts(events: Iterable[Event]) -> Iterator[TimedPart]:
    """Yield the lanes and judge calls of a run, in the order in which they ended."""
    lanes: dict[int, LaneOpened] = {}
    calls: dict[int, float] = {}
    for event in events:
        match event:
            case LaneOpened(lane=lane):
                lanes[lane] = event
            case JudgeStarted(began, call):
                calls[call] = began
            case LaneClosed(ended, lane, reason, tokens):
                opened = lanes.pop(lane)
                values: dict[str, Value] = {
                    "dreamr.role": opened.role,
                    "dreamr.position": opened.position,
                    "dreamr.resample": opened.resample,
                    "dreamr.reason": reason,
                    "gen_ai.usage.output_tokens": tokens,
                }
                error = "the engine failed" if reason == "failed" else None
                yield TimedPart(f"{opened.role} lane", opened.time, ended, values, error)
            case JudgeEnded(ended, call, positions, verdicts, error):
                values = {
                    "dreamr.position": positions[0] if positions else 0,
                    "dreamr.judged": len(verdicts),
                    "dreamr.accepted": sum(verdict.accepted for verdict in verdicts),
                }
                yield TimedPart("judge call", calls.pop(call), ended, values, error)


class RunSpans:
    """A `RunHook` that makes a span of each run, with its lanes and judge calls as children.

    The span begins when the models are ready for the run. Spans are made after the run from the
    times of its events, so they cost the run nothing.

    Args:
        tracer: Makes the spans.
        headers: Returns the headers of the request that the current run answers. With `traceparent`
            the span is a child of the client's.
        clock: Returns the time in nanoseconds since 1970.
    """

    def __init__(
        self,
        tracer: Tracer,
        headers: Callable[[], Mapping[str, str]] = dict,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tracer, self._headers, self._clock = tracer, headers, clock
        self._began: dict[RunScope, tuple[int, RunConfig]] = {}

    def before_run(self, run: RunScope, config: RunConfig) -> RunConfig:
        """Note the start of the run."""
        self._began[run] = self._clock(), config
        return config

    def after_run(self, run: RunScope, result: Result | None) -> None:
        """Make the spans."""
        began, config = self._began.pop(run)
        parent = extract(self._headers())
        if result is None:
            span = self._tracer.start_span("run", parent, SpanKind.SERVER, start_time=began)
            span.set_attributes(_values(config))
            span.set_status(Status(StatusCode.ERROR, "the run failed or was canceled"))
            span.end(self._clock())
            return
        began = self._clock() - round(result.seconds * _BILLION)
        self._record(result, config, began, parent)

    def _record(self, result: Result, config: RunConfig, began: int, parent: Context) -> None:
        def at(seconds: float) -> int:
            return began + round(seconds * _BILLION)

        span = self._tracer.start_span("run", parent, SpanKind.SERVER, start_time=began)
        span.set_attributes({**_values(config), **_outcome(result)})
        for event in result.events:
            _note(span, event, at(event.time))
        inside = set_span_in_context(span, parent)
        for part in timed_parts(result.events):
            child = self._tracer.start_span(
                part.name, inside, SpanKind.CLIENT, start_time=at(part.began)
            )
            child.set_attributes(part.values)
            if part.error is not None:
                child.set_status(Status(StatusCode.ERROR, part.error))
            child.end(at(part.ended))
        span.end(at(result.seconds))


def _values(config: RunConfig) -> dict[str, Value]:
    known = {} if config.request_id is None else {"dreamr.request_id": config.request_id}
    return {"gen_ai.operation.name": "chat", "dreamr.method": config.method, **known}


def _outcome(result: Result) -> dict[str, Value]:
    usage = result.usage
    return {
        "dreamr.finish": result.finish,
        "dreamr.steps": len(result.steps),
        "dreamr.judge_calls": usage.judge_calls,
        "dreamr.draft.accepted_tokens": usage.draft.accepted,
        "gen_ai.usage.output_tokens": sum(step.step.tokens for step in result.steps),
    }


def _note(span: Span, event: Event, at: int) -> None:
    """Add what the span of a run says about an event."""
    match event:
        case RunStarted(draft=draft, target=target):
            names = {"dreamr.draft": draft, "dreamr.target": target}
            span.set_attributes({key: name for key, name in names.items() if name is not None})
        case DeadlineNear(stage=stage, left=left):
            span.add_event("deadline near", {"stage": stage, "seconds_left": left}, at)
        case Note(message=message):
            span.add_event("note", {"message": message}, at)
