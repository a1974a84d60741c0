"""The timeline of a run as one HTML page, without network access or libraries.

The page is complete without its script, which fills the details panel, moves between bars with the
arrow keys and zooms. All text from models and users is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from math import floor, log10
from string import Template

from dreamr.conversation import Conversation
from dreamr.gate import Verdict
from dreamr.steps import Ending, without_tags
from dreamr.trace.attachments import attachments_html
from dreamr.trace.events import (
    Event,
    ModelUsage,
    Note,
    Option,
    Result,
    RunFinished,
    RunStarted,
    SpeechTranscribed,
    StepCommitted,
    StepRejected,
    Usage,
    all_events,
)
from dreamr.trace.lanes import LANES, Bar, Fate, LaneName, duration, lay_out, overlap, rows

_LEGEND: dict[Fate, str] = {
    "accepted": "Draft, accepted",
    "rejected": "Draft, rejected",
    "kept": "Target",
    "judging": "Judge call",
    "canceled": "Discarded",
}
_HEAD: dict[Fate, str] = {
    "accepted": "drafted, accepted",
    "rejected": "drafted, rejected",
    "kept": "written by the target",
    "canceled": "discarded",
    "judging": "judge call",
}


def timeline_html(events: Sequence[Event] | Result, *, question: str | Conversation = "") -> str:
    """Draw the three lanes of a run, its steps and its cost as an HTML page.

    Args:
        events: The result of a run, or its events in order, from `RunStarted` on. An interrupted
            run has no `RunFinished`.
        question: The problem: its text is the title of the page, or what was said if it is spoken.
            Of a conversation, the images, pages, frames and sounds are shown too.

    Returns:
        A complete HTML document.
    """
    events = tuple(all_events(events))
    result = next((event.result for event in events if isinstance(event, RunFinished)), None)
    asked = question if isinstance(question, Conversation) else Conversation(())
    title = (question if isinstance(question, str) else question.text).strip()
    fallback = "Spoken question" if isinstance(question, Conversation) else "dreamr run"
    title = title or _spoken_question(events) or fallback
    bars = lay_out(events)
    seconds = duration(events)
    return _template().substitute(
        title=escape(title),
        answer=_answer(result),
        about=_about(events),
        media=attachments_html(asked, [event.text for event in _transcripts(events)]),
        cards=_cards(events, bars, seconds, result),
        legend="".join(
            f'<span class="key {_css_class(fate)}"><i></i>{text}</span>'
            for fate, text in _LEGEND.items()
        ),
        names="".join(_name(lane, rows(bars, lane)) for lane in LANES),
        grid="".join(f'<div class="grid" style="left:{at}%"></div>' for at, _ in _ticks(seconds)),
        lanes="".join(_lane(lane, bars, seconds) for lane in LANES),
        axis="".join(f'<span style="left:{at}%">{text}</span>' for at, text in _ticks(seconds)),
        steps="".join(_steps(events)),
        usage=_usage(result.usage if result else None),
        notes=("" if asked.sounds else _speech(events)) + _notes(events),
        widest=max(4, len(bars) // 4),
        seconds=seconds,
    )


@cache
def _template() -> Template:
    return Template(files("dreamr.trace").joinpath("timeline.html").read_text(encoding="utf-8"))


def _css_class(fate: Fate) -> str:
    return "discarded" if fate == "canceled" else fate


def _answer(result: Result | None) -> str:
    if result is None:
        return '<p class="answer failed">The run was interrupted.</p>'
    if result.error is not None:
        return f'<p class="answer failed">{escape(result.error)}</p>'
    if not result.complete and not result.answer:
        thought = bool(result.steps) and result.steps[-1].step.ending is Ending.THOUGHT
        why = (
            "The model stopped after a thought, without an answer."
            if thought
            else "The run reached a limit before its answer."
        )
        return f'<p class="answer failed">{why}</p>'
    return f'<p class="answer">{escape(result.answer)}</p>'


def _about(events: Sequence[Event]) -> str:
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    if started is None:
        return ""
    named = {"target": started.target, "draft": started.draft}
    models = ", ".join(f"{role} {name}" for role, name in named.items() if name)
    chosen = ", ".join(f"{name} {_plain(value)}" for name, value in started.options.items())
    return escape(" · ".join(part for part in (started.method, models, chosen) if part))


def _plain(value: Option) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = "none" if value is None else str(value)
    return text if text.isprintable() else repr(text)


def _cards(
    events: Sequence[Event], bars: Sequence[Bar], seconds: float, result: Result | None
) -> str:
    committed = [event for event in events if isinstance(event, StepCommitted)]
    accepted = sum(event.source == "draft" for event in committed)
    rejected = sum(isinstance(event, StepRejected) for event in events)
    figures = [
        (_seconds(seconds), "wall-clock time"),
        (str(len(committed)), "steps"),
        (f"{accepted} of {accepted + rejected}", "drafted steps accepted"),
        (
            f"{overlap(bars) / seconds:.0%}" if seconds else "0%",
            "of the time with both models busy",
        ),
    ]
    if result is not None:
        tokens = result.usage.draft.accepted + result.usage.target.kept
        figures.append((f"{tokens:,}", "tokens committed"))
    return "".join(f'<div class="card"><b>{n}</b><span>{what}</span></div>' for n, what in figures)


def _name(lane: LaneName, count: int) -> str:
    what = {"draft": "proposes steps", "judge": "target reads", "target": "writes steps"}[lane]
    return f'<div class="name" style="--rows:{count}">{lane}<small>{what}</small></div>'


def _lane(lane: LaneName, bars: Sequence[Bar], seconds: float) -> str:
    inside = "".join(_bar(bar, seconds) for bar in bars if bar.lane == lane)
    style = f"--rows:{rows(bars, lane)}"
    return f'<div class="lane" role="group" aria-label="{lane}" style="{style}">{inside}</div>'


def _bar(bar: Bar, seconds: float) -> str:
    scale = 100 / seconds if seconds else 0.0
    left, width = bar.start * scale, (bar.end - bar.start) * scale
    where = _numbers(bar.positions)
    head = f"Step {where}: {_HEAD[bar.fate]}"
    facts = _facts(bar)
    text = without_tags(bar.text).strip() or "\n".join(
        f"step {at + 1}: {verdict.score_text} {'accepted' if verdict.accepted else 'rejected'}"
        for at, verdict in zip(bar.positions, bar.verdicts, strict=False)
    )
    return (
        f'<button type="button" class="bar {_css_class(bar.fate)}" '
        f'style="left:{left:.4f}%;width:{width:.4f}%;top:{5 + 30 * bar.row}px" '
        f'aria-label="{escape(f"{head}, {facts}")}" data-head="{escape(head)}" '
        f'data-facts="{escape(facts)}" data-text="{escape(text)}"><span>{where}</span></button>'
    )


def _facts(bar: Bar) -> str:
    facts = [f"{_seconds(bar.start)} to {_seconds(bar.end)} ({_seconds(bar.end - bar.start)})"]
    if bar.tokens:
        facts.append(f"{bar.tokens} token{'s' * (bar.tokens != 1)}")
    if bar.verdicts and bar.lane != "judge":
        facts.append(_score(bar.verdicts[0]))
    if bar.why:
        facts.append(bar.why)
    return ", ".join(facts)


def _numbers(positions: Sequence[int]) -> str:
    """Format consecutive positions, counted from 1."""
    if len(positions) > 1:
        return f"{positions[0] + 1}-{positions[-1] + 1}"
    return str(positions[0] + 1) if positions else ""


def _ticks(seconds: float) -> list[tuple[float, str]]:
    """Return at most nine axis ticks: position (percent of the width) and label.

    The page's script redraws them for its actual width.
    """
    if seconds <= 0:
        return [(0.0, "0 s")]
    power = 10.0 ** floor(log10(seconds / 9))
    size = next(times * power for times in (1, 2, 5, 10) if times * power * 9 >= seconds)
    # A label close to the right edge would be cut.
    times = [i * size for i in range(10) if i * size < seconds * 0.98]
    return [(round(100 * time / seconds, 3), _tick(time)) for time in times]


def _tick(seconds: float) -> str:
    return f"{round(seconds * 1000, 3):g} ms" if 0 < seconds < 1 else f"{round(seconds, 3):g} s"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s"


def _steps(events: Iterable[Event]) -> Iterable[str]:
    for event in events:
        if isinstance(event, StepCommitted):
            kind = "accepted" if event.source == "draft" else "kept"
            yield _step(event, kind, event.source, event.verdict)
        elif isinstance(event, StepRejected):
            yield _step(event, "rejected", "rejected", event.verdict)


def _step(event: StepCommitted | StepRejected, kind: str, who: str, verdict: Verdict | None) -> str:
    return (
        f'<tr class="{kind}"><td class="n">{event.position + 1}</td>'
        f'<td class="who">{who}</td><td class="n">{_meter(verdict)}</td>'
        f'<td class="n">{event.step.tokens}</td>'
        f'<td class="text">{escape(without_tags(event.step.text).strip())}</td></tr>\n'
    )


def _score(verdict: Verdict) -> str:
    if verdict.kind == "none":
        return verdict.score_text
    return f"{verdict.score_text}, threshold {verdict.threshold:g}"


def _meter(verdict: Verdict | None) -> str:
    """Draw the score and its threshold as a small bar, followed by the score as text."""
    if verdict is None:
        return ""
    if verdict.kind == "none":
        return escape(verdict.score_text)
    return (
        f'<span class="score" title="{escape(verdict.reason)}">'
        f'<i style="width:{100 * verdict.score:.1f}%"></i>'
        f'<u style="left:{100 * verdict.threshold:.1f}%"></u></span>{verdict.score_text}'
    )


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return '<tr><td colspan="6">Unknown: the run was interrupted</td></tr>'
    judged = f"{usage.judged} drafted steps judged in {usage.judge_calls} calls"
    return (
        _usage_row("draft", usage.draft)
        + _usage_row("target", usage.target)
        + f'<tr><td colspan="6">{judged}</td></tr>'
    )


def _usage_row(model: str, usage: ModelUsage) -> str:
    counts = (usage.accepted, usage.kept, usage.rejected, usage.canceled, usage.written)
    cells = "".join(f'<td class="n">{count:,}</td>' for count in counts)
    return f"<tr><td>{model}</td>{cells}</tr>"


def _spoken_question(events: Iterable[Event]) -> str:
    """Return what was said in the last sound, which is the question if none was typed."""
    said = _transcripts(events)
    return said[-1].text if said else ""


def _transcripts(events: Iterable[Event]) -> list[SpeechTranscribed]:
    return [event for event in events if isinstance(event, SpeechTranscribed)]


def _speech(events: Iterable[Event]) -> str:
    """List what was heard, for pages without the sounds."""
    heard = "".join(
        f"<li><b>{escape(event.name)}</b>: {escape(event.text or 'no speech')}</li>"
        for event in _transcripts(events)
    )
    return f"<h2>Speech</h2><ul>{heard}</ul>" if heard else ""


def _notes(events: Iterable[Event]) -> str:
    notes = "".join(f"<li>{escape(e.message)}</li>" for e in events if isinstance(e, Note))
    return f"<h2>Notes</h2><ul>{notes}</ul>" if notes else ""
