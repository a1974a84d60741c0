"""Two replicas with a real Redis: what one keeps, the other finds."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import openai
import PIL.Image
import pytest

from support.gateways import QUESTION
from support.listening import listening
from support.pairs import Pair
from support.processes import until
from support.redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
pytestmark = needs_redis
ASKED: dict[str, Any] = {"model": "dreamr", "input": QUESTION}
HANGING = Pair(target={"token_seconds": float("inf")})
LINE = {
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "dreamr", "messages": [{"role": "user", "content": QUESTION}]},
}
KEYS = "key-of-alice-0123456 name=alice requests=1000\nkey-of-bob-0123456789 name=bob requests=3\n"


class Replicas:
    """Two gateways on one Redis."""

    def __init__(self, urls: tuple[str, str], server: RedisServer) -> None:
        self.urls, self.server = urls, server
        self.closing = ExitStack()

    def client(self, number: int, key: str = "key-of-alice-0123456") -> openai.OpenAI:
        found = openai.OpenAI(base_url=f"{self.urls[number]}/v1", api_key=key, max_retries=0)
        return self.closing.enter_context(found)

    def metric(self, number: int, name: str) -> float:
        text = httpx2.get(f"{self.urls[number]}/metrics").text
        (found,) = (line.split()[1] for line in text.splitlines() if line.startswith(name))
        return float(found)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    keys = folder / "keys"
    keys.write_text(KEYS)
    with RedisServer(folder) as server:
        given = {"store": server.url, "keys_file": str(keys)}
        with listening(**given) as one, listening(**given) as other:
            found = Replicas((one, other), server)
            with found.closing:
                yield found


def noise() -> bytes:
    """Return a PNG file that is large enough to be kept apart from its response."""
    image = PIL.Image.frombytes("RGB", (64, 64), Random(7).randbytes(3 * 64 * 64))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_response_is_continued_elsewhere(replicas: Replicas) -> None:
    address = f"data:image/png;base64,{b64encode(noise()).decode()}"
    image = {"type": "input_image", "image_url": address, "detail": "auto"}
    content = [image, {"type": "input_text", "text": QUESTION}]
    asked = {"model": "dreamr", "input": [{"role": "user", "content": content}]}
    one, other = replicas.client(0), replicas.client(1)
    first = one.responses.create(**asked)
    second = other.responses.create(model="dreamr", input="And two?", previous_response_id=first.id)
    assert second.usage.input_tokens > first.usage.input_tokens
    assert other.responses.retrieve(first.id) == first
    bob = replicas.client(1, "key-of-bob-0123456789")
    with pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(first.id)
    other.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        one.responses.retrieve(first.id)


def test_a_client_s_limit_counts_at_both(replicas: Replicas) -> None:
    one, other = (replicas.client(number, "key-of-bob-0123456789") for number in (0, 1))
    for client in (one, other, one):
        client.responses.create(**ASKED)
    with pytest.raises(openai.RateLimitError, match="allows 3 requests per minute"):
        other.responses.create(**ASKED)


def test_a_file_is_had_and_deleted_elsewhere(replicas: Replicas) -> None:
    one, other = replicas.client(0), replicas.client(1)
    content = bytes(range(256)) * 10_000
    file = one.files.create(file=("a.bin", content), purpose="user_data")
    assert other.files.retrieve(file.id) == file
    assert other.files.content(file.id).content == content
    assert file.id in [one.id for one in other.files.list().data]
    other.files.delete(file.id)
    with pytest.raises(openai.NotFoundError):
        one.files.content(file.id)


def test_a_batch_uses_a_file_of_one_replica_and_is_fetched_at_the_other(
    replicas: Replicas,
) -> None:
    one, other = replicas.client(0), replicas.client(1)
    work = b"".join(json.dumps({"custom_id": f"r{n}", **LINE}).encode() + b"\n" for n in range(20))
    file = one.files.create(file=("work.jsonl", work), purpose="batch")
    batch = other.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    until(lambda: one.batches.retrieve(batch.id).status == "completed")
    found = one.batches.retrieve(batch.id)
    assert found.request_counts.completed == 20
    lines = one.files.content(found.output_file_id).text.splitlines()
    assert {json.loads(line)["custom_id"] for line in lines} == {f"r{n}" for n in range(20)}
    assert [batch.id] == [one.id for one in one.batches.list().data]


def test_a_background_response_is_followed_from_any_event_at_any_replica(
    replicas: Replicas,
) -> None:
    one, other = replicas.client(0), replicas.client(1)
    events = list(one.responses.create(**ASKED, background=True, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    name = events[0].response.id
    assert events[-1].response.output_text == "3.70"
    for client in (one, other):
        for after in (0, 5, len(events) - 2):
            again = client.responses.retrieve(name, stream=True, starting_after=after)
            assert list(again) == events[after + 1 :]
        assert client.responses.retrieve(name).output_text == "3.70"
    whole = other.responses.create(**ASKED, background=True)
    assert whole.status in ("queued", "in_progress", "completed")
    until(lambda: one.responses.retrieve(whole.id).status == "completed")
    other.responses.delete(name)
    with pytest.raises(openai.NotFoundError):
        one.responses.retrieve(name)
    with pytest.raises(openai.NotFoundError):
        list(one.responses.retrieve(name, stream=True))


def test_a_run_and_a_batch_are_canceled_elsewhere(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        given = {"store": server.url}
        with listening(HANGING, **given) as first, listening(HANGING, **given) as second:
            both = Replicas((first, second), server)
            one, other = both.client(0), both.client(1)
            run = one.responses.create(**ASKED, background=True)
            assert other.responses.retrieve(run.id).status in ("queued", "in_progress")
            assert other.responses.cancel(run.id).status == "cancelled"
            assert one.responses.retrieve(run.id).status == "cancelled"
            line = json.dumps({"custom_id": "r", **LINE}).encode()
            file = one.files.create(file=("work.jsonl", line), purpose="batch")
            for client in (one, other):
                batch = one.batches.create(
                    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
                )
                assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
                until(lambda name=batch.id: other.batches.retrieve(name).status == "cancelled")
                until(lambda name=batch.id: one.batches.retrieve(name).status == "cancelled")
            both.closing.close()


def test_replicas_go_on_without_redis_and_share_again_when_it_is_back(
    replicas: Replicas,
) -> None:
    one, other = replicas.client(0), replicas.client(1)
    assert replicas.metric(0, "dreamr:store_up") == 1
    work = json.dumps({"custom_id": "r", **LINE}).encode()
    file, foreign = (
        client.files.create(file=("work.jsonl", work), purpose="batch") for client in (one, other)
    )
    given: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = other.batches.create(input_file_id=foreign.id, **given)
    until(lambda: one.batches.retrieve(batch.id).status == "completed")
    replicas.server.kill()
    try:
        found = one.responses.create(**ASKED)
        then = one.responses.create(**ASKED, previous_response_id=found.id)
        assert then.output_text == "3.70"
        with pytest.raises(openai.InternalServerError, match="retry in 5 s"):
            other.responses.create(**ASKED, previous_response_id=found.id)
        assert list(one.responses.create(**ASKED, background=True, stream=True))
        assert one.files.retrieve(file.id) == file
        assert one.files.content(file.id).content == work
        for wrong in (
            lambda: one.batches.retrieve(batch.id),
            lambda: one.batches.cancel(batch.id),
            lambda: one.files.delete(file.id),
            lambda: other.files.retrieve(file.id),
            lambda: other.files.content(file.id),
            lambda: other.batches.create(input_file_id=file.id, **given),
            lambda: other.chat.completions.create(**attached(file.id)),
        ):
            with pytest.raises(openai.InternalServerError, match="retry in 5 s") as caught:
                wrong()
            assert (caught.value.status_code, caught.value.code) == (503, "store_lost")
        again = one.batches.create(input_file_id=file.id, **given)
        until(lambda: one.batches.retrieve(again.id).status == "completed")
        assert replicas.metric(0, "dreamr:store_up") == 0
        assert replicas.metric(0, "dreamr:store_losses_total") == 1
    finally:
        replicas.server.start()
    until(
        lambda: replicas.metric(0, "dreamr:store_up") == replicas.metric(1, "dreamr:store_up") == 1
    )
    shared = one.responses.create(**ASKED)
    assert other.responses.retrieve(shared.id) == shared
    assert one.responses.retrieve(found.id) == found, "it stays with its replica"
    assert other.batches.retrieve(batch.id).status == "completed"
    assert other.files.retrieve(file.id) == file


def attached(file_id: str) -> dict[str, Any]:
    content = [{"type": "file", "file": {"file_id": file_id}}, {"type": "text", "text": QUESTION}]
    return {"model": "dreamr", "messages": [{"role": "user", "content": content}]}
