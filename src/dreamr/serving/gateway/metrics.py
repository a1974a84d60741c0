"""Prometheus metrics: the names of vLLM where it has them, with the prefix `dreamr:`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dreamr.gate import Verdict
from dreamr.serving.drift import OUTCOMES, Watch
from dreamr.serving.gateway.served_pair import ServedPair
from dreamr.serving.store import Store
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

Resumption: TypeAlias = Literal["repeated", "stream", "background"]
_PAIR = ("model_name",)  # label of metrics of a pair: its served name, as in vLLM
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

    def register(self, kind: type[Any], registry: CollectorRegistry) -> Any:
        """Create the metric in a registry."""
        more: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return kind(f"dreamr:{self.name}", self.help, self.labels, registry=registry, **more)


_FIRST_STEP = _Declared(
    "time_to_first_token_seconds",
    "Seconds from the request to the first committed step.",
    _PAIR,
    _SECONDS,
)
_LATENCY = _Declared(
    "e2e_request_latency_seconds",
    "Seconds from the request to the end of the answer.",
    _PAIR,
    _SECONDS,
)
_JUDGE = _Declared("judge_seconds", "Seconds per judge call.", _PAIR, _CALL)
_HISTOGRAMS = (_FIRST_STEP, _LATENCY, _JUDGE)

_RUNNING = _Declared("num_requests_running", "Number of running requests.")
_WAITING = _Declared("num_requests_waiting", "Number of waiting requests.")
_LEVEL = _Declared(
    "load_level",
    "Reduction of speculation because of load: 0 none, 1 no fallback, 2 no fallback and a window "
    "of 2, 3 target alone.",
    _PAIR,
)
_STRETCH = _Declared(
    "target_token_stretch",
    "Time per target token, divided by that of an idle server.",
    _PAIR,
)
_SPEEDUP = _Declared(
    "speculation_speedup",
    "Mean speed-up of runs over the target alone at its current speed, estimated; NaN if unknown.",
    _PAIR,
)
_ALARM = _Declared(
    "drift_alarm",
    "1 while the target disagrees with more audited steps than --audit-risk allows, else 0.",
    _PAIR,
)
_THRESHOLD = _Declared(
    "gate_threshold",
    "Gate threshold of the next run as set by audits; NaN without audits.",
    _PAIR,
)
_UP = _Declared(
    "engine_up",
    "1 while the model of a role can be used, 0 while it is lost.",
    (*_PAIR, "role"),
)
_AGE = _Declared(
    "engine_answer_age_seconds",
    "Seconds since the model of a role last answered a check; NaN if it never did.",
    (*_PAIR, "role"),
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
    "request_success", "Answered requests by finish reason.", (*_PAIR, "finished_reason")
)
_REFUSED = _Declared(
    "request_failure", "Failed requests by HTTP status; 499 if the client left.", ("status",)
)
_PROMPT = _Declared(
    "prompt_tokens", "Prompt tokens, counted for requests that return usage.", _PAIR
)
_GENERATED = _Declared("generation_tokens", "Committed tokens, reasoning included.", _PAIR)
_DRAFTED = _Declared("spec_decode_num_draft_tokens", "Tokens that the draft wrote.", _PAIR)
_ACCEPTED = _Declared(
    "spec_decode_num_accepted_tokens", "Tokens of the draft that were accepted.", _PAIR
)
_STEPS = _Declared(
    "steps",
    "Steps by fate: accepted (by the target), unverified (accepted without the target), rejected, "
    "or target (written by the target).",
    (*_PAIR, "fate"),
)
_OPTIONS = ("window", "fallback", "resamples")
_RUNS = _Declared(
    "runs", "Runs of method fpsr by window, fallback and resamples.", (*_PAIR, *_OPTIONS)
)
_AUDITS = _Declared(
    "audits",
    "Audited steps by outcome: agreed, differed, failed or dropped.",
    (*_PAIR, "outcome"),
)
_HURRIED = _Declared(
    "deadline_stages",
    "Runs that traded verification for time by stage: window, confidence, answer or best.",
    (*_PAIR, "stage"),
)
_RESUMED = _Declared(
    "requests_resumed",
    "Runs that continued after steps of an earlier attempt, by kind: repeated (the same request "
    "with its Idempotency-Key), stream (a stream that its client fetched by its id) or background "
    "(taken over from another replica).",
    (*_PAIR, "kind"),
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
    _RESUMED,
    _LOSSES,
)
_ALL: Mapping[Any, tuple[_Declared, ...]] = {
    Histogram: _HISTOGRAMS,
    Gauge: _GAUGES,
    Counter: _COUNTERS,
}


class Metrics:
    """Metrics of one gateway, in a registry of its own: a process may run several gateways.

    Args:
        store: State that replicas share, if any do.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._losses = 0  # that the counter has seen
        self.registry = registry = CollectorRegistry()
        self._found: dict[_Declared, Any] = {
            one: one.register(kind, registry) for kind, many in _ALL.items() for one in many
        }
        self._pairs: list[PairMetrics] = []

    def of(self, pair: ServedPair, watch: Watch | None = None) -> PairMetrics:
        """Return the metrics of a pair.

        Args:
            pair: The pair.
            watch: Audits of its runs, if any.
        """
        found = PairMetrics(pair, watch, self._found)
        self._pairs.append(found)
        return found

    def refused(self, status: int) -> None:
        """Record a request without an answer; status 499 if its client left."""
        self._found[_REFUSED].labels(str(status)).inc()

    def text(self, running: int, waiting: int) -> bytes:
        """Render all metrics in Prometheus' text format.

        Args:
            running: Number of running requests.
            waiting: Number of waiting requests.
        """
        for pair in self._pairs:
            pair.update()
        self._found[_RUNNING].set(running)
        self._found[_WAITING].set(waiting)
        self._found[_READY].set(any(pair.usable for pair in self._pairs))
        self._found[_TASKS].set(len(anyio.get_running_tasks()))
        self._update_store()
        return generate_latest(self.registry)

    def _update_store(self) -> None:
        store = self._store
        if store is None or not store.shared:
            self._found[_STORE].set(math.nan)
            return
        self._found[_STORE].set(not store.lost)
        self._found[_LOSSES].inc(store.losses - self._losses)
        self._losses = store.losses


class PairMetrics:
    """Metrics of one pair, labeled with its served name.

    Args:
        pair: The pair.
        watch: Audits of its runs, if any.
        found: Metrics of the gateway, by declaration.
    """

    def __init__(
        self, pair: ServedPair, watch: Watch | None, found: Mapping[_Declared, Any]
    ) -> None:
        self._pair, self._watch, self._found = pair, watch, found
        self._audited = dict.fromkeys(OUTCOMES, 0)  # counts that the counter has seen
        for one in found:
            if one.labels == _PAIR:
                self._of(one)  # shown before anything is recorded
        for kind in get_args(Resumption):
            self._of(_RESUMED, kind)

    @property
    def usable(self) -> bool:
        """Whether the pair can answer requests."""
        return self._pair.readiness.usable

    def first(self, seconds: float) -> None:
        """Record the seconds from a request to its first committed step."""
        self._of(_FIRST_STEP).observe(seconds)

    def resumed(self, kind: Resumption) -> None:
        """Record a run that continues after steps of an earlier attempt."""
        self._of(_RESUMED, kind).inc()

    def answered(self, result: Result, seconds: float, prompt: int) -> None:
        """Record an answered request.

        Args:
            result: Its run.
            seconds: Seconds from the request to the end of the answer.
            prompt: Tokens of its prompt; 0 if not counted.
        """
        self._of(_LATENCY).observe(seconds)
        cut = result.finish in ("length", "deadline")
        self._of(_ANSWERED, "length" if cut else "stop").inc()
        self._of(_PROMPT).inc(prompt)
        self._of(_GENERATED).inc(sum(step.step.tokens for step in result.steps))

    def ran(self, result: Result) -> None:
        """Record the tokens, steps and judge calls of a run, finished or not."""
        draft = result.usage.draft
        self._of(_DRAFTED).inc(draft.written)
        self._of(_ACCEPTED).inc(draft.accepted)
        began: dict[int, float] = {}
        for event in result.events:
            self._note(event, began)

    def _note(self, event: Event, began: dict[int, float]) -> None:
        match event:
            case RunStarted(method="fpsr", options=options):
                values = (str(options[name]) for name in _OPTIONS)
                self._of(_RUNS, *values).inc()
            case StepCommitted(verdict=verdict):
                self._of(_STEPS, _fate(verdict)).inc()
            case DeadlineNear(stage=stage):
                self._of(_HURRIED, stage).inc()
            case StepRejected():
                self._of(_STEPS, "rejected").inc()
            case JudgeStarted(time, call):
                began[call] = time
            case JudgeEnded(time, call, _, verdicts) if verdicts:
                self._of(_JUDGE).observe(time - began[call])

    def update(self) -> None:
        """Set the gauges."""
        load, readiness = self._pair.load, self._pair.readiness
        self._set(_LEVEL, int(load.level))
        self._set(_STRETCH, load.stretch)
        self._set(_SPEEDUP, load.gain)
        for role in self._pair.reasoner.models:
            self._set(_UP, readiness.is_ready(role), role)
            self._set(_AGE, readiness.age(role), role)
        self._update_audits()

    def _of(self, declared: _Declared, *labels: str) -> Any:
        return self._found[declared].labels(self._pair.name, *labels)

    def _set(self, declared: _Declared, value: float | None, *labels: str) -> None:
        """Set a gauge; None is not a number."""
        self._of(declared, *labels).set(math.nan if value is None else value)

    def _update_audits(self) -> None:
        watch = self._watch
        for outcome, before in self._audited.items():
            self._audited[outcome] = count = watch.counts[outcome] if watch else 0
            self._of(_AUDITS, outcome).inc(count - before)
        self._set(_ALARM, bool(watch and watch.alarm))
        self._set(_THRESHOLD, watch.threshold if watch else None)


def _fate(verdict: Verdict | None) -> str:
    if verdict is None:
        return "target"
    return "accepted" if verdict.by_target else "unverified"
