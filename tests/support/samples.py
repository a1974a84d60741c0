"""Samples in the format of a bench, from a small model of each method in virtual time.

A drafted token takes 1 ms, a token of the target 8 ms, a judge call 20 ms. What a step says, and
whether it is right, is drawn from the problem alone, so methods meet the same steps.
"""

import json
from dataclasses import dataclass, field, replace
from random import Random

from dreamr.evaluation.bench import Sample, Span

TASKS = ("docmath", "story", "vqa")
METHODS = ("target", "draft", "token-sd", "specreason-7", "lookahead-4", "sequential", "fpsr")
DRAFT, TARGET, JUDGE = 0.001, 0.008, 0.020


@dataclass
class Step:
    """Tokens of a step by each model, and correctness and judge ratio of the draft's."""

    drafted: int
    own: int
    is_right: bool
    ratio: float

    @property
    def accepted(self):
        return self.ratio >= 0.7


@dataclass
class Clock:
    """Spans in sequence."""

    now: float = 0.0
    spans: list[Span] = field(default_factory=list)

    def add(self, lane, seconds, fate, position, **values):
        self.spans.append(Span(lane, self.now, self.now + seconds, fate, position, **values))
        self.now += seconds


def steps_of(task, index):
    rng = Random(f"{task}/{index}")
    quality = {"docmath": 0.8, "story": 0.87, "vqa": 0.93}[task]
    steps = []
    for _ in range(rng.randint(4, 11)):
        is_right = rng.random() < quality
        ratio = rng.betavariate(9, 1) if is_right else rng.betavariate(1.2, 4)
        own = rng.randint(6, 24)
        steps.append(Step(int(own * rng.uniform(1.0, 1.3)), own, is_right, ratio))
    return steps


def target(steps, rng):
    clock = Clock()
    for at, step in enumerate(steps):
        clock.add("target", step.own * TARGET, "kept", at, tokens=step.own, right=True)
    return clock.spans


def draft(steps, rng):
    clock = Clock()
    for at, step in enumerate(steps):
        clock.add(
            "draft",
            step.drafted * DRAFT,
            "accepted",
            at,
            tokens=step.drafted,
            right=step.is_right,
        )
    return clock.spans


def token_sd(steps, rng):
    clock, at, left = Clock(), 0, sum(step.own for step in steps)
    while left > 0:
        hits = rng.choice((5, 5, 3, 2))
        fate = "accepted" if hits == 5 else "rejected"
        clock.add("draft", 5 * DRAFT, fate, at, tokens=5)
        clock.add("judge", JUDGE, "judging", at, tokens=5)
        clock.add("target", 0.001, "kept", at + 1, tokens=hits - 4 if hits == 5 else hits)
        left -= hits + 1
        at += 2
    return clock.spans


def one_at_a_time(steps, rng, judge=JUDGE):
    clock = Clock()
    for at, step in enumerate(steps):
        fate = "accepted" if step.accepted else "rejected"
        values = {
            "tokens": step.drafted,
            "ratio": step.ratio,
            "right": step.is_right,
            "kind": "ratio",
        }
        clock.add("draft", step.drafted * DRAFT, fate, at, **values)
        clock.add("judge", judge, "judging", at, tokens=step.drafted)
        if not step.accepted:
            clock.add("target", step.own * TARGET, "kept", at, tokens=step.own, right=True)
    return clock.spans


def specreason(steps, rng):
    return one_at_a_time(steps, rng, 1.5 * JUDGE)


def lookahead(steps, rng):
    """Draft four steps, write the target's own at each, and restart after the first difference."""
    spans, now, at = [], 0.0, 0
    while at < len(steps):
        block = steps[at : at + 4]
        good = next((i for i, s in enumerate(block) if not s.accepted), len(block))
        began, ends = now, [now]
        for i, step in enumerate(block):
            fate = "accepted" if i < good else "rejected" if i == good else "canceled"
            until = began + step.drafted * DRAFT
            is_right = step.is_right
            spans.append(Span("draft", began, until, fate, at + i, 1, step.drafted, right=is_right))
            fate = "kept" if i == good else "canceled"
            ends.append(began + step.own * TARGET)
            spans.append(Span("target", began, ends[-1], fate, at + i, 1, step.own, right=True))
            began = until
        now = max(ends)
        spans.append(Span("judge", now, now + JUDGE, "judging", at, len(block), 40))
        now += JUDGE
        at += good + (good < len(block))
    return sorted(spans, key=lambda span: span.start)


def fpsr(steps, rng):
    """Draft ahead while the target judges the step before and writes its own."""
    spans, now, drafted = [], 0.0, 0.0
    for at, step in enumerate(steps):
        began = drafted
        drafted = began + step.drafted * DRAFT
        fate = "accepted" if step.accepted else "rejected"
        values = {
            "tokens": step.drafted,
            "ratio": step.ratio,
            "right": step.is_right,
            "kind": "ratio",
        }
        spans.append(Span("draft", began, drafted, fate, at, **values))
        asked = max(drafted, now)
        spans.append(Span("judge", asked, asked + JUDGE, "judging", at, 1, step.drafted))
        if step.accepted:
            done = asked + JUDGE
            tokens = min(step.own, int((done - now) / TARGET))
            spans.append(Span("target", now, done, "canceled", at, 1, tokens))
        else:
            done = max(asked + JUDGE, now + step.own * TARGET)
            spans.append(Span("target", now, done, "kept", at, 1, step.own, right=True))
            drafted = done
        now = done
    return sorted(spans, key=lambda span: span.start)


MODELS = {
    "target": target,
    "draft": draft,
    "token-sd": token_sd,
    "specreason-7": specreason,
    "lookahead-4": lookahead,
    "sequential": one_at_a_time,
    "fpsr": fpsr,
}


def make_sample(task, index, method, concurrency=1):
    rng = Random(f"{task}/{index}/{method}/{concurrency}")
    spans = MODELS[method](steps_of(task, index), rng)
    slower = rng.uniform(0.97, 1.03) * (1 + 0.4 * (concurrency - 1))
    spans = [scaled(s, slower) for s in spans]
    committed = [s for s in spans if s.committed]
    seconds = max(s.end for s in spans) + 0.002
    return Sample(
        task=task,
        index=index,
        kind="made",
        method=method,
        concurrency=concurrency,
        right=all(s.right is not False for s in committed) and rng.random() < 0.98,
        answer="42",
        finish="length" if rng.random() < 0.01 else "answer",
        seconds=seconds,
        first_step=min(s.end for s in committed),
        tokens=sum(s.tokens for s in committed),
        steps=len(committed),
        spans=tuple(spans),
        share=None if concurrency == 1 else seconds / concurrency,
    )


def scaled(span, factor):
    """Scale a span in time, rounded as in a file."""
    start, end = round(span.start * factor, 6), round(span.end * factor, 6)
    return replace(span, start=start, end=end)


def make_samples(count=20, methods=METHODS, tasks=TASKS, concurrencies=(1,)):
    return [
        make_sample(task, index, method, concurrency)
        for index in range(count)
        for task in tasks
        for method in methods
        for concurrency in concurrencies
    ]


def write_folder(folder, samples, config="tasks: [docmath, story, vqa]\nseed: 0\n"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(sample.to_json()) + "\n" for sample in samples)
    (folder / "samples.jsonl").write_text("".join(lines))
    (folder / "config.yaml").write_text(config)
    provenance = {
        "command": "python -m dreamr bench run --limit 20",
        "commit": "0123456789abcdef",
        "packages": {"torch": "2.13.0", "transformers": "5.24.0"},
        "processor": "two cores",
        "weights": {"target": "5e1f", "draft": "0c2a"},
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return folder
