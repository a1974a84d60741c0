from __future__ import annotations

import math
from typing import Any

import anyio
import httpx2
import PIL.Image
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn, read_image
from dreamr.engines import Context, Model, SamplingParams
from dreamr.engines.call_labels import CallLabels, labeled_calls
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.sessions import Sessions
from dreamr.engines.http.sse import StreamParser
from dreamr.errors import ContextTooLong, EngineError, EngineLost, ModelNotFound, Unsupported
from dreamr.gate import Evidence, Query
from dreamr.runner import run
from dreamr.serving.doctor import CHECKS, ModelUnderTest
from support.served import FORGETFUL, PLAIN, THINKING, Served
from support.served_calls import TALK, read, text, use

SCRIPT = "Two and two.\n\nThat makes four.\n\nAnswer: 4"


def judge(
    served: Served, *candidates: str, query: Query | None = None, **options: Any
) -> tuple[Evidence, ...]:
    async def work(engine: HttpEngine) -> tuple[Evidence, ...]:
        return await engine.judge(Context(TALK, ("One.\n\n",)), candidates, query or Query())

    return use(served, work, **options)


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llamacpp", "library", "somebody"])
def test_a_prefix_is_continued_on_every_kind_of_server(owner: str) -> None:
    served = Served(owner, SCRIPT)
    chunks = read(served, "Two and two.\n\n")
    assert text(chunks) == "That makes four.\n\nAnswer: 4"
    assert [chunk.finish for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert sum(chunk.tokens for chunk in chunks) == 5
    assert served.open_streams == 0


def test_a_repeated_prefix_is_removed() -> None:
    served = Served("llamacpp", SCRIPT, echoes=True)
    chunks = read(served, "Two and two.\n\n", max_tokens=3)
    assert text(chunks) == "That makes four.\n\n"
    assert sum(chunk.tokens for chunk in chunks) == 3


def test_closing_a_stream_aborts_its_request() -> None:
    served = Served("sglang", SCRIPT)

    async def work(engine: HttpEngine) -> None:
        stream = engine.stream(Context(TALK), SamplingParams())
        await anext(stream)
        assert served.open_streams == 1
        await stream.aclose()
        assert served.open_streams == 0

    use(served, work)
    path, body = served.requests[-1]
    assert path == "/abort_request"
    assert body["rid"] == served.chats[-1]["rid"]
    # A router sends both to the same copy of the server.
    assert len({headers["x-session-id"] for headers in served.headers_seen[-2:]}) == 1


def test_a_prompt_is_counted_by_the_server_once() -> None:
    served = Served(script=SCRIPT)

    async def work(engine: HttpEngine) -> tuple[int, int]:
        before = len(served.chats)
        found = await engine.count(TALK), await engine.count(TALK)
        assert len(served.chats) == before + 1
        return found

    assert use(served, work) == (8, 8)


def test_a_stream_from_the_start_reports_the_prompt_length() -> None:
    served = Served(script=SCRIPT, prompt_tokens=77)

    async def work(engine: HttpEngine) -> int:
        async for _ in engine.stream(Context(TALK), SamplingParams()):
            pass
        asked = len(served.chats)
        found = await engine.count(TALK)
        assert len(served.chats) == asked
        return found

    assert use(served, work) == 77


def test_a_stream_ends_at_max_tokens() -> None:
    chunks = read(Served(script=SCRIPT), max_tokens=3)
    assert text(chunks).split() == ["Two", "and", "two."]
    assert chunks[-1].finish == "length"


def test_chunks_carry_log_probabilities_on_request() -> None:
    served = Served(script=SCRIPT, token_probability=0.5)
    for chunk in read(served, logprobs=True):
        assert chunk.logprob == (pytest.approx(math.log(0.5)) if chunk.tokens else None)
        assert chunk.min_logprob == chunk.logprob
    assert {chunk.min_logprob for chunk in read(served)} == {None}


def test_log_probabilities_of_tokens_without_text_join_the_next_chunk() -> None:
    def event(text: str, *logprobs: float) -> Any:
        content = [{"token": "?", "logprob": logprob} for logprob in logprobs]
        return {"choices": [{"delta": {"content": text}, "logprobs": {"content": content}}]}

    parser = StreamParser()
    assert parser.push(event("", -2.0)) is None
    chunk = parser.push(event("é", -0.5, -0.25))
    assert chunk is not None
    assert (chunk.logprob, chunk.min_logprob) == (-2.75, -2.0)


def test_a_long_stream_is_split_into_requests_of_limited_length() -> None:
    served = Served(script=SCRIPT)
    chunks = read(served, options={"ahead": 3}, max_tokens=100)
    assert text(chunks) == SCRIPT
    assert sum(chunk.tokens for chunk in chunks) == 8
    assert [body["max_tokens"] for body in served.chats if body.get("stream")] == [3, 3, 3]


@pytest.mark.parametrize(
    "server",
    [{}, {"owner": "llamacpp", "echoes": True}, {"template": THINKING}, {"template": FORGETFUL}],
)
def test_an_interrupted_stream_continues_where_it_was(server: Any) -> None:
    served = Served(script=SCRIPT, breaks=[2, 3], **server)
    chunks = read(served)
    assert text(chunks) == SCRIPT
    assert sum(chunk.tokens for chunk in chunks) == 8


def test_transient_failures_are_retried_up_to_a_limit(monkeypatch: Any) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("anyio.sleep", wait)
    served = Served(script=SCRIPT, headers={"retry-after": "3"})

    async def work(engine: HttpEngine) -> list[str]:
        served.failures[:] = [429, httpx2.ConnectError("no"), 503]
        said = [chunk.text async for chunk in engine.stream(Context(TALK), SamplingParams())]
        assert [round(pause) for pause in waits[::2]] == [3, 3]
        assert 0.25 <= waits[1] <= 0.5
        served.failures[:] = [500] * 4
        with pytest.raises(EngineError, match="returned status 500: not now"):
            await engine.judge(Context(TALK), ["One.\n\n"])
        assert engine.alive
        served.failures[:] = [httpx2.ConnectError("no")] * 4
        with pytest.raises(EngineLost, match="cannot connect to http"):
            await engine.judge(Context(TALK), ["One.\n\n"])
        assert not engine.alive
        return said

    assert "".join(use(served, work)) == SCRIPT


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "wrong key", EngineLost),
        (400, "This model's maximum context length is 512 tokens", ContextTooLong),
        (400, "tiny is not a multimodal model", Unsupported),
        (422, "no such field", EngineError),
    ],
)
def test_a_refusal_is_an_error_of_one_line(status: int, message: str, kind: type) -> None:
    served = Served(script=SCRIPT)

    async def refuse(request: httpx2.Request) -> httpx2.Response:
        if "stream" in request.content.decode():
            return httpx2.Response(status, json={"error": {"message": message}})
        return await served.handle(request)

    async def main() -> None:
        options = HttpOptions(url="http://here/v1", api_key="s3cret")
        async with await HttpEngine.open(options, httpx2.MockTransport(refuse)) as engine:
            with pytest.raises(kind, match=message) as caught:
                [_ async for _ in engine.stream(Context(TALK), SamplingParams())]
            assert "s3cret" not in str(caught.value) + repr(options)
            assert "\n" not in str(caught.value)

    anyio.run(main)


def test_the_api_key_is_sent_as_a_bearer_token() -> None:
    served = Served(script=SCRIPT)
    read(served, options={"api_key": "s3cret"})
    assert {head["authorization"] for head in served.headers_seen} == {"Bearer s3cret"}


def test_each_step_is_judged_after_those_before_it_by_one_token() -> None:
    served = Served(labels={"positive": 0.6, " Positive": 0.1, "pos": 0.1, "negative": 0.2})
    found = judge(served, "Two.\n\n", "Three.\n\n", judge_prompt="Right?")
    assert [(round(e.positive, 6), round(e.negative, 6)) for e in found] == [(0.8, 0.2)] * 2
    asked = sorted(served.chats[-2:], key=lambda body: len(str(body)))
    assert [body["messages"][1]["content"] for body in asked] == [
        "One.\n\nTwo.\n\n",
        "One.\n\nTwo.\n\nThree.\n\n",
    ]
    assert {body["messages"][2]["content"] for body in asked} == {"Right?"}
    assert {body["max_tokens"] for body in asked} == {1}


def test_a_step_without_judge_prompt_costs_no_request() -> None:
    served = Served()
    found = judge(served, "Two.\n\n", "Answer: 4", query=Query(unasked="Answer:"))
    assert found[1] == Evidence(0.0, 0.0)
    asked = [body for body in served.chats if body.get("logprobs")]
    assert len(asked) == 3  # the probe's two and one


def test_queries_of_other_methods_have_their_own_prompts() -> None:
    served = Served(labels={"8": 0.5, "9": 0.25})
    [found] = judge(served, "Two.\n\n", query=Query("score"))
    assert found.scores[8:] == (0.5, 0.25)
    served = Served()
    judge(served, "Two.\n\n", query=Query("same", others=("Zwei.",)))
    assert "Zwei." in served.chats[-1]["messages"][-1]["content"]
    with pytest.raises(Unsupported, match="token-sd"):
        judge(Served(), "Two.\n\n", query=Query("agreement"))


def test_a_server_without_log_probabilities_cannot_judge() -> None:
    served = Served(labels={"positive": 1.0})

    async def work(engine: HttpEngine) -> bool:
        return engine.capabilities.judge

    assert not use(served, work)


def test_questions_about_the_same_images_name_the_same_session() -> None:
    sessions = Sessions()
    one, two = (Image(bytes([shade]) * 300, 10, 10) for shade in (1, 2))
    first = Conversation.from_prompt("How many?", one, two)
    turns = (Turn("assistant", (Text("Two."),)), Turn("user", (two, Text("And here?"))))
    alike = [first, Conversation.from_prompt("Why?", one, two), Conversation(first.turns + turns)]
    others = [Conversation.from_prompt("How many?", *seen) for seen in ((two, one), (one,), ())]
    assert len({sessions.name(talk) for talk in alike}) == 1
    assert len({sessions.name(talk) for talk in (first, *others)}) == 4


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


@pytest.mark.parametrize(
    ("ahead", "state"), [(0.0, "ok"), (None, "unknown"), (90.0, "degraded"), (-90.0, "degraded")]
)
def test_a_wrong_server_clock_is_reported(ahead: float | None, state: str) -> None:
    async def work(engine: HttpEngine) -> str:
        found = await CHECKS["clock"].work(ModelUnderTest("target", Model(engine)))
        assert (ahead is None or ahead <= 2) or "90 s ahead of" in found.what
        return found.state

    assert use(Served(script=SCRIPT, ahead=ahead), work) == state


def test_an_image_is_sent_as_the_same_bytes_each_time() -> None:
    served = Served(script=SCRIPT)
    image = read_image(PIL.Image.effect_noise((64, 48), 80).convert("RGB"))

    async def work(engine: HttpEngine) -> None:
        for _ in range(2):
            talk = Conversation.from_prompt("What?", image)
            assert [c async for c in engine.stream(Context(talk), SamplingParams())]

    use(served, work)
    first, second = (body["messages"][0]["content"] for body in served.chats[-2:])
    assert first == second
    assert first[0]["image_url"]["url"].startswith("data:image/png;base64,")


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
def test_a_server_gets_priorities_until_it_refuses_one(prioritized: bool) -> None:
    served = Served(script=SCRIPT, prioritized=prioritized)

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


@pytest.mark.parametrize("shows", [True, False])
def test_a_template_that_drops_earlier_turns_is_asked_inside_the_assistants(shows: bool) -> None:
    served = Served(script=SCRIPT, template=FORGETFUL, shows=shows)
    judge(served, "Two.\n\n", judge_prompt="Right?")
    last = served.chats[-1]["messages"][-1]
    assert last["role"] == "assistant"
    assert last["content"].startswith("One.\n\nTwo.")
    assert "Right?" in last["content"]


def test_a_template_that_closes_think_blocks_is_bypassed_for_text() -> None:
    served = Served(script=SCRIPT, template=THINKING)
    assert text(read(served, "Two and two.\n\n")) == "That makes four.\n\nAnswer: 4"
    assert served.chats[-1]["prompt"].endswith("<think> Two and two.\n\n")
    image = read_image(PIL.Image.effect_noise((64, 48), 80).convert("RGB"))

    async def work(engine: HttpEngine) -> None:
        assert not engine.server_info.exact
        talk = Conversation.from_prompt("What?", image)
        [_ async for _ in engine.stream(Context(talk), SamplingParams())]

    with pytest.raises(Unsupported, match="chat template"):
        use(served, work)


def test_a_template_that_cannot_be_bypassed_is_refused() -> None:
    with pytest.raises(EngineError, match="chat template of tiny does not continue"):
        read(Served(script=SCRIPT, template=THINKING, shows=False))


@pytest.mark.parametrize("field_name", ["reasoning", "reasoning_content"])
def test_reasoning_in_a_separate_field_gets_its_tags_back(field_name: str) -> None:
    served = Served(parsed=True, field_name=field_name, said=lambda body: "So it is. </think> Four")
    chunks = read(served)
    assert text(chunks) == "<think>\nSo it is. \n</think>\n\nFour"


def test_a_thought_that_ends_at_the_prefix_gets_its_closing_tag() -> None:
    """A server that parses reasoning removes the tag, which comes first here."""
    replies = iter(["So it is.\n\n </think> Four", "Four"])
    served = Served(parsed=True, said=lambda body: next(replies))

    async def work(engine: HttpEngine) -> None:
        stream = engine.stream(Context(TALK), SamplingParams())
        assert "".join([chunk.text async for chunk in stream]).startswith("<think>\nSo it is.")
        context = Context(TALK, ("<think>\nSo it is.\n\n",))
        stream = engine.stream(context, SamplingParams())
        assert "".join([chunk.text async for chunk in stream]) == "\n</think>\n\nFour"

    use(served, work)


@pytest.mark.parametrize("prefix", ["<think>\nSo.\n</think>\n\n", "One and one.\n\n"])
def test_an_answer_that_the_server_takes_for_reasoning_gets_no_tag(prefix: str) -> None:
    """Some servers do not see that the prefix ends outside a thought."""
    served = Served(parsed=True, said=lambda body: "Four. </think>")
    assert text(read(served, prefix)) == "Four. "


@pytest.mark.parametrize(("template", "opens"), [(THINKING, True), (PLAIN, False)])
def test_the_probe_sees_whether_the_template_opens_a_thought(template: str, opens: bool) -> None:
    served = Served(script=SCRIPT, template=template)

    async def work(engine: HttpEngine) -> None:
        assert engine.server_info.opens_thought is opens

    use(served, work)


def test_an_unknown_model_is_refused_with_the_known_names() -> None:
    with pytest.raises(ModelNotFound, match="choose one of large, tiny"):
        read(Served(models=("tiny", "large")))
    with pytest.raises(ModelNotFound, match="has no model 'huge': choose one of tiny"):
        read(Served(), options={"model": "huge"})
    assert read(Served(script="x", models=("a", "b")), options={"model": "b"})


@pytest.mark.parametrize("url", ["http://", "ftp://x", "http://x:port", "http://me:key@x/v1"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(ModelNotFound):
        HttpOptions(url=url)


def test_an_address_without_a_path_gets_v1() -> None:
    for url in ("http://x:1", "http://x:1/", "http://x:1/v1", "http://x:1/v1/"):
        options = HttpOptions(url=url)
        assert (options.base, options.root) == ("http://x:1/v1", "http://x:1")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"positive": 1.0}, "log-probability 0 for every token, as llama.cpp does with --spec-ty"),
        ({"positive": 0.9}, "no log-probabilities of other tokens"),
    ],
)
def test_a_target_that_cannot_judge_is_refused_with_the_reason(labels: Any, why: str) -> None:
    async def work(engine: HttpEngine) -> None:
        await run(TALK, target=engine, draft=engine)

    with pytest.raises(Unsupported, match=rf"does not report \(.*{why}.*use --gate word"):
        use(Served(labels=labels), work)


def test_false_counts_of_cached_tokens_are_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(engine: HttpEngine) -> None:
        for _ in range(2):
            await engine.judge(Context(TALK), ["Two.\n\n"])
        assert engine.cached_tokens == 0

    use(Served(cached=10_000), work)
    assert caplog.text.count("reports more cached tokens than prompt tokens") == 1
