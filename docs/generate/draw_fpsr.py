"""Draw docs/images/fpsr.svg: FPSR over time, with a step accepted, rejected, and a fallback.

The bars are those of the schedule itself, run in virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from dreamr.evaluation.simulator.costs import Costs
from dreamr.evaluation.simulator.devices import Devices
from dreamr.evaluation.simulator.scenario import run_scripts
from dreamr.evaluation.simulator.script import DraftedStep, Script, TargetStep
from dreamr.schedules import ScheduleConfig
from dreamr.trace import Bar, Event, StepCommitted, lay_out

OUT = Path(__file__).parents[1] / "images" / "fpsr.svg"
WIDTH, LEFT, ROW, TOP = 900, 90, 30, 34
SPAN = 3.95  # steps of the target that fit on the time axis
COLORS = {"accepted": "#2e9e5b", "kept": "#3569c9", "rejected": "#d1483f", "other": "#b9bec7"}
LANES = ("draft", "judge", "target")


@dataclass(frozen=True)
class Panel:
    """A scenario: a title and the steps of both models, by position."""

    title: str
    drafted: Sequence[DraftedStep]


PANELS = (
    Panel(
        "Accepted: drafted steps 1 to 4 are committed, the fallback is discarded each time",
        [DraftedStep(10, accepted=True) for _ in range(5)],
    ),
    Panel(
        "Rejected: step 2 and all later drafts are discarded, the target's own step 2 is committed",
        [DraftedStep(10, accepted=number != 1) for number in range(5)],
    ),
    Panel(
        "Fallback: the draft takes too long for step 2, so the target's own is committed first",
        [DraftedStep(110 if number == 1 else 10, accepted=True) for number in range(5)],
    ),
)


def events_of(panel: Panel) -> list[Event]:
    """Run FPSR on the scenario. A step of the target takes one second."""
    target = [TargetStep(24, work=24) for _ in panel.drafted]
    script = Script(panel.drafted, target)
    costs = Costs(draft=0.25 / 10, target=1 / 24, judge=0.45)
    events: list[Event] = []
    config = ScheduleConfig(window=3)
    run_scripts([script], "fpsr", config, costs, Devices(), emit=lambda _, e: events.append(e))
    return events


def x(seconds: float) -> float:
    """Return the horizontal position of a time."""
    return LEFT + (WIDTH - LEFT - 10) * seconds / SPAN


def box(y: float, start: float, end: float, color: str, text: str, hint: str) -> str:
    """Return a bar with a label."""
    left, width = x(start) + 0.5, max(x(end) - x(start) - 1, 1)
    label = f'<text x="{left + width / 2:.1f}" y="{y + 15:.1f}" class="bar">{escape(text)}</text>'
    return (
        f'<g><title>{escape(hint)}</title><rect x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="22" rx="3" fill="{color}"/>{label if width > 7 * len(text) else ""}</g>'
    )


def label_of(bar: Bar) -> str:
    """Return the numbers of a bar's steps, from 1."""
    if bar.lane == "judge":
        first, last = min(bar.positions) + 1, max(bar.positions) + 1
        return str(first) if first == last else f"{first}-{last}"
    return str(bar.positions[0] + 1)


def drawn(panel: Panel, top: float) -> Iterator[str]:
    """Yield the elements of a panel."""
    events = events_of(panel)
    yield f'<text x="10" y="{top + 16}" class="title">{escape(panel.title)}</text>'
    for number, lane in enumerate((*LANES, "committed")):
        yield f'<text x="10" y="{top + TOP + number * ROW + 15}" class="lane">{lane}</text>'
    for bar in lay_out(events):
        if bar.start >= SPAN or not bar.positions:
            continue
        y = top + TOP + LANES.index(bar.lane) * ROW
        color = COLORS.get(bar.fate, COLORS["other"])
        if bar.lane == "judge":
            color = COLORS["other"]
        yield box(y, bar.start, min(bar.end, SPAN), color, label_of(bar), bar.why or bar.fate)
    y = top + TOP + len(LANES) * ROW
    committed = [event for event in events if isinstance(event, StepCommitted)]
    for at, group in groupby(committed, key=lambda event: event.time):
        yield pill(y, at, list(group))


def pill(y: float, seconds: float, group: Sequence[StepCommitted]) -> str:
    """Return the mark of the steps that are committed at one time."""
    first, last = group[0].position + 1, group[-1].position + 1
    text = str(first) if first == last else f"{first}-{last}"
    color = COLORS["accepted" if group[0].source == "draft" else "kept"]
    half = 9 if first == last else 15
    return (
        f'<rect x="{x(seconds) - half:.1f}" y="{y + 2}" width="{2 * half}" height="18" rx="9" '
        f'fill="{color}"/><text x="{x(seconds):.1f}" y="{y + 15}" class="bar">{text}</text>'
    )


def legend(y: float) -> Iterator[str]:
    """Yield the legend."""
    entries = (
        ("accepted", "drafted, accepted"),
        ("rejected", "drafted, rejected"),
        ("kept", "written by the target, committed"),
        ("other", "discarded, or judge call"),
    )
    for number, (fate, text) in enumerate(entries):
        left = LEFT + (0, 160, 320, 560)[number]
        yield f'<rect x="{left}" y="{y}" width="14" height="14" rx="3" fill="{COLORS[fate]}"/>'
        yield f'<text x="{left + 20}" y="{y + 12}" class="lane">{text}</text>'


def image() -> str:
    """Return the image as SVG."""
    height = TOP + (len(LANES) + 1) * ROW + 16
    parts = [part for number, panel in enumerate(PANELS) for part in drawn(panel, number * height)]
    total = len(PANELS) * height + 30
    parts += legend(total - 24)
    style = (
        "text{font-family:system-ui,sans-serif;font-size:12px;fill:#23272e}"
        ".title{font-size:13px;font-weight:600}.bar{fill:#fff;text-anchor:middle}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img">'
        f"<style>{style}</style>"
        f'<rect width="{WIDTH}" height="{total}" rx="6" fill="#fff"/>' + "".join(parts) + "</svg>\n"
    )


if __name__ == "__main__":
    OUT.write_text(image(), encoding="utf-8")
