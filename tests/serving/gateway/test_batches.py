"""The endpoints /v1/batches, with OpenAI's own client over a socket."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.gateways import use
from support.listening import listening
from support.pairs import Pair

LINE: dict[str, Any] = {
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "dreamr", "messages": [{"role": "user", "content": "What do both cost?"}]},
}
SECONDS = 30


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    with listening() as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)


def content(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def requests(count: int) -> list[Any]:
    return [{"custom_id": f"r{number}", **LINE} for number in range(count)]


def create(
    client: openai.OpenAI, *lines: Any, endpoint: Any = "/v1/chat/completions", **more: Any
) -> Any:
    file = client.files.create(file=("work.jsonl", content(*lines)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


def finish(client: openai.OpenAI, batch: Any) -> Any:
    """Ask until the batch is over."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = client.batches.retrieve(batch.id)
        if found.status in ("completed", "failed", "cancelled"):
            return found
    raise AssertionError(f"the batch is {found.status} after {SECONDS} s")


def lines(client: openai.OpenAI, file_id: str) -> list[Any]:
    text = client.files.content(file_id).text
    return [json.loads(line) for line in text.splitlines()]


def test_a_batch_answers_the_requests_of_an_uploaded_file(client: openai.OpenAI) -> None:
    batch = create(client, *requests(20), metadata={"name": "night"})
    assert (batch.object, batch.metadata) == ("batch", {"name": "night"})
    found = finish(client, batch)
    assert found.status == "completed"
    assert (found.request_counts.total, found.request_counts.completed) == (20, 20)
    assert found.error_file_id is None
    answers = lines(client, found.output_file_id)
    assert {one["custom_id"] for one in answers} == {f"r{number}" for number in range(20)}
    assert answers[0]["response"]["body"]["choices"][0]["message"]["content"] == "3.70"
    assert client.files.retrieve(found.output_file_id).filename == "work.answers.jsonl"
    assert found.created_at <= found.in_progress_at <= found.completed_at


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/responses", {"input": "What do both cost?"}, "response"),
        ("/v1/completions", {"prompt": "What do both cost?"}, "text_completion"),
    ],
)
def test_a_batch_has_one_of_the_endpoints(
    endpoint: Any, body: Any, kind: str, client: openai.OpenAI
) -> None:
    line = {"method": "POST", "url": endpoint, "body": {"model": "dreamr", **body}}
    lost = {"custom_id": "lost", **LINE}
    batch = create(client, {"custom_id": "a", **line}, lost, endpoint=endpoint)
    assert batch.endpoint == endpoint
    found = finish(client, batch)
    assert (found.request_counts.completed, found.request_counts.failed) == (1, 1)
    (answer,) = lines(client, found.output_file_id)
    assert answer["response"]["body"]["object"] == kind
    (error,) = lines(client, found.error_file_id)
    assert endpoint in error["error"]["message"]


def test_requests_that_fail_are_in_a_file_of_their_own(client: openai.OpenAI) -> None:
    wrong = {"custom_id": "wrong", **LINE, "body": {"model": "other", "messages": []}}
    found = finish(client, create(client, wrong, *requests(1)))
    assert (found.request_counts.completed, found.request_counts.failed) == (1, 1)
    (error,) = lines(client, found.error_file_id)
    assert error["custom_id"] == "wrong"
    assert error["error"]["message"]


def test_lines_that_cannot_be_sent_do_not_stop_the_others(client: openai.OpenAI) -> None:
    more: dict[str, Any] = {"nan": {"top_p": math.nan}, "later": {"background": True}}
    wrong = [
        {**LINE, "custom_id": name, "body": {**LINE["body"], **fields}}
        for name, fields in more.items()
    ]
    found = finish(client, create(client, *wrong, *requests(2)))
    assert found.status == "completed"
    assert (found.request_counts.completed, found.request_counts.failed) == (2, 2)
    assert {one["custom_id"] for one in lines(client, found.error_file_id)} == more.keys()


def test_a_batch_can_be_canceled_and_keeps_its_answers() -> None:
    with listening(Pair(target={"token_seconds": float("inf")})) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)
        batch = create(client, *requests(3))
        assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
        assert finish(client, batch).status == "cancelled"


def test_batches_are_listed_the_latest_first(client: openai.OpenAI) -> None:
    first, second = (create(client, *requests(1)) for _ in range(2))
    assert [one.id for one in client.batches.list().data] == [second.id, first.id]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no valid request"),
        ([{"custom_id": "a"}], "no valid request"),
        (requests(1) * 2, "two requests with the id"),
    ],
)
def test_a_file_that_is_no_batch_is_refused(
    given: list[Any], message: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as found:
        create(client, *given)
    assert "work.jsonl" in str(found.value)
    assert "/tmp" not in str(found.value)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (2**20, "the request body has more than 65,536 bytes: send less"),
        (5000, "bytes: send less, or raise --max-body of the gateway"),
    ],
)
def test_a_request_for_a_batch_is_bounded(limit: int, message: str) -> None:
    body = {"input_file_id": "x" * 70_000}
    found = use(lambda gate: gate.ask(body, "/v1/batches"), max_body=limit)
    assert found.status == 413
    assert found.json["error"]["message"].endswith(message)


def test_an_unknown_file_or_batch_is_an_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="there is no file"):
        client.batches.create(
            input_file_id="file-0", endpoint="/v1/chat/completions", completion_window="24h"
        )
    with pytest.raises(openai.NotFoundError, match="there is no batch"):
        client.batches.retrieve("batch_0")
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        client.batches.create(
            input_file_id="file-0", endpoint="/v1/embeddings", completion_window="24h"
        )


def test_clients_see_their_own_batches_only(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("first-key-0123456789 name=first\nsecond-key-0123456789 name=second\n")
    with listening(keys_file=str(keys)) as url:
        first, second = (
            openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
            for key in ("first-key-0123456789", "second-key-0123456789")
        )
        batch = create(first, *requests(2))
        assert finish(first, batch).request_counts.completed == 2
        assert second.batches.list().data == []
        with pytest.raises(openai.NotFoundError):
            second.batches.retrieve(batch.id)
        with pytest.raises(openai.NotFoundError):
            second.batches.cancel(batch.id)
