"""Spans of runs: the run, its lanes and its judge calls, with the times of their events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from dreamr import Reasoner, RunOptions
from dreamr.engines import Failure
from dreamr.errors import EngineLost, RunFailed
from dreamr.serving.spans import RunSpans
from dreamr.serving.spans.run_spans import timed_parts
from dreamr.trace import JudgeEnded, LaneClosed, Result
from support.pairs import Pair

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
QUESTION = "What do tea and milk cost together?"


def spans_of(
    pair: Pair, headers: Mapping[str, str] | None = None, **options: Any
) -> tuple[list[ReadableSpan], Result | None]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = RunSpans(provider.get_tracer("test"), lambda: headers or {})

    async def main() -> Result | None:
        async with Reasoner(RunOptions(**options), open_model=pair) as reasoner:
            try:
                return await reasoner.reason(QUESTION, hooks=[hook], request_id="mine")
            except RunFailed:
                return None

    result = anyio.run(main)
    return list(exporter.get_finished_spans()), result


def test_a_run_is_a_span_with_its_lanes_and_judge_calls() -> None:
    spans, result = spans_of(Pair())
    assert result is not None
    *parts, run = spans
    assert run.name == "run"
    assert run.attributes is not None
    assert run.attributes["dreamr.method"] == "fpsr"
    assert run.attributes["dreamr.finish"] == "answer"
    assert run.attributes["dreamr.request_id"] == "mine"
    names = [part.name for part in parts]
    assert names.count("judge call") == result.usage.judge_calls
    closed = [event for event in result.events if isinstance(event, LaneClosed)]
    assert sum(name.endswith(" lane") for name in names) == len(closed)
    assert {name for name in names if name != "judge call"} == {"draft lane", "target lane"}
    for part in parts:
        assert part.parent is not None
        assert part.parent.span_id == run.context.span_id
        assert run.start_time <= part.start_time <= part.end_time <= run.end_time


def test_parts_have_the_times_of_their_events() -> None:
    _, result = spans_of(Pair(target={"judge_seconds": 0.01}))
    assert result is not None
    judged = [event for event in result.events if isinstance(event, JudgeEnded)]
    parts = [part for part in timed_parts(result.events) if part.name == "judge call"]
    assert [part.ended for part in parts] == [event.time for event in judged]
    assert all(part.ended - part.began >= 0.009 for part in parts if part.values["dreamr.judged"])


def test_the_run_is_a_child_of_the_clients_span() -> None:
    spans, _ = spans_of(Pair(), PARENT)
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    assert spans[-1].parent is not None
    assert f"{spans[-1].parent.span_id:016x}" == "00f067aa0ba902b7"


def test_headers_that_are_no_trace_begin_one() -> None:
    spans, _ = spans_of(Pair(), {"traceparent": "nonsense"})
    assert spans[-1].parent is None


def test_a_run_that_fails_is_a_span_with_an_error() -> None:
    lost = Pair(target={"stream_failures": {0: Failure(EngineLost("gone"))}})
    spans, result = spans_of(lost, method="target")
    assert result is None
    [span] = spans
    assert span.status.status_code is StatusCode.ERROR


def test_stages_of_a_deadline_are_events_of_the_span() -> None:
    slow = {"script": "word " * 5000, "token_seconds": 0.002}
    spans, result = spans_of(Pair(target=slow, draft=slow), method="target", deadline=0.3)
    assert result is not None
    stages = [event.attributes["stage"] for event in spans[-1].events if event.name != "note"]
    assert tuple(stages) == result.deadline_stages
    assert "answer" in stages
