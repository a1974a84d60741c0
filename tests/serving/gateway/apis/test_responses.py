"""OpenAI's responses, over the official client and by their bodies."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from dreamr.answers import AnswerPiece, TokenLogprob
from dreamr.engines import Failure
from dreamr.errors import EngineLost
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.apis.responses import ResponseStore
from dreamr.serving.gateway.content_parts import SentMedia
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.store.memory import MemoryStore
from support.gateways import Gateway, Json, use
from support.listening import listening
from support.pairs import RIGHT, Pair
from support.responses import ASKED
from support.stores import STORES, opened

openai = pytest.importorskip("openai")

REASONING = "".join(RIGHT[:2])
LIKELY = (TokenLogprob("3", -0.5), TokenLogprob("4", -2.0))


def test_a_response_has_reasoning_and_a_message(client: openai.OpenAI) -> None:
    found = client.responses.create(**ASKED)
    thought, message = found.output
    assert [part.text for part in thought.content] == [REASONING]
    assert (message.role, found.output_text, found.status) == ("assistant", "3.70", "completed")
    assert (found.usage.total_tokens, found.usage.output_tokens_details.reasoning_tokens) == (15, 6)


@pytest.mark.parametrize("reasoning", [None, {"summary": "auto"}])
def test_a_stream_ends_with_the_same_response(
    client: openai.OpenAI, reasoning: Json | None
) -> None:
    whole = client.responses.create(**ASKED, reasoning=reasoning)
    with client.responses.stream(**ASKED, reasoning=reasoning) as stream:
        events = list(stream)
        streamed = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert streamed.output_text == whole.output_text == "3.70"
    ids = {"id"}
    assert streamed.output[0].to_dict().keys() - ids == whole.output[0].to_dict().keys() - ids


def test_the_events_of_a_stream_are_in_the_official_order(client: openai.OpenAI) -> None:
    kinds = [event.type for event in client.responses.create(**ASKED, stream=True)]
    assert [kind.removeprefix("response.") for kind in kinds] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_a_request_continues_an_earlier_response(client: openai.OpenAI) -> None:
    first = client.responses.create(**ASKED, instructions="Be brief.")
    events = client.responses.create(
        model="dreamr", input="And two teas?", previous_response_id=first.id, stream=True
    )
    second = list(events)[-1].response
    third = client.responses.create(
        model="dreamr", input="And three?", previous_response_id=second.id
    )
    assert first.usage.input_tokens == 9
    assert second.usage.input_tokens == 7 + 1 + 3  # without the instructions
    assert third.usage.input_tokens == 11 + 1 + 2


def test_a_stored_response_can_be_had_and_deleted(client: openai.OpenAI) -> None:
    found = client.responses.create(**ASKED)
    assert client.responses.retrieve(found.id) == found
    client.responses.delete(found.id)
    with pytest.raises(openai.NotFoundError, match="there is no response"):
        client.responses.retrieve(found.id)
    with pytest.raises(openai.BadRequestError, match="there is no response"):
        client.responses.create(**ASKED, previous_response_id=found.id)


def test_a_response_is_not_stored_against_the_will_of_its_client(client: openai.OpenAI) -> None:
    found = client.responses.create(**ASKED, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(found.id)


def test_a_response_belongs_to_its_client() -> None:
    async def work(gate: Gateway) -> tuple[int, int]:
        found = (await gate.ask(ASKED, "/v1/responses")).json["id"]
        path = f"/v1/responses/{found}"
        other = await gate.ask(b"", path, "GET", client="10.0.0.2")
        return (await gate.get(path)).status, other.status

    assert use(work) == (200, 404)


@pytest.mark.anyio
async def test_the_oldest_responses_of_a_client_make_room_for_its_own() -> None:
    store = ResponseStore(MemoryStore(), 60, most=4)
    for owner, name in (("bob", "b"), ("alice", "1"), ("alice", "2"), ("alice", "3")):
        await store.keep(owner, {"id": name}, ())
    assert (await store.find("b", "bob")).body == {"id": "b"}
    assert await store.find("3", "alice")
    with pytest.raises(ApiError):
        await store.find("1", "alice")


@pytest.mark.anyio
async def test_responses_expire_and_are_bounded_in_bytes() -> None:
    now = [0.0]
    store = ResponseStore(MemoryStore(lambda: now[0]), 60, most_bytes=10_000)
    await store.keep("alice", {"id": "large"}, (ParsedMessage("user", ("x" * 6000,)),))
    for name in "123456":
        await store.keep(name, {"id": name}, (ParsedMessage("user", ("x" * 2000,)),))
    kept = []
    for name in ("large", *"123456"):
        with suppress(ApiError):
            kept.append((await store.find(name, "alice" if name == "large" else name)).body["id"])
    assert kept == ["3", "4", "5", "6"]
    now[0] = 60.0
    with pytest.raises(ApiError):
        await store.find("6", "6")


@pytest.mark.anyio
async def test_an_attachment_of_a_conversation_is_kept_once() -> None:
    image = SentMedia("image", "input.0", url="data:image/png;base64," + "A" * 20_000)
    store = ResponseStore(MemoryStore(), 60, most_bytes=50_000)
    history = (ParsedMessage("user", ("What?", image)),)
    for name in "123456":
        await store.keep("alice", {"id": name}, history)
    found = [await store.find(name, "alice") for name in "123456"]
    assert {one.history for one in found} == {history}
    assert found[0].size > 20_000


@pytest.mark.anyio
@pytest.mark.parametrize("kind", STORES)
async def test_an_attachment_of_two_clients_is_kept_for_each(kind: str, tmp_path: Path) -> None:
    image = SentMedia("image", "input.0", url="data:image/png;base64," + "A" * 20_000)
    history = (ParsedMessage("user", ("What?", image)),)
    async with opened(kind, tmp_path) as kept:
        store = ResponseStore(kept, 60)
        for owner in ("alice", "bob"):
            await store.keep(owner, {"id": owner}, history)
        for owner in ("alice", "bob"):
            assert (await store.find(owner, owner)).history == history


@pytest.mark.parametrize("stop", [None, "!?"])
def test_log_probabilities_are_those_of_the_answer(stop: str | None) -> None:
    """Also while text that may begin a stop sequence is held back."""
    pieces = [
        AnswerPiece("3", tokens=1, logprobs=(TokenLogprob("3", -0.5, None, LIKELY),)),
        AnswerPiece("!", tokens=1, logprobs=(TokenLogprob("!", -1.0),)),
    ]
    asked = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "stop": stop}
    with (
        listening(Pair(target={"answers": pieces})) as root,
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as client,
    ):
        whole = client.responses.create(**ASKED, extra_body=asked)
        events = list(client.responses.create(**ASKED, stream=True, extra_body=asked))
    tops: list[Json] = [{"token": "3", "logprob": -0.5}, {"token": "4", "logprob": -2.0}]
    expected: list[Json] = [
        {"token": "3", "logprob": -0.5, "top_logprobs": tops},
        {"token": "!", "logprob": -1.0, "top_logprobs": []},
    ]
    part = whole.output[-1].content[0]
    assert [one.token for one in part.logprobs] == ["3", "!"]
    assert part.logprobs[0].bytes == [51]
    assert [one.logprob for one in part.logprobs[0].top_logprobs] == [-0.5, -2.0]
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [one for event in deltas for one in event.to_dict()["logprobs"]] == expected
    (done,) = (event for event in events if event.type == "response.output_text.done")
    assert (done.text, done.to_dict()["logprobs"]) == ("3!", expected)
    assert events[-1].response.output[-1].content == [part]


def test_there_are_no_log_probabilities_unless_they_are_asked_for(client: openai.OpenAI) -> None:
    assert client.responses.create(**ASKED).output[-1].content[0].logprobs == []


def test_a_failed_stream_ends_with_a_failed_response() -> None:
    lost = Failure(EngineLost("the server went away"), tokens=4)
    pair = Pair(target={"stream_failures": {0: lost}})

    async def work(gate: Gateway) -> str:
        pair.errors["target"] = EngineLost("gone for good")
        body = {**ASKED, "stream": True, "dreamr": {"method": "target"}}
        return (await gate.ask(body, "/v1/responses")).body.decode()

    *_, last, end = use(work, pair).split("\n\n")
    assert end == ""
    name, data = last.split("\n")
    response = json.loads(data.removeprefix("data: "))["response"]
    assert name == "event: response.failed"
    assert (response["status"], response["error"]["code"]) == ("failed", "engine_lost")
