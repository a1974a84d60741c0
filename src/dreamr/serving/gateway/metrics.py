"""What Prometheus can read: names as vLLM has them, with our prefix."""

from __future__ import annotations

import math

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

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_CALL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The gateway's own registry, so that several gateways of a process do not meet."""

    def __init__(self, watch: Watch | None = None) -> None:
        """watch: over the runs, if there is one."""
        self._watch = watch
        self.registry = registry = CollectorRegistry()
        self._first = Histogram(
            "dreamr:time_to_first_token_seconds",
            "From the request to the first committed step.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "dreamr:e2e_request_latency_seconds",
            "From the request to the end of the answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._judge = Histogram(
            "dreamr:judge_seconds", "Of a judge call.", buckets=_CALL, registry=registry
        )
        self.running = Gauge(
            "dreamr:num_requests_running", "Requests under way.", registry=registry
        )
        self.waiting = Gauge(
            "dreamr:num_requests_waiting", "Requests in the queue.", registry=registry
        )
        self.level = Gauge(
            "dreamr:load_level",
            "What is given up: 0 nothing, 1 the fallback, 2 the window, 3 speculation.",
            registry=registry,
        )
        self.stretch = Gauge(
            "dreamr:target_token_stretch",
            "How much longer a token of the target takes than where nobody else is served.",
            registry=registry,
        )
        self.speedup = Gauge(
            "dreamr:speculation_speedup",
            "How many times as fast runs are as the target alone would be at its present pace.",
            registry=registry,
        )
        self._done = Counter(
            "dreamr:request_success",
            "Requests answered, by how the answer ended.",
            ["finished_reason"],
            registry=registry,
        )
        self._refused = Counter(
            "dreamr:request_failure",
            "Requests not answered, by the status they got.",
            ["status"],
            registry=registry,
        )
        self._prompt = Counter("dreamr:prompt_tokens", "Tokens of prompts.", registry=registry)
        self._generated = Counter(
            "dreamr:generation_tokens", "Tokens of answers, reasoning included.", registry=registry
        )
        self._drafted = Counter(
            "dreamr:spec_decode_num_draft_tokens", "Drafted tokens.", registry=registry
        )
        self._accepted = Counter(
            "dreamr:spec_decode_num_accepted_tokens", "Accepted drafted tokens.", registry=registry
        )
        self._steps = Counter(
            "dreamr:steps",
            "Steps by what became of them: accepted by the target, trusted without it, rejected, "
            "or the target's own.",
            ["fate"],
            registry=registry,
        )
        self._runs = Counter(
            "dreamr:runs",
            "Runs of fpsr, by the settings that they had.",
            ["window", "fallback", "resamples"],
            registry=registry,
        )
        self._audits = Counter(
            "dreamr:audits",
            "Accepted steps that were drawn for an audit, by what came of it.",
            ["outcome"],
            registry=registry,
        )
        self._alarm = Gauge(
            "dreamr:drift_alarm",
            "1: the target disagrees with accepted steps more often than it may.",
            registry=registry,
        )
        self._threshold = Gauge(
            "dreamr:gate_threshold",
            "Of the next run, where audits set it.",
            registry=registry,
        )
        self._told = dict.fromkeys(OUTCOMES, 0)

    def first(self, seconds: float) -> None:
        """The first step of a request is committed."""
        self._first.observe(seconds)

    def answered(self, result: Result, seconds: float, prompt: int) -> None:
        """A request has its answer."""
        self._whole.observe(seconds)
        self._done.labels("length" if result.finish == "length" else "stop").inc()
        self._prompt.inc(prompt)
        self._generated.inc(sum(step.step.tokens for step in result.steps))

    def ran(self, result: Result) -> None:
        """A run is over, with or without an answer."""
        draft = result.usage.draft
        self._drafted.inc(draft.written)
        self._accepted.inc(draft.accepted)
        began: dict[int, float] = {}
        for event in result.events:
            self._note(event, began)

    def _note(self, event: Event, began: dict[int, float]) -> None:
        match event:
            case RunStarted(method="fpsr", options=options):
                names = ("window", "fallback", "resamples")
                self._runs.labels(*(str(options[name]) for name in names)).inc()
            case StepCommitted(verdict=verdict):
                self._steps.labels(_fate(verdict)).inc()
            case StepRejected():
                self._steps.labels("rejected").inc()
            case JudgeStarted(time, call):
                began[call] = time
            case JudgeEnded(time, call, _, verdicts) if verdicts:
                self._judge.observe(time - began[call])

    def refused(self, status: int) -> None:
        """A request got an error; 499: its client left."""
        self._refused.labels(str(status)).inc()

    def text(self, load: Load, running: int, waiting: int) -> bytes:
        """Everything, as Prometheus reads it."""
        self.running.set(running)
        self.waiting.set(waiting)
        self.level.set(int(load.level))
        self.stretch.set(load.stretch)
        self.speedup.set(math.nan if load.gain is None else load.gain)
        self._tell_of_audits()
        return generate_latest(self.registry)

    def _tell_of_audits(self) -> None:
        watch = self._watch
        for outcome, told in self._told.items():
            self._told[outcome] = count = watch.counts[outcome] if watch else 0
            self._audits.labels(outcome).inc(count - told)
        self._alarm.set(bool(watch and watch.alarm))
        threshold = watch.threshold if watch else None
        self._threshold.set(math.nan if threshold is None else threshold)


def _fate(verdict: Verdict | None) -> str:
    if verdict is None:
        return "target"
    return "trusted" if verdict.evidence is None else "accepted"
