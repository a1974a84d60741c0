"""Prometheus metrics: the names of vLLM where it has them, with the prefix `dreamr:`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dreamr._load import Load
from dreamr.gate import Verdict
from dreamr.serving.drift import OUTCOMES, Watch
from dreamr.serving.gateway.readiness import Readiness
from dreamr.serving.store import Store
from dreamr.steps import Role
from dreamr.trace import (
    DeadlineNear,
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
    """A metric before it is registered.

    Attributes:
        name: Name without prefix.
        help: Help text for people.
        labels: Names of the labels.
        buckets: Upper bounds in seconds, for histograms.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def register(self, kind: type[MetricT], registry: CollectorRegistry) -> MetricT:
        """Create the metric in a registry."""
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return kind(f"dreamr:{self.name}", self.help, self.labels, registry=registry, **more)


_FIRST_STEP = _Declared(
    "time_to_first_token_seconds",
    "Seconds from the request to the first committed step.",
    buckets=_SECONDS,
)
_LATENCY = _Declared(
    "e2e_request_latency_seconds",
    "Seconds from the request to the end of the answer.",
    buckets=_SECONDS,
)
_JUDGE = _Declared("judge_seconds", "Seconds per judge call.", buckets=_CALL)
_HISTOGRAMS = (_FIRST_STEP, _LATENCY, _JUDGE)

_RUNNING = _Declared("num_requests_running", "Number of running requests.")
_WAITING = _Declared("num_requests_waiting", "Number of waiting requests.")
_LEVEL = _Declared(
    "load_level",
    "Reduction of speculation because of load: 0 none, 1 no fallback, 2 no fallback and a window "
    "of 2, 3 target alone.",
)
_STRETCH = _Declared(
    "target_token_stretch",
    "Time per target token, divided by that of an idle server.",
)
_SPEEDUP = _Declared(
    "speculation_speedup",
    "Mean speed-up of runs over the target alone at its current speed, estimated; NaN if unknown.",
)
_ALARM = _Declared(
    "drift_alarm",
    "1 while the target disagrees with more audited steps than --audit-risk allows, else 0.",
)
_THRESHOLD = _Declared(
    "gate_threshold", "Gate threshold of the next run as set by audits; NaN without audits."
)
_UP = _Declared(
    "engine_up", "1 while the model of a role can be used, 0 while it is lost.", ("role",)
)
_AGE = _Declared(
    "engine_answer_age_seconds",
    "Seconds since the model of a role last answered a check; NaN if it never did.",
    ("role",),
)
_READY = _Declared("ready", "1 while /ready reports that requests can be answered, else 0.")
_TASKS = _Declared("tasks", "Number of tasks of the event loop.")
_STORE = _Declared(
    "store_up", "1 while replicas share their state, 0 while the store is lost; NaN without one."
)
_GAUGES = (
    _RUNNING,
    _WAITING,
    _LEVEL,
    _STRETCH,
    _SPEEDUP,
    _ALARM,
    _THRESHOLD,
    _UP,
    _AGE,
    _READY,
    _TASKS,
    _STORE,
)

_ANSWERED = _Declared(
    "request_success", "Answered requests by finish reason.", ("finished_reason",)
)
_REFUSED = _Declared(
    "request_failure", "Failed requests by HTTP status; 499 if the client left.", ("status",)
)
_PROMPT = _Declared("prompt_tokens", "Prompt tokens, counted for requests that return usage.")
_GENERATED = _Declared("generation_tokens", "Committed tokens, reasoning included.")
_DRAFTED = _Declared("spec_decode_num_draft_tokens", "Tokens that the draft wrote.")
_ACCEPTED = _Declared("spec_decode_num_accepted_tokens", "Tokens of the draft that were accepted.")
_STEPS = _Declared(
    "steps",
    "Steps by fate: accepted (by the target), unverified (accepted without the target), rejected, "
    "or target (written by the target).",
    ("fate",),
)
_OPTIONS = ("window", "fallback", "resamples")
_RUNS = _Declared("runs", "Runs of method fpsr by window, fallback and resamples.", _OPTIONS)
_AUDITS = _Declared(
    "audits", "Audited steps by outcome: agreed, differed, failed or dropped.", ("outcome",)
)
_HURRIED = _Declared(
    "deadline_stages",
    "Runs that traded verification for time by stage: window, confidence, answer or best.",
    ("stage",),
)
_LOSSES = _Declared("store_losses", "Times that the store of shared state was lost.")
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
    _HURRIED,
    _LOSSES,
)


class Metrics:
    """Metrics of one gateway, in a registry of its own: a process may run several gateways.

    Args:
        watch: Audits of the gateway's runs, if any.
        store: State that replicas share, if any do.
    """

    def __init__(self, watch: Watch | None = None, store: Store | None = None) -> None:
        self._watch, self._store = watch, store
        self._losses = 0  # that the counter has seen
        self.registry = registry = CollectorRegistry()
        self._histograms = {one: one.register(Histogram, registry) for one in _HISTOGRAMS}
        self._gauges = {one: one.register(Gauge, registry) for one in _GAUGES}
        self._counters = {one: one.register(Counter, registry) for one in _COUNTERS}
        self._audited = dict.fromkeys(OUTCOMES, 0)  # counts that the counter has seen

    def first(self, seconds: float) -> None:
        """Record the seconds from a request to its first committed step."""
        self._histograms[_FIRST_STEP].observe(seconds)

    def answered(self, result: Result, seconds: float, prompt: int) -> None:
        """Record an answered request.

        Args:
            result: Its run.
            seconds: Seconds from the request to the end of the answer.
            prompt: Tokens of its prompt; 0 if not counted.
        """
        self._histograms[_LATENCY].observe(seconds)
        cut = result.finish in ("length", "deadline")
        self._counters[_ANSWERED].labels("length" if cut else "stop").inc()
        self._counters[_PROMPT].inc(prompt)
        self._counters[_GENERATED].inc(sum(step.step.tokens for step in result.steps))

    def ran(self, result: Result) -> None:
        """Record the tokens, steps and judge calls of a run, finished or not."""
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
            case DeadlineNear(stage=stage):
                self._counters[_HURRIED].labels(stage).inc()
            case StepRejected():
                self._counters[_STEPS].labels("rejected").inc()
            case JudgeStarted(time, call):
                began[call] = time
            case JudgeEnded(time, call, _, verdicts) if verdicts:
                self._histograms[_JUDGE].observe(time - began[call])

    def refused(self, status: int) -> None:
        """Record a request without an answer; status 499 if its client left."""
        self._counters[_REFUSED].labels(str(status)).inc()

    def set_readiness(self, readiness: Readiness, roles: Iterable[Role]) -> None:
        """Set the gauges about the models of these roles."""
        for role in roles:
            age = readiness.age(role)
            self._gauges[_UP].labels(role).set(readiness.is_ready(role))
            self._gauges[_AGE].labels(role).set(math.nan if age is None else age)
        self._gauges[_READY].set(readiness.usable)

    def text(self, load: Load, running: int, waiting: int) -> bytes:
        """Render all metrics in Prometheus' text format.

        Args:
            load: Load control of the gateway.
            running: Number of running requests.
            waiting: Number of waiting requests.
        """
        self._gauges[_RUNNING].set(running)
        self._gauges[_WAITING].set(waiting)
        self._gauges[_TASKS].set(len(anyio.get_running_tasks()))
        self._gauges[_LEVEL].set(int(load.level))
        self._gauges[_STRETCH].set(load.stretch)
        self._gauges[_SPEEDUP].set(math.nan if load.gain is None else load.gain)
        self._update_audits()
        self._update_store()
        return generate_latest(self.registry)

    def _update_store(self) -> None:
        store = self._store
        if store is None or not store.shared:
            self._gauges[_STORE].set(math.nan)
            return
        self._gauges[_STORE].set(not store.lost)
        self._counters[_LOSSES].inc(store.losses - self._losses)
        self._losses = store.losses

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
    return "accepted" if verdict.by_target else "unverified"
