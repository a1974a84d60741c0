"""Figures from samples: values computed by hand, and incomplete benches."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.evaluation.bench import Sample, Span
from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.results import MEAN, Results
from dreamr.evaluation.report.spans import busy, checkable
from support.samples import METHODS, make_sample, make_samples


def run_of(method, seconds, index=0, **changes):
    values = {
        "task": "vqa",
        "index": index,
        "kind": "grid",
        "method": method,
        "concurrency": 1,
        "right": True,
        "answer": "red",
        "finish": "answer",
        "seconds": seconds,
        "first_step": 0.1,
        "tokens": 30,
        "steps": 3,
        "spans": (),
    }
    return Sample(**{**values, **changes})


def drafted(position, fate, right, ratio=0.9, tokens=10):
    return Span("draft", 0.0, 0.1, fate, position, 1, tokens, ratio, right)


def kept(position, right=True):
    return Span("target", 0.0, 0.1, "kept", position, 1, 8, None, right)


def only(samples, method, **ideal):
    return figures(samples, **ideal).cells["vqa", method, 1]


def test_speed_up_is_the_product_of_its_two_factors():
    samples = [run_of("target", 4.0, tokens=40), run_of("fpsr", 1.0, tokens=20)]
    found = only(samples, "fpsr")
    assert (found.speedup.value, found.time_gain, found.tokens_gain) == (4.0, 2.0, 2.0)


def test_the_ratio_of_sums_weighs_long_problems_and_the_median_does_not():
    seconds = [(1.0, 1.0), (1.0, 1.0), (10.0, 2.0)]
    samples = [
        run_of(method, pair[which], index)
        for index, pair in enumerate(seconds)
        for which, method in enumerate(("target", "fpsr"))
    ]
    found = only(samples, "fpsr")
    assert found.speedup.value == 3.0
    assert found.speedup_median.value == 1.0


def test_methods_are_compared_on_the_problems_that_both_have():
    samples = [
        run_of("target", 2.0, 0),
        run_of("fpsr", 1.0, 0),
        run_of("fpsr", 50.0, 1, right=False),
    ]
    found = only(samples, "fpsr")
    assert (found.n, found.paired, found.speedup.value) == (2, 1, 2.0)
    assert (found.accuracy.value, found.difference.value) == (0.5, 0.0)


def test_a_regression_is_a_problem_that_only_the_target_alone_solves():
    samples = [run_of("target", 1.0, i, right=i != 3) for i in range(4)]
    samples += [run_of("fpsr", 1.0, i, right=i not in (1,)) for i in range(4)]
    found = only(samples, "fpsr")
    assert (found.regressions.value, found.difference.value) == (0.25, 0.0)
    assert only(samples, "target").regressions.value == 0.0


def rotated(method, wrong, problems=1, rotations=4, **changes):
    """Runs of questions that are each asked in several ways; `wrong` are indices."""
    return [
        run_of(method, 1.0, i, right=i not in wrong, unit=str(i // rotations), **changes)
        for i in range(problems * rotations)
    ]


def test_a_problem_that_is_asked_in_several_ways_is_right_if_all_answers_are():
    found = only([*rotated("target", ()), *rotated("fpsr", {2})], "fpsr")
    assert (found.n, found.paired, found.accuracy.value) == (1, 1, 0.0)
    assert (found.difference.value, found.regressions.value) == (-1.0, 1.0)
    both = only([*rotated("target", {0}), *rotated("fpsr", {2})], "fpsr")
    assert (both.difference.value, both.regressions.value) == (0.0, 0.0)


def test_only_the_ways_that_both_methods_were_asked_are_compared():
    found = only([*rotated("target", {3})[:3], *rotated("fpsr", {3})], "fpsr")
    assert (found.accuracy.value, found.paired, found.difference.value) == (0.0, 1, 0.0)


@given(
    st.lists(
        st.tuples(
            st.tuples(st.booleans(), st.floats(0.5, 9.0)),
            st.tuples(st.booleans(), st.floats(0.5, 9.0)),
            st.sampled_from(["accepted", "rejected"]),
        ),
        min_size=2,
        max_size=5,
    ),
    st.integers(2, 4),
)
@settings(max_examples=15, deadline=None)
def test_equal_ways_to_ask_a_problem_change_no_estimate_of_problems(drawn, ways):
    def samples(each):
        return [
            run_of(
                method, values[1], number * each + way, right=values[0], unit=str(number),
                spans=(drafted(0, fate, None), kept(1)) if method == "fpsr" else (),
            )
            for number, (base, own, fate) in enumerate(drawn)
            for method, values in (("target", base), ("fpsr", own))
            for way in range(each)
        ]  # fmt: skip

    once, often = only(samples(1), "fpsr"), only(samples(ways), "fpsr")
    for name in ("accuracy", "difference", "regressions", "speedup", "speedup_median"):
        one, other = getattr(once, name), getattr(often, name)
        assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))
    assert (often.n, often.paired) == (once.n, once.paired)
    assert often.throughput == pytest.approx(once.throughput / ways)


def test_the_ideal_speed_up_of_problems_with_several_runs_is_that_of_their_runs():
    found = only(
        [*rotated("target", ()), *rotated("fpsr", ())],
        "fpsr",
        ideal_seconds={("vqa", "fpsr", 1): 0.5},
    )
    assert (found.ideal_speedup, found.efficiency) == (2.0, 0.5)


def test_drafted_tokens_are_a_share_of_the_committed_tokens():
    spans = (drafted(0, "accepted", True, tokens=30), drafted(1, "rejected", False, tokens=50))
    found = only([run_of("fpsr", 1.0, spans=spans, tokens=40)], "fpsr")
    assert found.drafted == 0.75


def test_a_method_without_a_common_problem_is_not_compared():
    found = only([run_of("target", 2.0, 0), run_of("fpsr", 1.0, 1)], "fpsr")
    assert (found.paired, found.difference, found.speedup, found.time_gain) == (0, None, None, None)


def test_a_failed_run_is_a_wrong_answer_and_has_no_time():
    failed = run_of("fpsr", 0.0, 1, right=False, finish="failed", first_step=None, tokens=0)
    samples = [run_of("target", 2.0, 0), run_of("target", 2.0, 1), run_of("fpsr", 1.0, 0), failed]
    found = only(samples, "fpsr")
    assert (found.accuracy.value, found.difference.value, found.unfinished) == (0.5, -0.5, 1)
    assert (found.speedup.value, found.latency_p99, found.throughput) == (2.0, 1.0, 1.0)


def test_a_run_cut_by_a_limit_counts_in_times():
    samples = [run_of("target", 2.0), run_of("fpsr", 4.0, finish="length", right=False)]
    found = only(samples, "fpsr")
    assert (found.speedup.value, found.unfinished) == (0.5, 1)


def test_concurrent_problems_have_throughput_and_no_speed_up():
    samples = [
        run_of(method, 9.0, index, concurrency=4, share=seconds / 4)
        for index in range(8)
        for method, seconds in (("target", 2.0), ("fpsr", 1.0))
    ]
    found = figures(samples).cells["vqa", "fpsr", 4]
    assert (found.speedup, found.speedup_median) == (None, None)
    assert (found.throughput, found.throughput_gain, found.token_rate) == (4.0, 2.0, 120.0)


def test_efficiency_is_the_measured_share_of_the_ideal():
    samples = [run_of("target", 4.0), run_of("fpsr", 2.0)]
    found = only(samples, "fpsr", ideal_seconds={("vqa", "fpsr", 1): 1.0})
    assert (found.ideal_speedup, found.efficiency) == (4.0, 0.5)


def test_acceptance_is_counted_in_steps_and_in_tokens():
    spans = (
        drafted(0, "accepted", True, tokens=30),
        drafted(1, "rejected", False, tokens=10),
        kept(1),
        drafted(2, "canceled", None, tokens=99),
    )
    found = only([run_of("fpsr", 1.0, spans=spans)], "fpsr")
    assert (found.acceptance.value, found.token_acceptance.value) == (0.5, 0.75)


def test_the_draft_alone_has_no_acceptance():
    spans = (drafted(0, "accepted", True, ratio=None),)
    found = only([run_of("draft", 1.0, spans=spans)], "draft")
    assert (found.acceptance, found.checked, found.curve) == (None, 0, None)


def test_verdicts_are_checked_up_to_the_first_wrong_step_that_was_committed():
    spans = (
        drafted(0, "rejected", True),  # a false reject
        kept(0),
        drafted(1, "rejected", False),  # rightly rejected: later steps can still be graded
        kept(1),
        drafted(2, "accepted", False),  # a false accept
        drafted(3, "accepted", False),  # not graded: after a mistake
        drafted(4, "rejected", True),
    )
    assert [span.position for span in checkable(spans)] == [0, 1, 2]
    found = only([run_of("fpsr", 1.0, spans=spans)], "fpsr")
    assert (found.checked, found.false_accepts.value, found.false_rejects.value) == (3, 0.5, 1.0)


def test_nothing_is_checked_after_a_step_that_cannot_be_graded():
    spans = (drafted(0, "accepted", None), drafted(1, "accepted", True))
    assert list(checkable(spans)) == []


def test_undecided_steps_are_not_checked():
    spans = (drafted(0, "accepted", True), drafted(1, "canceled", False))
    assert [span.position for span in checkable(spans)] == [0]


def test_the_curve_counts_the_steps_that_reach_each_threshold():
    spans = (
        drafted(0, "accepted", True, ratio=0.96),
        drafted(1, "accepted", True, ratio=0.52),
        drafted(2, "rejected", False, ratio=0.22),
        kept(2),
    )
    curve = only([run_of("fpsr", 1.0, spans=spans)], "fpsr").curve
    at = {threshold: i for i, threshold in enumerate(curve.thresholds)}
    assert curve.steps == 3
    assert [curve.accepted[at[a]] for a in (0.2, 0.5, 0.55, 0.97)] == pytest.approx(
        [1, 2 / 3, 1 / 3, 0]
    )
    assert [curve.false_accepts[at[a]] for a in (0.2, 0.25)] == [1.0, 0.0]
    assert [curve.false_rejects[at[a]] for a in (0.5, 0.55, 0.97)] == [0.0, 0.5, 1.0]


def test_discarded_tokens_and_judge_calls_are_counted():
    spans = (
        Span("target", 0.0, 0.1, "canceled", 0, 1, 6),
        Span("target", 0.1, 0.2, "kept", 0, 1, 30),
        Span("judge", 0.0, 0.1, "judging", 0, 3),
        Span("judge", 0.1, 0.2, "judging", 3, 1),
    )
    found = only([run_of("fpsr", 1.0, spans=spans)], "fpsr")
    assert (found.wasted, found.wasted_share) == (6.0, 0.2)
    assert (found.judge_calls, found.steps_per_call) == (2.0, 2.0)


def test_overlapping_spans_of_a_lane_count_once():
    spans = [
        Span("target", 0.0, 0.4, "kept", 0),
        Span("target", 0.2, 0.3, "canceled", 1),
        Span("target", 0.35, 0.5, "canceled", 1),
        Span("target", 0.8, 1.4, "canceled", 2),
        Span("draft", 0.0, 1.0, "accepted", 0),
    ]
    assert busy(spans, "target", 1.0) == pytest.approx(0.7)


stretches = st.lists(
    st.tuples(st.floats(0, 2), st.floats(0, 2)).map(sorted), min_size=0, max_size=12
)


@given(stretches)
def test_no_lane_is_busy_for_longer_than_the_run_or_than_its_work(ends):
    spans = [Span("judge", start, end, "judging", 0) for start, end in ends]
    found = busy(spans, "judge", 1.0)
    assert 0.0 <= found <= min(1.0, sum(end - start for start, end in ends)) + 1e-9


def test_the_mean_over_tasks_weighs_each_task_alike():
    samples = [run_of("target", 4.0, i, task=t) for t, i in (("a", 0), ("b", 0), ("b", 1))]
    samples += [
        run_of("fpsr", s, i, task=t) for t, i, s in (("a", 0, 1.0), ("b", 0, 2.0), ("b", 1, 2.0))
    ]
    found = figures(samples).cells[MEAN, "fpsr", 1]
    assert found.speedup.value == 3.0
    assert (found.n, found.paired) == (3, 3)


def test_a_method_without_a_task_has_no_mean():
    samples = [run_of("target", 4.0, task=task) for task in ("a", "b")]
    results = figures([*samples, run_of("fpsr", 1.0, task="a")])
    assert set(results.of(MEAN, 1)) == {"target"}


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 4 * 3 * len(METHODS) - 1), max_size=60))
def test_a_bench_with_missing_samples_has_figures(holes):
    whole = SAMPLES
    samples = [sample for at, sample in enumerate(whole) if at not in holes]
    results = figures(samples)
    assert sum(f.n for (task, _, _), f in results.cells.items() if task != MEAN) == len(samples)


SAMPLES = make_samples(4)


def test_the_order_of_the_samples_does_not_matter():
    assert figures(SAMPLES).cells == figures(reversed(SAMPLES)).cells


def test_methods_come_family_by_family_and_numbers_in_their_order():
    names = ["fpsr-w16", "zebra", "fpsr-w4", "fpsr", "parse", "draft", "lookahead-4", "target"]
    samples = [run_of(name, 1.0) for name in names]
    assert figures(samples).methods == (
        *("target", "draft", "lookahead-4", "parse", "fpsr", "fpsr-w4", "fpsr-w16", "zebra"),
    )


def test_results_survive_json():
    results = figures([*SAMPLES, make_sample("vqa", 0, "fpsr", concurrency=4)])
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def test_runs_without_a_single_span_have_figures():
    samples = [replace(sample, spans=(), first_step=None, tokens=0) for sample in SAMPLES]
    found = figures(samples).cells["vqa", "fpsr", 1]
    assert (found.speedup is not None, found.tokens_gain, found.first_step_p50) == (
        True,
        None,
        None,
    )
