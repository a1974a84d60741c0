"""The summary of a batch, in lines for people."""

from __future__ import annotations

from typing import Any

from dreamr.serving.batch import Summary

BODY: dict[str, Any] = {
    "dreamr": {
        "seconds": 3.0,
        "target_alone_seconds": 4.0,
        "steps": [{"source": "draft"}, {"source": "draft"}, {"source": "target"}],
        "usage": {
            "draft": {"accepted": 30, "kept": 0, "rejected": 10, "canceled": 5},
            "target": {"accepted": 0, "kept": 20, "rejected": 0, "canceled": 2},
            "judge_calls": 3,
            "judged": 4,
        },
    }
}


def test_the_lines_have_tokens_acceptance_time_and_the_estimated_saving() -> None:
    summary = Summary(seconds=75.0, failed=1, skipped=2)
    for _ in range(1000):
        summary.add(BODY)
    assert summary.lines() == [
        "1,000 answered, 1 failed, 2 done before; 1 min 15 s",
        "tokens: draft 45,000, target 22,000",
        "accepted: 75% of the 40,000 tokens of judged steps",
        "steps by the draft: 67% of 3,000",
        "estimated saving over the target alone: 25% of the time of a request (speed-up 1.33)",
    ]


def test_what_is_not_known_is_left_out() -> None:
    summary = Summary()
    summary.add({})
    assert summary.lines() == ["1 answered, 0 failed; 0.0 s"]
