"""Windows that are judged in one request."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Conversation, Image
from dreamr.engines import Context, ScriptedEngine
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.routes import inside
from dreamr.engines.http.window import WindowForm
from dreamr.engines.http.window_probe import _EXAMPLES
from dreamr.errors import Unsupported
from dreamr.gate import Evidence, Query
from dreamr.runner import RunConfig, run
from dreamr.schedules import ScheduleConfig
from dreamr.steps import StepFormat
from dreamr.trace import JudgeStarted, Result
from support.served import Served
from support.served_calls import TALK, use
from support.sockets import on_socket
from support.window_served import Scores, WindowServed, repeats_itself

STEPS = ("Two and two.\n\n", "That makes four.\n\n", "So wrong.\n\n", "Answer: 4")
WINDOW = Query(unasked="Answer:", window=True)
SINGLE = Query(unasked="Answer:")
GENERATE = "/inference/v1/generate"


def shares(found: tuple[Evidence, ...]) -> list[tuple[float, float]]:
    return [(round(one.positive, 4), round(one.negative, 4)) for one in found]


def sent(served: Served) -> list[str]:
    """Paths of the requests to the model; the scripted server passes tokens on as text."""
    return [path for path, _ in served.requests if path.endswith(("generate", "chat/completions"))]


def judged(served: Served, *queries: Query, talk: Conversation = TALK) -> list[Any]:
    """Judge the steps with each query; return the evidence."""

    async def work(engine: HttpEngine) -> list[Any]:
        served.requests.clear()
        context = Context(talk, ("One.\n\n",))
        return [await engine.judge(context, STEPS, query) for query in queries]

    return use(served, work)


@pytest.mark.parametrize("family", ["qwen3_vl_instruct", "qwen3_vl_thinking", "gemma3"])
def test_a_window_is_judged_in_one_request_as_single_requests_judge_it(family: str) -> None:
    served = WindowServed(family=family, script="Four")
    together, apart = judged(served, WINDOW, SINGLE)
    assert shares(together) == shares(apart)
    assert shares(together) == [(0.9, 0.1), (0.9, 0.1), (0.08, 0.92), (0.0, 0.0)]
    assert sent(served)[0] == GENERATE
    assert len(sent(served)) == 1 + 3
    assert len(served.windows) == 1 + len(_EXAMPLES)
    assert [one.top_label for one in together] == [True, True, True, None]


def test_the_prompt_holds_all_steps_and_questions_in_order() -> None:
    served = WindowServed(script="Four")
    judged(served, WINDOW)
    prompt = served.windows[-1]
    places = [prompt.index(text.strip()) for text in ("One.", *STEPS[:3])]
    assert places == sorted(places)
    assert prompt.count("Is the last step right?") == 3
    assert prompt.endswith("positive")
    assert STEPS[3] not in prompt


@pytest.mark.parametrize("query", [SINGLE, Query(kind="score", window=True)])
def test_only_queries_that_allow_it_and_have_labels_are_asked_together(query: Query) -> None:
    served = WindowServed(script="Four")
    judged(served, query)
    assert GENERATE not in sent(served)


def test_one_step_is_judged_by_a_single_request() -> None:
    served = WindowServed(script="Four")

    async def work(engine: HttpEngine) -> None:
        served.requests.clear()
        await engine.judge(Context(TALK), STEPS[:1], WINDOW)

    use(served, work)
    assert sent(served) == ["/v1/chat/completions"]


def test_windows_after_an_image_name_it_by_its_hash() -> None:
    served = WindowServed(script="Four")
    talk = Conversation.from_prompt("How many?", Image(bytes(192), 8, 8))
    judged(served, WINDOW, WINDOW, talk=talk)
    first, second = (body for path, body in served.requests if path == GENERATE)
    assert "kwargs_data" in first["features"]
    assert "kwargs_data" not in second["features"]


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ("refused", "requires the V2 model runner"),
        ("ignored", "ignored the field prompt_logprob_token_ids"),
        ("short", "returned scores of shape"),
        ("zeros", "not log-probabilities"),
        ("nan", "not log-probabilities"),
        ("padding", "not log-probabilities"),
        ("objects", "unknown form"),
        ("garbage", "unknown form"),
    ],
)
def test_a_server_that_does_not_score_windows_is_asked_about_single_steps(
    scores: Scores, problem: str
) -> None:
    served = WindowServed(script="Four", scores=scores)

    async def work(engine: HttpEngine) -> tuple[Evidence, ...]:
        assert not engine.capabilities.windows
        assert problem in engine.capabilities.window_problem
        served.requests.clear()
        return await engine.judge(Context(TALK), STEPS, WINDOW)

    assert shares(use(served, work))[:3] == [(0.9, 0.1), (0.9, 0.1), (0.08, 0.92)]
    assert sent(served) == ["/v1/chat/completions"] * 3


def test_scores_of_another_precision_are_read() -> None:
    [together] = judged(WindowServed(script="Four", scores="half"), WINDOW)
    assert together[0].positive == pytest.approx(0.9, abs=1e-3)


def test_a_model_that_repeats_its_verdicts_is_asked_about_single_steps() -> None:
    async def work(engine: HttpEngine) -> tuple[str, float | None]:
        return engine.capabilities.window_problem, engine.server_info.window_difference

    problem, difference = use(WindowServed(script="Four", share=repeats_itself), work)
    assert "differ by up to 0.82" in problem
    assert "at most 0.1 is allowed" in problem
    assert difference == pytest.approx(0.82)


@pytest.mark.parametrize(
    "served",
    [
        Served(script="Four"),
        WindowServed(script="Four", tokens=False),
    ],
)
def test_a_server_without_prompts_of_tokens_is_probed_once(served: Served) -> None:
    async def work(engine: HttpEngine) -> None:
        assert engine.alive
        assert "--enable-scale-out" in engine.capabilities.window_problem
        await engine.judge(Context(TALK), STEPS[:1])

    use(served, work)
    listed = [path for path, _ in served.requests if path == "/v1/models"]
    assert len(listed) <= 1, "a refusal of the probe is no sign of another server"


@pytest.mark.parametrize("owner", ["sglang", "llamacpp", "library", "somebody"])
def test_other_servers_are_not_asked_for_windows(owner: str) -> None:
    served = Served(owner=owner, script="Four")

    async def work(engine: HttpEngine) -> bool:
        return engine.capabilities.windows

    assert not use(served, work)
    assert not [path for path, _ in served.requests if path.endswith(("generate", "/render"))]


def test_a_server_that_stops_scoring_is_asked_about_single_steps_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = WindowServed(script="Four")

    async def work(engine: HttpEngine) -> list[list[tuple[float, float]]]:
        served.scores = "ignored"
        served.requests.clear()
        context = Context(TALK)
        return [shares(await engine.judge(context, STEPS, WINDOW)) for _ in range(3)]

    with caplog.at_level(logging.WARNING):
        found = use(served, work)
    assert found == [[(0.9, 0.1), (0.9, 0.1), (0.08, 0.92), (0.0, 0.0)]] * 3
    assert sent(served).count(GENERATE) == 1
    assert [r.getMessage() for r in caplog.records if "one by one" in r.getMessage()] != []


def test_a_window_that_is_too_long_is_judged_step_by_step() -> None:
    served = WindowServed(script="Four")

    async def work(engine: HttpEngine) -> list[tuple[Evidence, ...]]:
        served.requests.clear()
        served.most = 20
        first = await engine.judge(Context(TALK), STEPS, WINDOW)
        served.most = None
        return [first, await engine.judge(Context(TALK), STEPS, WINDOW)]

    assert [shares(found)[2] for found in use(served, work)] == [(0.08, 0.92)] * 2
    assert sent(served) == ["/v1/chat/completions"] * 3 + [GENERATE]


# The form of a prompt


def form(keeps: bool = False) -> WindowForm:
    route: Any = None
    return WindowForm(route, "\n\n(", ")\nVerdict:", " positive", "\n\n", keeps, (1,), (2,))


@given(
    st.text("ab \n", max_size=8),
    st.lists(st.text("cd \n", min_size=1, max_size=8), min_size=1, max_size=5),
    st.data(),
)
def test_a_prompt_in_pieces_has_every_step_and_an_answer_after_each_question(
    prefix: str, steps: list[str], data: st.DataObject
) -> None:
    places = st.lists(st.integers(0, len(steps) - 1), min_size=1, unique=True)
    asked = sorted(data.draw(places))
    pieces = form().texts(prefix, steps, asked, "Q?")
    assert len(pieces) == 2 * len(asked)
    assert pieces[0] == inside(prefix + "".join(steps[: asked[0] + 1]), "Q?")
    assert pieces[1::2] == [" positive\n\n"] * (len(asked) - 1) + [" positive"]
    shown = "".join(piece.removesuffix("\n\n(Q?)\nVerdict:") for piece in pieces[0::2])
    assert "".join(shown.split()) == "".join((prefix + "".join(steps[: asked[-1] + 1])).split())


def test_white_space_stays_in_front_of_a_question_where_the_template_keeps_it() -> None:
    pieces = form(keeps=True).texts("", ["One.\n\n", "Two.\n\n"], [0, 1], "Q?")
    assert [piece.partition("\n\n(Q")[0] for piece in pieces[::2]] == ["One.\n\n", "Two.\n\n"]


# Runs


def ran(served: WindowServed, **options: Any) -> Result:
    async def main(url: str) -> Result:
        draft = ScriptedEngine(script="".join(STEPS), name="small")
        async with await HttpEngine.open(HttpOptions(url)) as target:
            served.requests.clear()
            return await run(
                TALK,
                target=target,
                draft=draft,
                config=RunConfig(
                    options=ScheduleConfig(fallback="on-reject", **options),
                    step_format=StepFormat(),
                ),
            )

    with on_socket(served) as url:
        return anyio.run(main, url)


def test_a_run_judges_its_window_in_one_request() -> None:
    served = WindowServed(said=lambda body: "Answer: 4")
    result = ran(served, judge_batch="window")
    calls = [event for event in result.events if isinstance(event, JudgeStarted)]
    assert result.answer == "4"
    assert [step.source for step in result.steps[:2]] == ["draft", "draft"]
    assert len(calls) < 3
    assert served.windows


def test_a_run_that_asks_for_windows_is_refused_where_the_server_cannot() -> None:
    with pytest.raises(Unsupported, match=r"--judge-batch window needs .*V2.*--judge-batch step"):
        ran(WindowServed(scores="refused"), judge_batch="window")


_METRICS = 'vllm:cache_config_info{block_size="528",engine="0"} 1.0\n'


@pytest.mark.parametrize(("metrics", "windows"), [("", False), (_METRICS, True)])
def test_a_coarse_cache_is_judged_in_windows(metrics: str, windows: bool) -> None:
    served = WindowServed(said=lambda body: "Answer: 4", metrics=metrics)
    assert ran(served).answer == "4"
    assert (GENERATE in sent(served)) is windows
