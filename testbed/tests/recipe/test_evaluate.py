"""Figures summarize outcomes, and the bundled pair can be evaluated."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe.evaluate import JUDGES, Answer, Evaluator, Outcome, figures


def outcome(right, judged, kind="race", tokens=10, level=1):
    answer = Answer(right, tokens)
    return Outcome("story", kind, level, answer, answer, {"judge": tuple(judged)})


def test_judging_counts_steps_and_not_problems():
    rows = [
        outcome(True, [(0.9, True), (0.8, True), (0.6, True)]),
        outcome(False, [(0.95, True), (0.75, False)]),
        outcome(False, [(0.1, False)]),
    ]
    judge = figures(rows)["judge"]
    assert (judge["steps"], judge["wrong"]) == (6, 2)
    assert judge["accepted"] == pytest.approx(4 / 6)
    assert judge["false_accepts"] == pytest.approx(1 / 2)
    assert judge["false_rejects"] == pytest.approx(1 / 4)
    assert judge["auroc"] == pytest.approx(7 / 8)  # one of eight pairs is in the wrong order


def test_accuracy_is_reported_by_kind_and_level_with_an_interval():
    rows = [
        outcome(True, [], "race"),
        outcome(False, [], "race", level=3),
        outcome(True, [], "cups", 40),
    ]
    draft = figures(rows)["draft"]
    assert draft["accuracy"] == pytest.approx(2 / 3)
    assert draft["kinds"] == {"cups": 1.0, "race": 0.5}
    assert draft["levels"] == {"1": 1.0, "3": 0.0}
    assert draft["tokens"] == pytest.approx(20)
    assert draft["low"] < 2 / 3 < draft["high"]


def test_without_a_target_only_the_draft_is_reported():
    rows = [Outcome("story", "race", 1, Answer(True, 5), None, {})]
    assert figures(rows).keys() == {"draft"}


def test_steps_are_judged_up_to_the_first_wrong_one():
    for found in Evaluator(PAIR / "target", PAIR / "draft").outcomes("story", 0, 3):
        assert found.target is not None
        judged = found.judged["judge"]
        assert judged
        assert all(is_right for _, is_right in judged[:-1])
        assert [is_right for _, is_right in judged] == [r for _, r in found.judged["score"]]
        assert len(found.judged["same"]) <= len(judged)
        assert all(0.0 <= value <= 1.0 for name in JUDGES for value, _ in found.judged[name])


def test_clean_images_take_the_place_of_the_drawn_ones():
    models = (PAIR / "target", PAIR / "draft")
    drawn, clean = (
        Evaluator(*models, clean=clean).outcomes("story", 0, 1) for clean in (False, True)
    )
    assert drawn[0].judged["judge"] != clean[0].judged["judge"]


def test_documents_have_names_of_files_on_request():
    models = (PAIR / "target-multi-image", PAIR / "draft-multi-image")
    plain, named = (
        Evaluator(*models, named=named).outcomes("pages", 0, 1) for named in (False, True)
    )
    assert plain[0].judged["judge"] != named[0].judged["judge"]
