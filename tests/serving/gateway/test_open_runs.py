from __future__ import annotations

from dreamr.serving.gateway.open_runs import OpenRuns


def test_runs_of_other_models_are_not_counted() -> None:
    runs = OpenRuns()
    with runs.run({"large", "small"}) as one, runs.run({"huge", "tiny"}) as other:
        assert (one.running, other.running) == (1, 1)


def test_runs_of_all_pairs_are_counted_at_a_model_that_they_share() -> None:
    runs = OpenRuns()
    with runs.run({"large", "small"}) as pair:
        with runs.run({"large"}) as plain, runs.run({"large"}):
            assert (pair.running, plain.running) == (3, 3)
        assert pair.running == 1


def test_runs_side_by_side_are_counted_each() -> None:
    runs = OpenRuns()
    with runs.run({"large", "small"}) as one:
        with runs.run({"large"}, 4) as several:
            assert (one.running, several.running) == (5, 5)
        assert one.running == 1


def test_a_run_that_fails_is_open_no_more() -> None:
    runs = OpenRuns()
    try:
        with runs.run({"large"}):
            raise ValueError
    except ValueError:
        pass
    with runs.run({"large"}) as pair:
        assert pair.running == 1
