from __future__ import annotations

import math
from typing import Any

import anyio
import httpx2
import PIL.Image
import pytest

from dreamr.conversation import Conversation, read_image
from dreamr.engines import Context, Model, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.engines.http.sse import StreamParser
from dreamr.errors import ContextTooLong, EngineError, EngineLost, ModelNotFound, Unsupported
from dreamr.serving.doctor import CHECKS, ModelUnderTest
from support.served import FORGETFUL, THINKING, Served
from support.served_calls import SCRIPT, TALK, read, text, use


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


def test_false_counts_of_cached_tokens_are_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(engine: HttpEngine) -> None:
        for _ in range(2):
            await engine.judge(Context(TALK), ["Two.\n\n"])
        assert engine.cached_tokens == 0

    use(Served(cached=10_000), work)
    assert caplog.text.count("reports more cached tokens than prompt tokens") == 1
