"""A sample agrees with the trace of its run and survives JSON."""

import pytest

from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.bench.sample import attachments_of, spans_of
from dreamr.gate import Evidence, Verdict
from dreamr.trace import Bar
from support.attachments import asked, document, image, sound, video


def sample(**changes):
    values = {
        "task": "vqa",
        "index": 3,
        "kind": "grid",
        "method": "fpsr",
        "concurrency": 1,
        "right": True,
        "answer": "red",
        "finish": "answer",
        "seconds": 0.5,
        "first_step": 0.1,
        "tokens": 30,
        "steps": 3,
        "spans": (Span("draft", 0.0, 0.1, "accepted", 0, 1, 9, 0.93, True),),
    }
    return Sample(**{**values, **changes})


def test_a_sample_survives_json():
    assert Sample.from_json(sample().to_json()) == sample()


def test_a_sample_says_how_many_attachments_its_problem_has():
    many = asked(image(1), document(1, 2), video(3, sound=sound()), sound(0.2))
    counts = attachments_of(many)
    assert counts == {"images": 1, "pages": 2, "frames": 3, "sounds": 2}
    assert attachments_of(asked()) == {}
    assert Sample.from_json(sample(attachments=counts).to_json()).attachments == counts


def test_a_sample_of_an_earlier_version_says_nothing_about_attachments():
    row = sample().to_json()
    del row["attachments"]
    assert Sample.from_json(row) == sample()


def test_a_sample_without_a_unit_is_a_problem_of_its_own():
    row = sample(unit="241").to_json()
    assert Sample.from_json(row).problem == ("vqa", "241")
    del row["unit"]
    assert Sample.from_json(row).problem == ("vqa", "3")
    with pytest.raises(ValueError, match="'unit' has the wrong type"):
        Sample.from_json({**row, "unit": 241})


def test_a_sample_of_an_earlier_version_has_no_reason_of_its_failure():
    row = sample(error="the model was lost").to_json()
    assert Sample.from_json(row).error == "the model was lost"
    del row["error"]
    assert Sample.from_json(row).error is None


@pytest.mark.parametrize("counts", [{"pictures": 1}, {"pages": "2"}, {"pages": True}, [1]])
def test_attachments_of_another_type_are_refused(counts):
    with pytest.raises(ValueError, match="'attachments' has"):
        Sample.from_json({**sample().to_json(), "attachments": counts})


def test_written_steps_are_checked_and_unfinished_ones_are_not():
    bars = [
        Bar("draft", 0.0, 0.1, "accepted", (0,), 5, "right"),
        Bar("draft", 0.1, 0.2, "rejected", (1,), 6, "wrong"),
        Bar("target", 0.1, 0.2, "canceled", (1,), 2),
    ]
    spans = spans_of(bars, lambda position, text: text == "right")
    assert [span.right for span in spans] == [True, False, None]


def test_a_judge_call_counts_the_tokens_of_its_steps():
    bars = [
        Bar("draft", 0.0, 0.1, "accepted", (4,), 5, "one"),
        Bar("draft", 0.1, 0.2, "accepted", (5,), 6, "two"),
        Bar("judge", 0.2, 0.3, "judging", (4, 5)),
        Bar("draft", 0.3, 0.4, "accepted", (5,), 60, "written later"),
    ]
    (call,) = [span for span in spans_of(bars, lambda *_: None) if span.lane == "judge"]
    assert (call.position, call.steps, call.tokens) == (4, 2, 11)


def test_a_judge_call_counts_the_step_with_the_same_verdict():
    short, long = (
        Verdict(False, 0.1, 0.7, "no", kind="ratio"),
        Verdict(True, 0.9, 0.7, "yes", kind="ratio"),
    )
    bars = [
        Bar("draft", 0.0, 0.1, "rejected", (4,), 5, "one", (short,)),
        Bar("draft", 0.0, 0.2, "accepted", (4,), 50, "other", (long,)),
        Bar("judge", 0.2, 0.3, "judging", (4,), verdicts=(short,)),
        Bar("judge", 0.3, 0.4, "judging", (4,), verdicts=(long,)),
    ]
    calls = [span for span in spans_of(bars, lambda *_: None) if span.lane == "judge"]
    assert [call.tokens for call in calls] == [5, 50]


def test_a_judge_call_that_has_grown_counts_the_later_steps_too():
    bars = [
        Bar("draft", 0.0, 0.1, "accepted", (4,), 5, "one"),
        Bar("judge", 0.1, 0.4, "judging", (4, 5)),
        Bar("draft", 0.1, 0.2, "accepted", (5,), 6, "two"),
    ]
    (call,) = [span for span in spans_of(bars, lambda *_: None) if span.lane == "judge"]
    assert call.tokens == 11


def test_a_span_records_the_kind_of_its_score():
    judged = Verdict(True, 0.9, 0.7, "yes", Evidence(0.9, 0.1), kind="ratio")
    skipped = Verdict(True, 0.98, 0.95, "sure", kind="draft_probability")
    bars = [
        Bar("draft", 0.0, 0.1, "accepted", (0,), 5, "one", (judged,)),
        Bar("draft", 0.1, 0.2, "accepted", (1,), 5, "two", (skipped,)),
        Bar("target", 0.2, 0.3, "kept", (2,), 5, "three"),
    ]
    spans = spans_of(bars, lambda *_: None)
    assert [(span.ratio, span.kind) for span in spans] == [
        (0.9, "ratio"),
        (None, "draft_probability"),
        (None, None),
    ]
