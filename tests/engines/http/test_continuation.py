"""A text is complete only if its last response says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest

from dreamr.engines import Chunk, Context, SamplingParams
from dreamr.engines.http import HttpEngine, HttpOptions, continuation
from dreamr.errors import ContextTooLong, EngineError, ModelNotFound
from support.raw_served import DONE, Json, RawServed, Reply, events, good, lines
from support.served_calls import TALK, read, text, use

SCRIPT = "Two and two.\n\nThat makes 4 €.\n\nAnswer: 4"
FIRST = "Two and two.\n\n"


pytestmark = pytest.mark.usefixtures("no_pauses")


def texts(found: list[Json]) -> list[Json]:
    """The events of a good response without its finish reason and usage."""
    return found[:-2]


def unsigned(found: list[Json]) -> Reply:
    return Reply([lines(event) for event in texts(found)])


def only(reply: Callable[[list[Json]], Reply], *numbers: int) -> Callable[[int, list[Json]], Reply]:
    """Change the responses with these numbers."""
    return lambda number, found: reply(found) if number in numbers else good(found)


def cut(count: int) -> Callable[[list[Json]], Reply]:
    """End a response cleanly after some events."""
    return lambda found: Reply([lines(event) for event in found[:count]])


# Ends that prove nothing: a proxy also sends them after an upstream failure.
DOUBTFUL: list[Callable[[list[Json]], Reply]] = [
    cut(5),
    lambda found: Reply([*cut(5)(found).pieces, DONE]),
    lambda found: Reply([*cut(5)(found).pieces, lines(found[-1])]),
    lambda found: Reply([*cut(5)(found).pieces, lines(found[5])[:20]]),
    lambda found: Reply([*cut(5)(found).pieces, httpx2.ReadError("reset")]),
    lambda found: Reply([*cut(5)(found).pieces, b'event: error\ndata: {"message": "gone"}\n\n']),
    lambda found: Reply([*cut(5)(found).pieces, lines({"error": "gone"}), DONE]),
    lambda found: Reply([*cut(5)(found).pieces, b"data: {broken}\n\n"]),
]


@pytest.mark.parametrize("reply", DOUBTFUL)
def test_a_response_without_a_finish_reason_is_continued(reply: Any) -> None:
    served = RawServed(SCRIPT, only(reply, 1))
    chunks = read(served)
    assert text(chunks) == SCRIPT
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    assert len(served.streamed) == 2


@pytest.mark.parametrize("reply", DOUBTFUL)
@pytest.mark.parametrize("prefix", [(), (FIRST,)])
def test_a_server_that_always_interrupts_is_continued_as_long_as_it_adds_text(
    reply: Any, prefix: tuple[str, ...]
) -> None:
    served = RawServed(SCRIPT, lambda number, found: reply(found) if found[5:] else good(found))
    assert "".join(prefix) + text(read(served, *prefix)) == SCRIPT


def with_reason(found: list[Json]) -> Reply:
    return Reply([lines(event) for event in found[:-1]])


def with_reason_in_last_text(found: list[Json]) -> Reply:
    *before, last = found[:-2]
    last["choices"][0]["finish_reason"] = "stop"
    return Reply([lines(event) for event in (*before, last)])


def with_reset_after_reason(found: list[Json]) -> Reply:
    return Reply([*with_reason(found).pieces, httpx2.ReadError("reset")])


@pytest.mark.parametrize(
    "reply", [good, with_reason, with_reason_in_last_text, with_reset_after_reason]
)
def test_a_finish_reason_is_the_end(reply: Any) -> None:
    served = RawServed(SCRIPT, lambda number, found: reply(found))
    chunks = read(served)
    assert text(chunks) == SCRIPT
    assert chunks[-1].finish == "stop"
    assert len(served.streamed) == 1


def test_nothing_is_awaited_for_long_after_a_finish_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(httpx2.AsyncByteStream):
        def __init__(self, pieces: list[Any]) -> None:
            self._pieces = pieces

        async def __aiter__(self) -> Any:
            for piece in self._pieces:
                yield piece
            await anyio.sleep_forever()

    monkeypatch.setattr("dreamr.engines.http.events._TAIL_SECONDS", 0.0)
    served = RawServed(SCRIPT, lambda number, found: with_reason(found))

    async def handle(request: httpx2.Request) -> httpx2.Response:
        response = await served.handle(request)
        if "stream" not in request.content.decode():
            return response
        pieces = with_reason(events(SCRIPT, 100)).pieces
        return httpx2.Response(200, stream=Endless(pieces))

    async def main() -> list[Chunk]:
        options = HttpOptions(url="http://here")
        async with await HttpEngine.open(options, httpx2.MockTransport(handle)) as engine:
            return [chunk async for chunk in engine.stream(Context(TALK), SamplingParams())]

    assert text(anyio.run(main)) == SCRIPT


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_finish_reason_with_every_piece_proves_nothing(count: int) -> None:
    def every_reason(found: list[Json]) -> Reply:
        for event in texts(found):
            event["choices"][0]["finish_reason"] = "STOP"
        return cut(count)(found)

    assert text(read(RawServed(SCRIPT, only(every_reason, 1)))) == SCRIPT
    assert text(read(RawServed(SCRIPT, only(every_reason, 1)), FIRST)) == SCRIPT[len(FIRST) :]


# Servers that end every response in the same way, also the last one.
HABITS: list[Callable[[list[Json]], Reply]] = [
    unsigned,
    lambda found: Reply([*unsigned(found).pieces, DONE]),
    lambda found: Reply([*unsigned(found).pieces, lines(found[-1])]),
    lambda found: Reply([*unsigned(found).pieces, lines(found[-1]), DONE]),
]


@pytest.mark.parametrize("reply", HABITS)
@pytest.mark.parametrize("prefix", [(), (FIRST,), (SCRIPT,)])
def test_servers_without_finish_reasons_are_used_with_a_warning(
    reply: Any, prefix: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def work(engine: HttpEngine) -> list[list[Chunk]]:
        return [
            [chunk async for chunk in engine.stream(Context(TALK, prefix), SamplingParams())]
            for _ in range(2)
        ]

    served = RawServed(SCRIPT, lambda number, found: reply(found))
    with caplog.at_level(logging.WARNING):
        for chunks in use(served, work):
            assert "".join(prefix) + text(chunks) == SCRIPT
            assert chunks[-1].finish == "stop"
    assert [record.message for record in caplog.records] == [
        "http://here/v1 sends no finish reasons: answers may be cut"
    ]


@pytest.mark.parametrize("empty", [cut(0), cut(1), lambda found: Reply([DONE])])
def test_an_empty_response_is_not_the_end_of_a_server_that_gives_reasons(empty: Any) -> None:
    def stream(number: int, found: list[Json]) -> Reply:
        short = found[:-2] and len(found) == 4  # the check's response of one token
        return good(found) if number == 1 or short else empty(found)

    async def work(engine: HttpEngine) -> None:
        assert [c async for c in engine.stream(Context(TALK), SamplingParams())]
        with pytest.raises(EngineError, match="closed the stream without any text"):
            assert [c async for c in engine.stream(Context(TALK, (FIRST,)), SamplingParams())]

    use(RawServed(SCRIPT, stream), work)


@pytest.mark.parametrize("empty", [cut(0), cut(1)])
def test_an_empty_response_is_not_the_end_before_the_server_is_known(empty: Any) -> None:
    def stream(number: int, found: list[Json]) -> Reply:
        return good(found) if len(found) == 4 else empty(found)

    with pytest.raises(EngineError, match="closed the stream without any text"):
        read(RawServed(SCRIPT, stream), FIRST)
    with pytest.raises(EngineError, match="closed the stream without any text"):
        read(RawServed(SCRIPT, lambda number, found: empty(found)), FIRST)


def stop_at_once(found: list[Json]) -> Reply:
    found[-2]["choices"][0]["finish_reason"] = "stop"
    return Reply([lines(event) for event in (found[0], found[-2])])


@pytest.mark.parametrize(
    "empty",
    [cut(0), cut(1), lambda found: Reply([DONE]), stop_at_once, lambda found: Reply([b"\n\n"])],
)
def test_a_text_of_nothing_is_an_error(empty: Any) -> None:
    with pytest.raises(EngineError, match="without any text: check the server's log"):
        read(RawServed(SCRIPT, lambda number, found: empty(found)))
    assert text(read(RawServed(SCRIPT, only(empty, 1, 2)))) == SCRIPT


def test_a_complete_prefix_may_be_continued_by_nothing() -> None:
    served = RawServed(SCRIPT)
    assert [(c.text, c.finish) for c in read(served, SCRIPT)] == [("", "stop")]
    assert len(served.streamed) == 1


def test_max_tokens_is_an_end_without_a_sign() -> None:
    served = RawServed(SCRIPT, lambda number, found: unsigned(found))
    chunks = read(served, max_tokens=3)
    assert text(chunks) == "Two and two.\n\n"
    assert chunks[-1].finish == "length"
    assert len(served.streamed) == 1


def test_stop_at_the_limit_of_a_request_is_not_the_end() -> None:
    def stop(number: int, found: list[Json]) -> Reply:
        found[-2]["choices"][0]["finish_reason"] = "stop"
        return good(found)

    served = RawServed(SCRIPT, stop)
    chunks = read(served, options={"ahead": 3}, max_tokens=100)
    assert (text(chunks), chunks[-1].finish) == (SCRIPT, "stop")
    assert [chunk.finish for chunk in read(served, max_tokens=3)][-1] == "stop"


def in_pairs(number: int, found: list[Json]) -> Reply:
    """A response whose pieces have two tokens each, by a proxy that drops the usage."""
    tokens = [event["choices"][0]["delta"]["content"] for event in found[1:-2]]
    pairs = ["".join(tokens[place : place + 2]) for place in range(0, len(tokens), 2)]
    pieces = [{"choices": [{"delta": {"content": pair}}]} for pair in pairs]
    return good([*pieces, found[-2]])


def test_a_limit_is_that_of_the_request_if_tokens_cannot_be_counted() -> None:
    served = RawServed(SCRIPT, in_pairs)
    chunks = read(served, options={"ahead": 4}, max_tokens=100)
    assert (text(chunks), chunks[-1].finish) == (SCRIPT, "stop")
    assert len(served.streamed) > 1
    assert read(RawServed(SCRIPT, in_pairs), max_tokens=4)[-1].finish == "length"


def test_a_full_context_ends_a_text_if_tokens_cannot_be_counted() -> None:
    def full(number: int, found: list[Json]) -> Reply:
        if number == 1:
            return in_pairs(number, found)
        return Reply([lines(found[0]), lines(found[-2]), DONE])  # a limit, and no text

    served = RawServed(SCRIPT, full)
    chunks = read(served, options={"ahead": 4}, max_tokens=100)
    assert (text(chunks), chunks[-1].finish) == ("Two and two.\n\nThat ", "length")
    assert len(served.streamed) == 2


def test_retries_count_again_after_progress() -> None:
    served = RawServed(SCRIPT, lambda number, found: good(found) if number > 8 else cut(2)(found))
    assert text(read(served, options={"retries": 1})) == SCRIPT
    assert len(served.streamed) == 9


def test_the_number_of_interruptions_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "_MOST_RESPONSES", 5)
    served = RawServed("one " * 50, lambda number, found: cut(2)(found))
    with pytest.raises(EngineError, match="interrupted one answer 5 times"):
        read(served)


@pytest.mark.parametrize("message", ["prompt is too long: 9 tokens > 8 maximum", "n_ctx exceeded"])
def test_too_long_in_a_stream_is_never_sent_again(message: str) -> None:
    error = {"type": "error", "error": {"type": "exceed_context_size_error", "message": message}}
    served = RawServed(SCRIPT, lambda number, found: Reply([lines(error)]))
    with pytest.raises(ContextTooLong):
        read(served)
    assert len(served.streamed) == 1


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "text/html; charset=x"])
def test_the_content_type_does_not_matter(kind: str) -> None:
    served = RawServed(SCRIPT, lambda number, found: Reply(good(found).pieces, kind=kind))
    assert text(read(served)) == SCRIPT


@pytest.mark.parametrize("status", [200, 201])
def test_a_whole_answer_to_a_streamed_request_is_accepted(status: int) -> None:
    def whole(number: int, found: list[Json]) -> Reply:
        said = "".join(event["choices"][0]["delta"]["content"] for event in texts(found))
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return Reply([b'{"choices": [', lines(choice)[6:], b"]}"], status)

    served = RawServed(SCRIPT, whole)
    assert text(read(served)) == SCRIPT
    assert len(served.streamed) == 1


def test_a_server_without_a_list_of_models_is_used_by_name() -> None:
    served = RawServed(SCRIPT, models={"error": {"message": "no such route", "code": 404}})
    with pytest.raises(EngineError, match="no such route"):
        read(served)
    assert text(read(served, options={"model": "tiny"})) == SCRIPT
    with pytest.raises(ModelNotFound, match="choose one of tiny"):
        read(RawServed(SCRIPT), options={"model": "huge"})
    served.answer = lambda found: {"error": {"message": "elsewhere", "code": 404}}
    with pytest.raises(EngineError, match="no such route"):
        read(served, options={"model": "tiny"})


def test_an_error_in_a_judge_response_is_sent_again() -> None:
    answers = [{"error": {"message": "rate limit exceeded", "code": "429"}}, {"detail": "oops"}]

    async def work(engine: HttpEngine) -> float:
        served.answer = lambda found: answers.pop() if answers else found
        [evidence] = await engine.judge(Context(TALK), ["Two.\n\n"])
        return evidence.ratio

    served = RawServed(SCRIPT)
    assert use(served, work) == pytest.approx(0.9, abs=0.01)
    assert not answers


def test_values_that_are_not_log_probabilities_are_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(found: Json) -> Json:
        found["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] = None
        return found

    async def work(engine: HttpEngine) -> list[float]:
        served.answer = answer
        found = await engine.judge(Context(TALK), ["Two.\n\n", "Three.\n\n"])
        return [evidence.ratio for evidence in found]

    served = RawServed(SCRIPT)
    with caplog.at_level(logging.WARNING):
        assert use(served, work) == [0.0, 0.0]
    assert [record.message for record in caplog.records] == [
        "tiny at http://here/v1 returns log-probabilities that are not finite numbers of at most "
        "0: they count as unknown"
    ]
