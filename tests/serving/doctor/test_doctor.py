from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr import RunOptions
from dreamr._option_specs import option_specs
from dreamr.cli.doctor import DoctorOptions
from dreamr.engines import (
    Capabilities,
    Chunk,
    Context,
    Failure,
    Model,
    SamplingParams,
    ScriptedEngine,
)
from dreamr.engines.http.evidence_probe import CERTAIN
from dreamr.errors import EngineLost
from dreamr.gate import Evidence
from dreamr.serving.doctor import (
    CHECKS,
    Finding,
    ModelUnderTest,
    PairCosts,
    fixes,
    pair_checks,
    run_checks,
)

SCRIPT = "Tea costs 12.\n\nMilk costs 16.\n\nAnswer: 28"
SURE = Capabilities(logprobs=True)
OF_SERVERS = {
    "--mmproj", "--language-model-only", "--chat-template", "--spec-type", "--cache-reuse",
    "--no-enable-prefix-caching", "--disable-radix-cache", "--block-size", "--metrics",
    "--enable-metrics", "--enable-prompt-tokens-details", "--enable-cache-report",
    "--speculative-config", "--enable-scale-out",
}  # fmt: skip
LOST = Failure(EngineLost("gone"))


def found(engine: ScriptedEngine, role: Any = "target") -> dict[str, Finding]:
    async def main() -> list[Finding]:
        return [one async for one in run_checks(ModelUnderTest(role, Model(engine)))]

    return {one.about: one for one in anyio.run(main)}


def half(_: str) -> float:
    return 0.5


def knows(context: Context, step: str) -> Evidence:
    return Evidence(0.9, 0.1) if step in SCRIPT else Evidence(0.1, 0.9)


def test_a_good_model_passes_all_checks() -> None:
    engine = ScriptedEngine(script=SCRIPT, opinion=knows, capabilities=SURE, token_probability=half)
    target = found(engine)
    assert list(target) == list(CHECKS)
    assert {one.state for one in target.values()} == {"ok"}
    assert "judge ratio 0.90 for the model's own step" in target["judging"].what
    assert "0.10 for the same step with other numbers" in target["judging"].what


def test_a_draft_is_not_asked_to_judge() -> None:
    engine = ScriptedEngine(script=SCRIPT)
    assert "judging" not in found(engine, "draft")
    assert engine.judgments == 0


@pytest.mark.parametrize(
    ("about", "state", "fix", "engine"),
    [
        ("judging", "degraded", "--judge-prompt", {"opinion": lambda c, s: Evidence(0.1, 0.1)}),
        (
            "log-probabilities",
            "wrong",
            "--spec-type",
            {"token_probability": lambda token: 1.0, "capabilities": SURE},
        ),
        ("log-probabilities", "unknown", None, {"capabilities": Capabilities(logprobs=False)}),
        ("judging", "degraded", "larger target", {"opinion": 0.9}),
        (
            "judging",
            "degraded",
            "--judge-prompt",
            {"opinion": lambda c, s: replace(knows(c, s), top_label=False)},
        ),
        (
            "judging",
            "wrong",
            "--spec-type",
            {"capabilities": Capabilities(judge=False, judge_problem=CERTAIN)},
        ),
        ("judging", "wrong", "--method target", {"capabilities": Capabilities(judge=False)}),
        ("steps", "degraded", "blank lines", {"script": "It is 28 then"}),
        ("steps", "degraded", "--answer-marker", {"script": "It is 28.\n\nSo be it"}),
        ("images", "wrong", None, {"stream_failures": dict.fromkeys(range(9), LOST)}),
    ],
)
def test_a_problem_is_reported_with_its_fix(
    about: str, state: str, fix: str | None, engine: dict[str, Any]
) -> None:
    one = found(ScriptedEngine(**{"script": SCRIPT, "opinion": knows, **engine}))[about]
    assert one.state == state
    assert (one.fix is None) if fix is None else fix in (one.fix or "")


@pytest.mark.parametrize(("least", "rejected"), [(0.01, False), (0.5, True)])
def test_steps_count_as_rejected_below_the_label_mass_that_the_engine_needs(
    least: float, rejected: bool
) -> None:
    able = replace(SURE, min_label_mass=least)
    engine = ScriptedEngine(
        script=SCRIPT, opinion=lambda c, s: Evidence(0.1, 0.1), capabilities=able
    )
    one = found(engine)["judging"]
    assert "would rather answer something else" in one.what
    assert ("count as rejected" in one.what) is rejected


@pytest.mark.parametrize(("top", "known"), [(True, True), (None, None)])
def test_the_evidence_tells_whether_the_likeliest_token_is_a_label(
    top: bool | None, known: bool | None
) -> None:
    engine = ScriptedEngine(script=SCRIPT, opinion=lambda c, s: replace(knows(c, s), top_label=top))
    one = found(engine)["judging"]
    assert one.state == "ok"
    assert one.values["likeliest_is_label"] is known
    assert ("the likeliest token is a label" in one.what) is bool(known)


def test_a_different_continuation_is_degraded() -> None:
    def script(context: Context) -> str:
        return "Something else" if context.prefix else SCRIPT

    one = found(ScriptedEngine(script=script, opinion=knows))["continuation"]
    assert one.state == "degraded"


def measured(role: Any, seconds: float, judging: float | None = None) -> ModelUnderTest:
    return ModelUnderTest(role, Model(ScriptedEngine()), seconds=seconds, judging=judging)


class Silent(ScriptedEngine):
    """An engine whose streams end without a chunk."""

    async def stream(
        self, context: Context, sampling: SamplingParams
    ) -> AsyncGenerator[Chunk, None]:
        nothing: tuple[Chunk, ...] = ()
        for chunk in nothing:
            yield chunk


def test_a_stream_without_a_chunk_cannot_be_canceled() -> None:
    tested = ModelUnderTest("target", Model(Silent()))
    one = anyio.run(CHECKS["cancellation"].work, tested)
    assert (one.state, one.what) == ("unknown", "not tried: the model wrote nothing")


@pytest.mark.parametrize(
    "costs", [(0.0, 0.1, 0.1, 20), (0.1, 0.0, 0.1, 20), (0.1, 0.1, -0.1, 20), (0.1, 0.1, 0.1, 0)]
)
def test_costs_that_cannot_be_are_refused(costs: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0, the time of a judge call at least 0"):
        PairCosts(*costs)


@given(*[st.floats(1e-6, 10)] * 2, st.floats(0, 10), st.floats(0.5, 500), st.floats(0, 1))
def test_every_pair_has_a_speedup(
    draft: float, target: float, judge: float, tokens: float, acceptance: float
) -> None:
    assert PairCosts(draft, target, judge, tokens).speedup(acceptance) > 0


def test_costs_and_worth_come_from_measurements() -> None:
    cost, worth = pair_checks(measured("target", 0.01, 0.02), measured("draft", 0.001))
    assert (cost.state, worth.state) == ("ok", "ok")
    assert cost.values["ratio"] == pytest.approx(0.1)
    assert "1.0 ms a drafted token, 10.0 ms a target token" in cost.what
    assert "--speculative-config" in worth.what


def test_a_draft_as_slow_as_the_target_is_not_worth_it() -> None:
    worth = pair_checks(measured("target", 0.01, 0.02), measured("draft", 0.01))[-1]
    assert worth.state == "degraded"
    assert "--speculative-config" in (worth.fix or "")


@pytest.mark.parametrize("target", [measured("target", 0.01), measured("target", 0.0, 0.1)])
def test_without_a_measurement_there_is_no_estimate(target: ModelUnderTest) -> None:
    assert [one.state for one in pair_checks(target, measured("draft", 0.01))] == ["unknown"]


seconds = st.floats(1e-4, 1.0)


@given(seconds, seconds, seconds, st.floats(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_more_accepted_steps_are_never_slower(
    draft: float, target: float, judge: float, tokens: float, one: float, other: float
) -> None:
    costs = PairCosts(draft, target, judge, tokens)
    low, high = sorted((one, other))
    assert costs.speedup(low) <= costs.speedup(high) * (1 + 1e-9)
    assert costs.speedup(0) < 1


def test_a_check_that_takes_too_long_is_given_up() -> None:
    async def main() -> list[Finding]:
        tested = ModelUnderTest(
            "target", Model(ScriptedEngine(script=SCRIPT, token_seconds=math.inf))
        )
        return [one async for one in run_checks(tested, time_limit=0.01)]

    [only] = anyio.run(main)
    assert (only.about, only.state) == ("images", "unknown")
    assert "--time-limit" in (only.fix or "")


def test_a_quick_examination_leaves_slow_checks_out() -> None:
    async def main() -> set[str]:
        tested = ModelUnderTest("target", Model(ScriptedEngine(script=SCRIPT, opinion=knows)))
        return {one.about async for one in run_checks(tested, quick=True)}

    assert anyio.run(main) == {about for about, check in CHECKS.items() if not check.slow}


def test_advice_names_options_that_exist() -> None:
    texts = [value for name, value in vars(fixes).items() if name.isupper()]
    named = {flag for text in texts for flag in re.findall(r"--[a-z][a-z-]+", text)}
    ours = {flag for flag in named if flag not in OF_SERVERS}
    known = {f"--{name.replace('_', '-')}" for name in option_specs(RunOptions)}
    known |= {f"--{name.replace('_', '-')}" for name in option_specs(DoctorOptions)}
    assert ours <= known
    assert named >= OF_SERVERS, "flags of servers that no advice names"


def test_the_image_of_the_checks_is_reproducible() -> None:
    first, second = (ModelUnderTest("target", Model(ScriptedEngine())).talk for _ in range(2))
    assert len(first.images) == 1
    assert first == second
