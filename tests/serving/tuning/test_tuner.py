"""The tuner, with simulated latencies."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreamr.conversation import Conversation, Text, Turn
from dreamr.gate import Verdict
from dreamr.schedules import ScheduleConfig
from dreamr.serving.tuning import SETTINGS, RunSummary, Setting, Tuner, kind_of
from dreamr.steps import Ending, Step
from dreamr.trace import CommittedStep, Result, StepRejected, Usage

ALL = sorted({s for ladder in SETTINGS for s in ladder}, key=repr)


def run(speed: float, luck: random.Random | None = None) -> RunSummary:
    """Return a run of ten steps; a refused step takes five times as long as a kept one."""
    refused = 2 if luck is None else luck.randint(0, 10)
    return RunSummary((10 + 4 * refused) / speed, 10 - refused, refused)


def live(speeds: dict[Setting, float], runs: int, seed: int = 0) -> list[float]:
    """Return the share of the best speed that each run reached."""
    luck, tuner, found = random.Random(seed), Tuner(), []
    best = max(speeds.values())
    for _ in range(runs):
        setting = tuner.choose()
        tuner.learn(None, setting, run(speeds[setting], luck))
        found.append(speeds[setting] / best)
    return found


def peaked(at: Setting, seed: int) -> dict[Setting, float]:
    """Return speeds that fall off on both sides of one setting."""
    luck = random.Random(seed)
    speeds = {}
    for s in ALL:
        far = abs(s.window.bit_length() - at.window.bit_length())
        far += (s.fallback != at.fallback) + (s.resamples != at.resamples)
        speeds[s] = 50.0 * (1 - luck.uniform(0.02, 0.08)) ** far
    return speeds


@settings(max_examples=25)  # of 400 runs each
@given(st.sampled_from(ALL), st.integers(0, 99))
@example(Setting(1, "on-reject"), 53)  # another ladder looks better than where this one begins
def test_runs_become_nearly_as_fast_as_with_the_best_setting(at: Setting, seed: int) -> None:
    reached = live(peaked(at, seed), 400, seed)
    assert sum(reached[200:]) / 200 >= 0.97


def test_a_much_slower_setting_is_tried_once_and_ends_its_ladder() -> None:
    rates = {s: 10.0 if s.window == 8 and s.fallback == "eager" else 2.0 for s in ALL}
    tuner, chosen = Tuner(), Counter[Setting]()
    for _ in range(200):
        setting = tuner.choose()
        chosen[setting] += 1
        tuner.learn(None, setting, run(rates[setting]))
    assert chosen[Setting(4)] == 1
    assert chosen[Setting(2)] == chosen[Setting(1)] == 0
    assert tuner.best() in (Setting(8), Setting(8, resamples=2))


def test_each_kind_of_prompt_is_learned_separately() -> None:
    tuner = Tuner()
    for _ in range(150):
        for kind, best in (("easy", 16), ("hard", 1)):
            setting = tuner.choose(kind)
            far = abs(setting.window.bit_length() - best.bit_length())
            tuner.learn(kind, setting, run(10.0 * 0.9**far))
    assert tuner.best("easy").window == 16
    assert tuner.best("hard").window == 1


def test_a_setting_that_becomes_slow_is_abandoned() -> None:
    tuner = Tuner()
    for turn in range(3000):
        setting = tuner.choose()
        best = "eager" if turn < 300 else "on-reject"
        tuner.learn(None, setting, run(10.0 if setting.fallback == best else 7.0))
    assert tuner.best().fallback == "on-reject"


def test_concurrent_runs_do_not_all_try_one_setting() -> None:
    tuner = Tuner()
    first = [tuner.choose() for _ in range(5)]
    assert Counter(first).most_common(1)[0][0] == SETTINGS[0][0]
    assert all(isinstance(setting, Setting) for setting in first)
    for setting in first:
        tuner.learn(None, setting, run(1.0))


def test_a_failed_run_teaches_the_tuner_nothing() -> None:
    tuner = Tuner()
    tuner.learn(None, tuner.choose(), None)
    assert tuner.best() == SETTINGS[0][0]
    assert tuner.choose() == SETTINGS[0][0]


def test_easy_prompts_are_not_mistaken_for_a_good_setting() -> None:
    """Runs without a rejection are three times as fast; the settings differ by a tenth."""
    speeds = {s: 11.0 if s.fallback == "on-reject" else 10.0 for s in ALL}
    reached = live(speeds, 200)
    assert sum(reached[100:]) / 100 > 0.99


def test_a_run_counts_each_step_once_however_often_it_was_rejected() -> None:
    step = Step("Tea.\n\n", 2, Ending.DELIMITER)
    no = Verdict(False, 0.1, 0.7, "no", kind="ratio")
    refused = tuple(StepRejected(0.0, position, step, no) for position in (1, 1, 3))
    steps = (CommittedStep(step, "target"),) * 5
    result = Result("4", steps, Usage(), 2.5, "answer", None, refused)
    assert RunSummary.of(result) == RunSummary(2.5, 3, 2)
    assert RunSummary.of(replace(result, finish="failed", error="gone")) is None


def test_a_setting_leaves_the_other_options_as_they_are() -> None:
    options = ScheduleConfig(final_answer="draft", max_steps=7)
    assert Setting(2, "on-reject", 2).applied(options) == ScheduleConfig(
        window=2, fallback="on-reject", resamples=2, final_answer="draft", max_steps=7
    )
    assert Setting(2, resamples=2).applied(ScheduleConfig(deterministic=True)).resamples == 0


@pytest.mark.parametrize(("letters", "same"), [(250, True), (5000, False)])
def test_prompts_of_similar_length_are_of_one_kind(letters: int, same: bool) -> None:
    def talk(size: int) -> Conversation:
        return Conversation((Turn("user", (Text("a" * size),)),))

    assert (kind_of(talk(200)) == kind_of(talk(letters))) is same


def test_a_tuner_begins_with_what_others_have_seen() -> None:
    speeds = peaked(Setting(2, "on-reject"), seed=3)
    one, fresh = Tuner(), Tuner()
    for _ in range(200):
        setting = one.choose((False, 3))
        one.learn((False, 3), setting, run(speeds[setting]))
    fresh.take([json.loads(json.dumps(one.figures()))])
    assert fresh.best((False, 3)) == one.best((False, 3)) != SETTINGS[0][0]
    assert fresh.figures() == [], "what others have seen is theirs"
    fresh.take([])
    assert fresh.best((False, 3)) == SETTINGS[0][0]


def test_tuners_that_exchange_figures_find_the_best_setting_together() -> None:
    speeds = peaked(Setting(4, "idle"), seed=5)
    tuners = [Tuner() for _ in range(4)]
    for number in range(80):
        for tuner in tuners:
            setting = tuner.choose()
            tuner.learn(None, setting, run(speeds[setting]))
            if number % 5 == 0:
                tuner.take(other.figures() for other in tuners if other is not tuner)
    best = max(speeds.values())
    assert all(speeds[tuner.best()] >= 0.95 * best for tuner in tuners)
