"""Labels of calls as a server gets them: sessions, cache salts, priorities and ids."""

from __future__ import annotations

import pytest

from dreamr.conversation import Conversation
from dreamr.engines import Context, SamplingParams
from dreamr.engines.call_labels import CallLabels, labeled_calls
from dreamr.engines.http import HttpEngine
from support.served import Served
from support.served_calls import SCRIPT, TALK, use
from support.templated import Templated


def test_all_requests_of_a_conversation_name_the_same_session() -> None:
    served = Served(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        served.headers_seen.clear()
        for talk in (TALK, TALK, Conversation.from_prompt("Else?")):
            async for _ in engine.stream(Context(talk), SamplingParams()):
                pass
            await engine.judge(Context(talk), ["Two.\n\n"])

    use(served, work)
    sessions = [headers["x-session-id"] for headers in served.headers_seen]
    assert len(set(sessions[:4])) == len(set(sessions[4:])) == 1
    assert len(set(sessions)) == 2


def test_a_forgotten_conversation_gets_a_cache_salt() -> None:
    served = Served(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        for _ in range(2):
            assert [c async for c in engine.stream(Context(TALK), SamplingParams())]
            engine.forget(TALK)

    use(served, work)
    first, second = served.chats[-2:]
    assert "cache_salt" not in first
    assert second["cache_salt"]


def test_calls_with_different_salts_share_no_cache_of_the_server() -> None:
    served = Served(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        for salt in ("a", "b", "a"):
            with labeled_calls(CallLabels(cache_salt=salt)):
                assert [c async for c in engine.stream(Context(TALK), SamplingParams())]
                await engine.judge(Context(TALK), ["Two.\n\n"])

    use(served, work)
    salts = [body["cache_salt"] for body in served.chats[-6:]]
    assert salts[0] == salts[1] == salts[4] == salts[5]
    assert salts[2] == salts[3] != salts[0]


@pytest.mark.parametrize("prioritized", [True, False])
@pytest.mark.parametrize("tokens", [True, False])
def test_a_server_gets_priorities_until_it_refuses_one(tokens: bool, prioritized: bool) -> None:
    served = Served(script=SCRIPT, prioritized=prioritized)
    if tokens:  # the route by prompts of tokens
        family = "qwen3_vl_thinking"
        served = Templated(script=SCRIPT, prioritized=prioritized, family=family, tokens=True)

    async def work(engine: HttpEngine) -> None:
        served.requests.clear()
        for _ in range(2):
            with labeled_calls(CallLabels(priority=-2)):
                assert [c async for c in engine.stream(Context(TALK), SamplingParams())]
                await engine.judge(Context(TALK), ["Two.\n\n"])
        assert [c async for c in engine.stream(Context(TALK), SamplingParams())]

    use(served, work)
    sent = [body.get("priority") for body in served.chats]
    assert sent == ([-2] * 4 + [None] if prioritized else [-2] + [None] * 5)


def test_a_server_without_priorities_gets_none() -> None:
    served = Served(script=SCRIPT, owner="sglang")

    async def work(engine: HttpEngine) -> None:
        with labeled_calls(CallLabels(priority=-2)):
            assert [c async for c in engine.stream(Context(TALK), SamplingParams())]

    use(served, work)
    assert not any("priority" in body for body in served.chats)


def test_each_call_has_an_id_of_its_own_that_begins_with_that_of_the_request() -> None:
    served = Served(script=SCRIPT)

    async def work(engine: HttpEngine) -> None:
        served.headers_seen.clear()
        with labeled_calls(CallLabels(request_id="mine")):
            assert [c async for c in engine.stream(Context(TALK), SamplingParams())]
            await engine.judge(Context(TALK), ["Two.\n\n", "Three.\n\n"])
        assert [c async for c in engine.stream(Context(TALK), SamplingParams())]

    use(served, work)
    *labeled, last = served.headers_seen
    ids = [headers["x-request-id"] for headers in labeled]
    assert len(ids) == len(set(ids)) == 3
    assert all(one.startswith("mine-") for one in ids)
    assert "x-request-id" not in last
