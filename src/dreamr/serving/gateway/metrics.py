"""What Prometheus can read: names as vLLM has them, with our prefix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dreamr.gate import Verdict
from dreamr.serving.drift import OUTCOMES, Watch
from dreamr.serving.gateway.load import Load
from dreamr.trace import (
    Event,
    JudgeEnded,
    JudgeStarted,
    Result,
    RunStarted,
    StepCommitted,
    StepRejected,
)

MetricT = TypeVar("MetricT", Counter, Gauge, Histogram)

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_CALL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


@dataclass(frozen=True, slots=True)
class _Declared:
    """A metric before it is registered: name without prefix, help text, names of its labels.

    buckets: upper bounds in seconds, for histograms.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def register(self, kind: type[MetricT], registry: CollectorRegistry) -> MetricT:
        """The metric in a registry."""
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return kind(f"dreamr:{self.name}", self.help, self.labels, registry=registry, **more)


_FIRST_STEP = _Declared(
    "time_to_first_token_seconds",
    "From the request to the first committed step.",
    buckets=_SECONDS,
)
_LATENCY = _Declared(
    "e2e_request_latency_seconds",
    "From the request to the end of the answer.",
    buckets=_SECONDS,
)
_JUDGE = _Declared("judge_seconds", "Of a judge call.", buckets=_CALL)
_HISTOGRAMS = (_FIRST_STEP, _LATENCY, _JUDGE)

_RUNNING = _Declared("num_requests_running", "Requests that are running.")
_WAITING = _Declared("num_requests_waiting", "Requests in the queue.")
_LEVEL = _Declared(
    "load_level", "What is given up: 0 nothing, 1 the fallback, 2 the window, 3 speculation."
)
_STRETCH = _Declared(
    "target_token_stretch",
    "Time per target token, relative to an idle server.",
)
_SPEEDUP = _Declared(
    "speculation_speedup",
    "How many times as fast runs are as the target alone would be at its present pace.",
)
_ALARM = _Declared(
    "drift_alarm", "1: the target disagrees with accepted steps more often than it may."
)
_THRESHOLD = _Declared("gate_threshold", "Of the next run, where audits set it.")
_GAUGES = (_RUNNING, _WAITING, _LEVEL, _STRETCH, _SPEEDUP, _ALARM, _THRESHOLD)

_ANSWERED = _Declared(
    "request_success", "Requests answered, by how the answer ended.", ("finished_reason",)
)
_REFUSED = _Declared(
    "request_failure", "Requests not answered, by the status they got.", ("status",)
)
_PROMPT = _Declared("prompt_tokens", "Tokens of prompts.")
_GENERATED = _Declared("generation_tokens", "Tokens of answers, reasoning included.")
_DRAFTED = _Declared("spec_decode_num_draft_tokens", "Drafted tokens.")
_ACCEPTED = _Declared("spec_decode_num_accepted_tokens", "Accepted drafted tokens.")
_STEPS = _Declared(
    "steps",
    "Steps by what became of them: accepted by the target, accepted unverified, rejected, "
    "or the target's own.",
    ("fate",),
)
_OPTIONS = ("window", "fallback", "resamples")
_RUNS = _Declared("runs", "Runs of fpsr, by the settings that they had.", _OPTIONS)
_AUDITS = _Declared(
    "audits", "Accepted steps that were drawn for an audit, by what came of it.", ("outcome",)
)
_COUNTERS = (
    _ANSWERED,
    _REFUSED,
    _PROMPT,
    _GENERATED,
    _DRAFTED,
    _ACCEPTED,
    _STEPS,
    _RUNS,
    _AUDITS,
)


class Metrics:
    """The gateway's own registry, so that several gateways of a process do not meet."""

    def __init__(self, watch: Watch | None = None) -> None:
        """watch: over the runs, if there is one."""
        self._watch = watch
        self.registry = registry = CollectorRegistry()
        self._histograms = {one: one.register(Histogram, registry) for one in _HISTOGRAMS}
        self._gauges = {one: one.register(Gauge, registry) for one in _GAUGES}
        self._counters = {one: one.register(Counter, registry) for one in _COUNTERS}
        self._audited = dict.fromkeys(OUTCOMES, 0)  # of each outcome, as last counted

    def first(self, seconds: float) -> None:
        """The first step of a request is committed."""
        self._histograms[_FIRST_STEP].observe(seconds)

    def answered(self, result: Result, seconds: float, prompt: int) -> None:
        """A request has its answer."""
        self._histograms[_LATENCY].observe(seconds)
        self._counters[_ANSWERED].labels("length" if result.finish == "length" else "stop").inc()
        self._counters[_PROMPT].inc(prompt)
        self._counters[_GENERATED].inc(sum(step.step.tokens for step in result.steps))

    def ran(self, result: Result) -> None:
        """A run is over, with or without an answer."""
        draft = result.usage.draft
        self._counters[_DRAFTED].inc(draft.written)
        self._counters[_ACCEPTED].inc(draft.accepted)
        began: dict[int, float] = {}
        for event in result.events:
            self._note(event, began)

    def _note(self, event: Event, began: dict[int, float]) -> None:
        match event:
            case RunStarted(method="fpsr", options=options):
                values = (str(options[name]) for name in _OPTIONS)
                self._counters[_RUNS].labels(*values).inc()
            case StepCommitted(verdict=verdict):
                self._counters[_STEPS].labels(_fate(verdict)).inc()
            case StepRejected():
                self._counters[_STEPS].labels("rejected").inc()
            case JudgeStarted(time, call):
                began[call] = time
            case JudgeEnded(time, call, _, verdicts) if verdicts:
                self._histograms[_JUDGE].observe(time - began[call])

    def refused(self, status: int) -> None:
        """A request got an error; 499: its client left."""
        self._counters[_REFUSED].labels(str(status)).inc()

    def text(self, load: Load, running: int, waiting: int) -> bytes:
        """Everything, as Prometheus reads it."""
        self._gauges[_RUNNING].set(running)
        self._gauges[_WAITING].set(waiting)
        self._gauges[_LEVEL].set(int(load.level))
        self._gauges[_STRETCH].set(load.stretch)
        self._gauges[_SPEEDUP].set(math.nan if load.gain is None else load.gain)
        self._update_audits()
        return generate_latest(self.registry)

    def _update_audits(self) -> None:
        watch = self._watch
        for outcome, before in self._audited.items():
            self._audited[outcome] = count = watch.counts[outcome] if watch else 0
            self._counters[_AUDITS].labels(outcome).inc(count - before)
        self._gauges[_ALARM].set(bool(watch and watch.alarm))
        threshold = watch.threshold if watch else None
        self._gauges[_THRESHOLD].set(math.nan if threshold is None else threshold)


def _fate(verdict: Verdict | None) -> str:
    if verdict is None:
        return "target"
    return "unverified" if verdict.evidence is None else "accepted"
