"""Positions of the bars in lane charts."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dreamr.evaluation.bench import Span
from dreamr.evaluation.report.lanes import chart, charts
from support.samples import METHODS, make_sample, make_samples


def test_best_median_and_worst_are_by_speed_up():
    shown = charts(make_samples(15), "fpsr")
    ratios = [float(c.title.split(", ")[1].split()[0]) for c in shown]
    assert [c.title.split(":")[0] for c in shown] == ["Best", "Median", "Worst"]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > ratios[2]


def test_a_method_without_samples_of_the_target_has_no_chart():
    assert charts(make_samples(3, methods=("fpsr",)), "fpsr") == ()


@given(st.integers(0, 200), st.sampled_from(METHODS))
def test_bars_lie_inside_their_lane_and_not_on_each_other(index, method):
    shown = chart("Any", make_sample("vqa", index, "target"), make_sample("vqa", index, method))
    for track in shown.tracks:
        rows = {}
        for bar in track.segments:
            assert 0 <= bar.left <= bar.left + bar.width <= 100.01
            assert track.top <= bar.top < track.top + track.height
            assert bar.left >= rows.get(bar.top, 0) - 0.21  # an invisible overlap
            rows[bar.top] = bar.left + bar.width
    assert shown.height == sum(track.height for track in shown.tracks)


def test_a_bar_describes_its_span():
    sample = make_sample("docmath", 1, "fpsr")
    shown = chart("Any", make_sample("docmath", 1, "target"), sample)
    about = [bar.about for track in shown.tracks for bar in track.segments]
    assert any("drafted step, accepted" in text and "judge ratio" in text for text in about)
    assert all(re.search(r"\d m?s\b", text) for text in about)


def test_scores_are_shown_with_their_kind():
    judged = Span("draft", 0.0, 0.1, "accepted", 0, 1, 9, 0.93, True, "likelihood")
    skipped = Span("draft", 0.1, 0.2, "accepted", 1, 1, 9, None, True, "draft_probability")
    sample = replace(make_sample("vqa", 1, "fpsr"), spans=(judged, skipped))
    shown = chart("Any", make_sample("vqa", 1, "target"), sample)
    first, second = [bar.about for bar in shown.tracks[1].segments]
    assert "target likelihood 0.93" in first
    assert "decided by draft confidence, not judged" in second
