"""Guesses over HTTP: checked in one request where that is faster than decoding."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import httpx2
import pytest

from dreamr.engines import Chunk, Context, SamplingParams
from dreamr.engines.http import HttpEngine
from support.scoring import Scoring
from support.served import Served
from support.served_calls import TALK, use

PREFIX = ("Two and two.\n\n",)
SCRIPT = "Two and two.\n\nAnswer: it is 4"
GUESS = SamplingParams(guess="Answer: it is 4")


def likely(text: str) -> float:
    return 0.1 if text.startswith("5") else 0.9


def stream(
    served: Served, sampling: SamplingParams = GUESS, *, asked: bool = True
) -> tuple[list[Chunk], list[dict[str, Any]]]:
    """Return the chunks of a stream, and the requests for it."""

    async def work(engine: HttpEngine) -> tuple[list[Chunk], list[dict[str, Any]]]:
        if asked:  # which tells how long the prompt is
            await engine.judge(Context(TALK), PREFIX)
        served.requests.clear()
        chunks = [chunk async for chunk in engine.stream(Context(TALK, PREFIX), sampling)]
        return chunks, served.chats

    return use(served, work)


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_a_guess_that_is_right_takes_one_request() -> None:
    chunks, [body] = stream(Scoring(script=SCRIPT, given=likely))
    assert (body["prompt_logprobs"], body["max_tokens"]) == (0, 1)
    assert body["messages"][-1]["content"] == SCRIPT
    assert text_of(chunks) == "Answer: it is 4"
    assert (sum(chunk.tokens for chunk in chunks), chunks[-1].finish) == (4, "stop")


def test_what_follows_a_right_guess_is_decoded() -> None:
    chunks, [_, body] = stream(Scoring(script=SCRIPT + " or so", given=likely))
    assert body["messages"][-1]["content"] == SCRIPT
    assert text_of(chunks) == "Answer: it is 4 or so"
    assert chunks[-1].finish == "stop"


def test_a_guess_counts_up_to_its_first_wrong_token() -> None:
    sampling = SamplingParams(guess="Answer: it is 5 today")
    chunks, [_, body] = stream(Scoring(script=SCRIPT, given=likely), sampling)
    assert body["messages"][-1]["content"] == "Two and two.\n\nAnswer: it is "
    assert text_of(chunks) == "Answer: it is 4"


def test_the_token_limit_includes_checked_tokens() -> None:
    sampling = SamplingParams(guess="Answer: it is 4", max_tokens=6)
    chunks, [_, body] = stream(Scoring(script=SCRIPT + " or so", given=likely), sampling)
    assert body["max_tokens"] == 2
    assert (text_of(chunks), chunks[-1].finish) == ("Answer: it is 4 or ", "length")


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(guess="Answer: it is 4", temperature=0.6),
        SamplingParams(guess="Answer: it is 4", presence_penalty=1.0),
        SamplingParams(guess="Answer: it is 4", token_reuse=False),
        SamplingParams(guess="Answer: it is 4", max_tokens=2),
        SamplingParams(guess="5 of them"),  # wrong from its first token
        SamplingParams(guess=" \n"),
        SamplingParams(),
    ],
)
def test_other_texts_than_greedy_ones_with_a_guess_are_decoded(sampling: SamplingParams) -> None:
    chunks, bodies = stream(Scoring(script=SCRIPT, given=likely), sampling)
    assert bodies[-1]["messages"][-1]["content"] == PREFIX[0]
    assert "Answer: it is 4".startswith(text_of(chunks))


@pytest.mark.parametrize("server", [Served(script=SCRIPT), Scoring(script=SCRIPT)])
def test_a_server_that_does_not_report_given_tokens_decodes(server: Served) -> None:
    chunks, [body] = stream(server)
    assert body["stream"]
    assert text_of(chunks) == "Answer: it is 4"


def test_servers_without_ranks_are_asked_once() -> None:
    served = Scoring(script=SCRIPT, given=likely, ranks=False)

    async def work(engine: HttpEngine) -> None:
        await engine.judge(Context(TALK), PREFIX)
        served.requests.clear()
        for _ in range(2):
            chunks = [chunk async for chunk in engine.stream(Context(TALK, PREFIX), GUESS)]
            assert text_of(chunks) == "Answer: it is 4"

    use(served, work)
    assert [bool(body.get("stream")) for body in served.chats] == [False, True, True]


def test_a_check_that_fails_is_reported_and_the_text_is_decoded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refusing(Scoring):
        def _answer(self, body: dict[str, Any]) -> Any:
            if body.get("prompt_logprobs") == 0:
                self.failures.append(400)
            return super()._answer(body)

    with caplog.at_level(logging.WARNING):
        chunks, bodies = stream(Refusing(script=SCRIPT, given=likely))
    assert text_of(chunks) == "Answer: it is 4"
    assert len(bodies) == 2
    assert "writes answers token by token now, a request failed" in caplog.text


def test_a_guess_that_does_not_fit_into_the_context_leaves_others_to_be_checked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Full(Scoring):
        def _answer(self, body: dict[str, Any]) -> Any:
            if body.get("prompt_logprobs") == 0 and "long" in str(body["messages"]):
                return httpx2.Response(413, json={"error": "too long"})
            return super()._answer(body)

    served = Full(script=SCRIPT, given=likely)

    async def work(engine: HttpEngine) -> None:
        await engine.judge(Context(TALK), PREFIX)
        for guess in ("Answer: it is long", GUESS.guess):
            served.requests.clear()
            sampling = SamplingParams(guess=guess)
            chunks = [chunk async for chunk in engine.stream(Context(TALK, PREFIX), sampling)]
            assert text_of(chunks) == "Answer: it is 4"

    with caplog.at_level(logging.WARNING):
        use(served, work)
    assert [bool(body.get("stream")) for body in served.chats] == [False]
    assert caplog.text == ""


def test_a_prompt_of_unknown_length_is_not_read_again() -> None:
    _, [body] = stream(Scoring(script=SCRIPT, given=likely), asked=False)
    assert body["stream"]


def test_the_length_of_a_prompt_at_a_server_that_has_changed_is_unknown() -> None:
    served = Scoring(script=SCRIPT, given=likely, context=1024)

    async def work(engine: HttpEngine) -> None:
        await engine.judge(Context(TALK), PREFIX)
        served.context = 256
        served.failures.append(httpx2.ReadError("gone"))
        async for _ in engine.stream(Context(TALK, PREFIX), SamplingParams()):
            pass
        assert engine.server_info.context == 256
        served.requests.clear()
        async for _ in engine.stream(Context(TALK, PREFIX), GUESS):
            pass

    use(served, work)
    assert [bool(body.get("stream")) for body in served.chats] == [True]


@pytest.mark.parametrize(("seconds", "checks"), [(0.01, False), (2.0, True)])
def test_measured_times_decide_whether_a_check_pays(seconds: float, checks: bool) -> None:
    """Checks take one second here, of a prompt that is too long without measurements."""
    now = 0.0

    class Timed(Scoring):
        def _answer(self, body: dict[str, Any]) -> Any:
            nonlocal now
            now += 1.0 if "prompt_logprobs" in body else 0.0
            return super()._answer(body)

        async def events(self, body: dict[str, Any]) -> Any:
            nonlocal now
            async for event in super().events(body):
                now += seconds
                yield event

    served = Timed(script=SCRIPT, given=likely)

    async def work(engine: HttpEngine) -> list[dict[str, Any]]:
        await engine.judge(Context(TALK), PREFIX)
        for sampling in (GUESS, SamplingParams(), GUESS):
            served.requests.clear()
            async for _ in engine.stream(Context(TALK, PREFIX), sampling):
                pass
        return served.chats

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(anyio, "current_time", lambda: now)
        bodies = use(served, work)
    assert ("prompt_logprobs" in bodies[0]) == checks
