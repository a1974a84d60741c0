from __future__ import annotations

import html.parser
import re
from dataclasses import replace

from dreamr.gate import Evidence, ScoreKind, Verdict
from dreamr.steps import Ending, Step
from dreamr.trace import (
    CommittedStep,
    Event,
    JudgeEnded,
    JudgeStarted,
    LaneClosed,
    LaneOpened,
    LanePaused,
    LaneResumed,
    ModelUsage,
    Note,
    Result,
    RunFinished,
    RunStarted,
    SpeechTranscribed,
    StepCommitted,
    StepDiscarded,
    StepReady,
    StepRejected,
    Usage,
    timeline_html,
)
from dreamr.trace.lanes import Bar, lay_out, overlap
from support.attachments import asked, document, image, sound, video

TEA = Step("Tea costs <b>2.50</b>.\n\n", 8, Ending.DELIMITER)
MILK = Step("Milk costs 7.20.\n\n", 8, Ending.DELIMITER)
RIGHT = Step("Milk costs 1.20.\n\n", 7, Ending.DELIMITER)
FALLBACK = Step("The tea is 2.50.\n\n", 9, Ending.DELIMITER)
ANSWER = Step("Answer: 3.70", 6, Ending.ANSWER)


def verdict(score: float, kind: ScoreKind = "ratio") -> Verdict:
    reached = "reaches" if score >= 0.7 else "below"
    reason = f"ratio {reached} the threshold"
    return Verdict(score >= 0.7, score, 0.7, reason, Evidence(score, 0), kind=kind)


def events() -> list[Event]:
    """Return a small run: one drafted step accepted, one rejected, two steps of the target."""
    yes, no = verdict(0.93), verdict(0.21)
    steps = (
        CommittedStep(TEA, "draft", yes),
        CommittedStep(RIGHT, "target"),
        CommittedStep(ANSWER, "target"),
    )
    usage = Usage(ModelUsage(accepted=8, rejected=8, canceled=3), ModelUsage(kept=13), 2, 2)
    return [
        RunStarted(
            0.0,
            "fpsr",
            "small",
            "large",
            {"window": 1, "delimiter": "\n\n", "deterministic": False},
        ),
        LaneOpened(0.0, 0, "draft", 0),
        LaneOpened(0.0, 1, "target", 0),
        StepReady(0.1, 0, "draft", 0, TEA),
        JudgeStarted(0.1, 0, (0,)),
        StepReady(0.2, 0, "draft", 1, MILK),
        LanePaused(0.2, 0),
        StepReady(0.28, 1, "target", 0, FALLBACK),
        JudgeEnded(0.3, 0, (0,), (yes,)),
        StepCommitted(0.3, 0, TEA, "draft", yes),
        StepDiscarded(0.3, 0, FALLBACK, "target", "drafted step accepted"),
        LaneClosed(0.3, 1, "canceled", 9),
        LaneResumed(0.3, 0),
        LaneOpened(0.3, 2, "target", 1),
        JudgeStarted(0.3, 1, (1,)),
        JudgeEnded(0.4, 1, (1,), (no,)),
        StepRejected(0.4, 1, MILK, no),
        LaneClosed(0.4, 0, "canceled", 19),
        StepReady(0.7, 2, "target", 1, RIGHT),
        StepCommitted(0.7, 1, RIGHT, "target"),
        Note(0.75, "the draft was lost, the target continues alone: killed"),
        StepReady(1.0, 2, "target", 2, ANSWER),
        LaneClosed(1.0, 2, "stop", 13),
        StepCommitted(1.0, 2, ANSWER, "target"),
        RunFinished(1.0, Result("3.70", steps, usage, 1.0, "answer")),
    ]


def test_every_span_of_work_has_one_bar_with_its_fate() -> None:
    drawn = [(bar.lane, bar.start, bar.end, bar.fate, bar.tokens) for bar in lay_out(events())]
    assert drawn == [
        ("draft", 0.0, 0.1, "accepted", 8),
        ("target", 0.0, 0.28, "canceled", 9),
        ("draft", 0.1, 0.2, "rejected", 8),
        ("judge", 0.1, 0.3, "judging", 0),
        ("judge", 0.3, 0.4, "judging", 0),
        ("draft", 0.3, 0.4, "canceled", 3),
        ("target", 0.3, 0.7, "kept", 7),
        ("target", 0.7, 1.0, "kept", 6),
    ]


def test_an_interrupted_trace_can_be_drawn() -> None:
    whole = events()
    for length in range(len(whole) + 1):
        bars = lay_out(whole[:length])
        assert all(bar.start <= bar.end for bar in bars)
        assert "<html" in timeline_html(whole[:length])


def test_what_was_heard_is_shown_and_titles_a_spoken_question() -> None:
    started, *rest = events()
    said = [
        SpeechTranscribed(0.0, "<clip>.mp4", ""),
        SpeechTranscribed(0.0, "question.ogg", "What <costs> 3.70?"),
    ]
    page = timeline_html([started, *said, *rest], question=" ")
    assert "<title>What &lt;costs&gt; 3.70?" in page
    assert "<h2>Speech</h2>" in page
    assert "<b>&lt;clip&gt;.mp4</b>: no speech" in page
    assert "<b>question.ogg</b>: What &lt;costs&gt; 3.70?" in page
    assert "<title>Typed" in timeline_html([started, *said, *rest], question="Typed")
    assert "<h2>Speech</h2>" not in timeline_html(events())


def test_a_paused_lane_has_no_bar_at_the_end_of_an_interrupted_trace() -> None:
    until_pause = events()[:8]
    drawn = [(bar.lane, bar.end, bar.positions) for bar in lay_out(until_pause)]
    assert ("draft", 0.28, (2,)) not in drawn
    assert ("judge", 0.28, (0,)) in drawn


def test_the_overlap_is_the_time_with_both_models_busy() -> None:
    # 0 to 0.2 beside the fallback (and a judge call: counted once), 0.3 to 0.4 beside both again.
    assert abs(overlap(lay_out(events())) - 0.3) < 1e-9
    assert overlap([Bar("draft", 0, 1, "kept", (0,)), Bar("judge", 1, 2, "kept", (0,))]) == 0


def test_concurrent_work_on_one_lane_is_on_another_row() -> None:
    bars = lay_out(
        [
            RunStarted(0.0, "fpsr", "small", "large"),
            LaneOpened(0.0, 0, "target", 0),
            LaneOpened(0.1, 1, "target", 1),
            StepReady(0.25, 1, "target", 1, MILK),
            LaneClosed(0.25, 1, "stop", 8),
            LaneOpened(0.2999, 2, "target", 2),  # too small an overlap to be seen
            StepReady(0.3, 0, "target", 0, TEA),
            LaneClosed(0.3, 0, "stop", 8),
            StepReady(0.4, 2, "target", 2, TEA),
            LaneClosed(0.4, 2, "stop", 8),
        ]
    )
    assert [(bar.positions, bar.row) for bar in bars] == [((0,), 0), ((1,), 1), ((2,), 0)]


def test_what_models_and_users_wrote_is_escaped() -> None:
    page = timeline_html(events(), question="<script>alert(1)</script>")
    assert "<script>alert" not in page
    assert "<b>2.50" not in page
    assert "&lt;b&gt;2.50&lt;/b&gt;" in page


def test_the_page_loads_nothing() -> None:
    page = timeline_html(events(), question=asked(image(3), document(1), video(2), sound()))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|src=\"(?!data:)", page)
    assert "default-src 'none'" in page


def test_the_page_is_well_formed() -> None:
    parser = _Balance()
    parser.feed(timeline_html(events(), question="Q?"))
    assert parser.open == []


def test_the_page_shows_the_run() -> None:
    page = timeline_html(events(), question="What do tea and milk cost together?")
    for said in (
        "<h1>What do tea and milk cost together?</h1>",
        '<p class="answer">3.70</p>',
        "fpsr · target large, draft small · window 1",
        "delimiter &#x27;\\n\\n&#x27;, deterministic off",
        "<b>1 of 2</b><span>drafted steps accepted",
        "<b>30%</b>",
        "<b>21</b><span>tokens committed",
        'class="rejected"><td class="n">2</td>',
        "ratio 0.21, threshold 0.7",
        "the target continues alone",
        "2 drafted steps judged in 2 calls",
    ):
        assert said in page


def test_a_score_is_named() -> None:
    def page(kind: ScoreKind) -> str:
        seen = verdict(0.83, kind)
        ready = StepReady(0.1, 0, "draft", 0, TEA)
        opened = LaneOpened(0.0, 0, "draft", 0)
        return timeline_html([opened, ready, StepCommitted(0.2, 0, TEA, "draft", seen)])

    assert "judge ratio 0.83, threshold 0.7" in page("ratio")
    assert "</span>judge ratio 0.83<" in page("ratio")
    assert "draft confidence 0.83, threshold 0.7" in page("draft_probability")
    assert "</span>draft confidence 0.83<" in page("draft_probability")
    assert ">no score<" in page("none")
    assert "0.83" not in page("none")


def test_the_page_of_a_result_is_that_of_its_events_with_the_end() -> None:
    *before, end = events()
    assert isinstance(end, RunFinished)
    result = replace(end.result, events=tuple(before))
    page = timeline_html(result)
    assert page == timeline_html([*before, RunFinished(result.seconds, result)])
    assert "interrupted" not in page


def test_a_failed_run_shows_its_error_and_a_cut_one_its_limit() -> None:
    failed = Result("", (), Usage(), 0.0, "failed", "the target <died>")
    assert "the target &lt;died&gt;" in timeline_html([RunFinished(0.0, failed)])
    cut = Result("", (), Usage(), 0.0, "length")
    assert "The run reached a limit" in timeline_html([RunFinished(0.0, cut)])


class _Balance(html.parser.HTMLParser):
    """Keeps the stack of open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_attachments_are_shown_with_pages_times_and_sound() -> None:
    problem = asked(
        document(2, 5, text="Total", name="<bill>.pdf"), video(3, sound=sound(1.5)), image(9)
    )
    page = timeline_html(events(), question=problem)
    assert "<h1>What is shown?</h1>" in page
    for said in (
        "&lt;bill&gt;.pdf: 12 pages, 2 shown to the models",
        "<figcaption>page 2, with its text</figcaption>",
        "<figcaption>page 5, with its text</figcaption>",
        "clip.mp4: 0:03.0, 3 frames",
        "<figcaption>0:02.0</figcaption>",
        "<figcaption>9.png</figcaption>",
        "clip.mp4: 0:01.5",
        '<audio controls preload="metadata" src="data:audio/wav;base64,',
    ):
        assert said in page
    assert page.count('src="data:image/png;base64,') == 2 + 3 + 1
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []


def test_a_spoken_question_has_a_title_and_its_sound() -> None:
    page = timeline_html(events(), question=asked(sound(), question=""))
    assert "<h1>Spoken question</h1>" in page
    assert "<audio" in page
    assert '<div class="media">' not in timeline_html(events(), question="Q?")


def test_what_was_heard_is_shown_below_each_sound_or_in_a_list_without_sounds() -> None:
    texts = ("A <bell>", "", "What is due?")
    names = ("clip.mp4", "noise.wav", "question.wav")
    heard = [SpeechTranscribed(0.0, name, text) for name, text in zip(names, texts, strict=True)]
    problem = asked(video(2, sound=sound(1.5)), sound(1.0, "noise.wav"), sound(), question="")
    page = timeline_html([*events(), *heard], question=problem)
    below = re.findall(r"<figcaption>([^<]*)</figcaption><audio[^>]*></audio><p>([^<]*)</p>", page)
    assert below == [
        ("clip.mp4: 0:01.5", "“A &lt;bell&gt;”"),
        ("noise.wav: 0:01.0", "no speech"),
        ("question.wav: 0:00.1", "“What is due?”"),
    ]
    assert "<h2>Speech</h2>" not in page
    listed = timeline_html([*events(), *heard], question="What is due?")
    assert "<li><b>clip.mp4</b>: A &lt;bell&gt;</li>" in listed
