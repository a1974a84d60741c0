"""A request whose connection or replica was lost goes on at another replica, when repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from support.gateways import QUESTION, Gateway, asked, use
from support.listening import listening
from support.pairs import RIGHT, WRONG, Pair
from support.redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
pytestmark = needs_redis
FIRST = "Tea is 2.50, says the first replica.\n\n"
SECONDS = 30
LONG = FIRST.replace(".\n", ", as ever" * 100 + ".\n")
MESSAGES = [{"role": "user", "content": QUESTION}]
THINKING = {"type": "enabled", "budget_tokens": 256}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": QUESTION},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 512, "thinking": THINKING},
    "/v1/responses": {"input": QUESTION, "store": False},
}
CHAT = "/v1/chat/completions"
KEYS = "key-of-alice-0123456 name=alice tokens=1000 running=1\nkey-of-bob-0123456789 name=bob\n"


@dataclass
class Replicas:
    """A replica that is cut after one step, and one that is not, on one Redis."""

    cut: httpx2.Client
    other: httpx2.Client
    server: RedisServer

    def attempts(self) -> list[bytes]:
        found: list[bytes] = self.server.value("KEYS", "*attempt*")
        return found


def cut_after(step: str) -> Pair:
    """Return a pair that commits one step, and then writes nothing more."""
    return Pair(
        target={"opinion": {step: 0.93}, "token_seconds": float("inf")},
        draft={"script": (step, WRONG, RIGHT[2])},
    )


@contextmanager
def replicas(folder: Path, step: str = FIRST, **limits: Any) -> Iterator[Replicas]:
    with RedisServer(folder) as server:
        given = {"store": server.url, **limits}
        with (
            listening(cut_after(step), **given) as one,
            listening(**given) as other,
            httpx2.Client(base_url=one, timeout=SECONDS) as first,
            httpx2.Client(base_url=other, timeout=SECONDS) as second,
        ):
            yield Replicas(first, second, server)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with replicas(tmp_path_factory.mktemp("shared")) as found:
        yield found


def request(path: str, *, stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": "dreamr", **BODIES[path], "stream": stream, **more}


def cut(client: httpx2.Client, path: str, body: Any, **headers: str) -> list[str]:
    """Send a request, and leave when its first step has come; return the lines so far."""
    lines = []
    with client.stream("POST", path, json=body, headers=headers) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            lines.append(line)
            if "says the first replica" in line:
                break
    return lines


def resumed(client: httpx2.Client) -> dict[str, float]:
    """Return the number of resumed requests by kind, from the metrics of a replica."""
    text = client.get("/metrics").text
    found = re.findall(r'^dreamr:requests_resumed_total{kind="(\w+)",.*} (\S+)$', text, re.M)
    return {kind: float(count) for kind, count in found}


def events(text: str) -> list[dict[str, Any]]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def name_of(event: dict[str, Any]) -> str:
    """Return the id of the response that an event is about."""
    found = event.get("message") or event.get("response") or event
    return str(found["id"])


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_goes_on_elsewhere_with_all_committed_text(shared: Replicas, path: str) -> None:
    headers = {"Idempotency-Key": f"stream {path}"}
    begun = cut(shared.cut, path, request(path), **headers)
    again = shared.other.post(path, json=request(path), headers=headers)
    assert again.status_code == 200
    assert again.text.count("says the first replica") >= 1
    assert "Milk costs 1.20" in again.text
    assert "3.70" in again.text
    assert "Tea costs" not in again.text, "it is not written twice"
    assert name_of(events("\n".join(begun))[0]) == name_of(events(again.text)[0])
    kept = shared.cut.post(path, json=request(path), headers=headers)
    assert kept.text == again.text
    assert kept.headers["idempotent-replayed"] == "true"
    assert kept.headers["content-type"] == again.headers["content-type"]
    assert "idempotent-replayed" not in again.headers


@pytest.mark.parametrize("path", BODIES)
def test_an_answer_that_is_not_streamed_is_kept(shared: Replicas, path: str) -> None:
    headers = {"Idempotency-Key": f"whole {path}"}
    first = shared.other.post(path, json=request(path, stream=False), headers=headers)
    again = shared.cut.post(path, json=request(path, stream=False), headers=headers)
    assert first.status_code == again.status_code == 200
    assert again.json() == first.json()
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"


def test_an_answer_that_is_not_streamed_goes_on_after_the_committed_steps(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "1"}
    body = request(CHAT, stream=False, dreamr={"deadline": 1})
    with replicas(tmp_path) as both:
        assert both.cut.post(CHAT, json=body, headers=headers).status_code == 504
        again = both.other.post(CHAT, json=body, headers=headers).json()
    message = again["choices"][0]["message"]
    assert message["reasoning_content"] == FIRST + RIGHT[1]
    assert message["content"] == "3.70"
    assert again["usage"]["completion_tokens"] == 7 + 3 + 2
    assert [step["position"] for step in again["dreamr"]["steps"]] == [0, 1, 2]


def test_resumed_requests_are_counted_where_they_go_on(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "1"}
    with replicas(tmp_path) as both:
        cut(both.cut, CHAT, request(CHAT), **headers)
        for _ in range(2):  # the second is answered without a run
            assert both.other.post(CHAT, json=request(CHAT), headers=headers).status_code == 200
        counts = [resumed(client) for client in (both.cut, both.other)]
    assert counts[0] == {"repeated": 0, "stream": 0, "background": 0}
    assert counts[1] == {"repeated": 1, "stream": 0, "background": 0}


def test_a_key_belongs_to_one_request_of_one_client(shared: Replicas) -> None:
    headers = {"Idempotency-Key": "one request"}
    assert shared.other.post(CHAT, json=request(CHAT), headers=headers).status_code == 200
    different = shared.cut.post(CHAT, json=request(CHAT, seed=1), headers=headers)
    assert different.status_code == 422
    error = different.json()["error"]
    assert (error["code"], error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
    assert "repeat the same body, or use a new key" in error["message"]
    other = shared.other.post("/v1/completions", json=request("/v1/completions"), headers=headers)
    assert other.status_code == 200, "each endpoint has its own keys"
    assert "idempotent-replayed" not in other.headers


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e4"])
def test_an_invalid_key_is_refused(shared: Replicas, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = shared.other.post(CHAT, json=request(CHAT), headers=headers)
    assert answer.status_code == 400
    assert "1 to 255 printable ASCII characters" in answer.json()["error"]["message"]


@pytest.mark.parametrize("place", ["cut", "other"])
def test_the_latest_attempt_goes_on(shared: Replicas, place: str) -> None:
    headers = {"Idempotency-Key": f"latest {place}"}
    later: httpx2.Client = getattr(shared, place)
    with shared.cut.stream("POST", CHAT, json=request(CHAT), headers=headers) as first:
        lines = first.iter_lines()
        assert any("says the first replica" in line for line in lines)
        with later.stream("POST", CHAT, json=request(CHAT), headers=headers) as second:
            assert any("says the first replica" in line for line in second.iter_lines())
        if place == "cut":  # the same replica ends the first at once; others with its next step
            assert '"code":"superseded"' in "".join(lines)


def test_requests_without_a_key_leave_nothing(tmp_path: Path) -> None:
    with replicas(tmp_path) as both:
        for path in BODIES:
            assert both.other.post(path, json=request(path)).status_code == 200
        count = {"model": "dreamr", "messages": MESSAGES}
        headers = {"Idempotency-Key": "count"}
        both.other.post("/v1/messages/count_tokens", json=count, headers=headers)
        assert both.attempts() == []


def test_without_a_store_a_key_has_no_effect() -> None:
    async def work(gate: Gateway) -> list[str]:
        answers = [await gate.ask(asked(), idempotency_key="1") for _ in range(2)]
        return [answer.json["id"] for answer in answers]

    first, second = use(work)
    assert first != second


def test_committed_text_counts_once_for_the_limits_of_its_client(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEYS)
    headers = {"Idempotency-Key": "1", "Authorization": "Bearer key-of-alice-0123456"}
    with replicas(tmp_path, LONG, keys_file=str(keys)) as both:
        cut(both.cut, CHAT, request(CHAT), **headers)
        again = both.other.post(CHAT, json=request(CHAT), headers=headers)
        assert again.status_code == 200, "the lost attempt does not count as running"
        headers["Idempotency-Key"] = "2"
        body = request(CHAT, stream=False)
        whole = both.other.post(CHAT, json=body, headers=headers)
        left = int(whole.headers["x-ratelimit-remaining-tokens"])
        bob = {"Idempotency-Key": "2", "Authorization": "Bearer key-of-bob-0123456789"}
        assert "idempotent-replayed" not in both.other.post(CHAT, json=body, headers=bob).headers
    usage = whole.json()["usage"]
    steps = (LONG, *RIGHT[1:])
    first = usage["prompt_tokens"] + sum(len(step.split()) for step in steps)
    assert 1000 - left <= first + usage["total_tokens"]


def test_a_response_in_the_background_begins_once(shared: Replicas) -> None:
    body = request("/v1/responses", stream=False, store=True, background=True)
    headers = {"Idempotency-Key": "background"}
    first = shared.other.post("/v1/responses", json=body, headers=headers).json()
    again = shared.cut.post("/v1/responses", json=body, headers=headers).json()
    assert again["id"] == first["id"]


@pytest.mark.anyio
async def test_concurrent_requests_for_a_response_in_the_background_begin_one(
    shared: Replicas,
) -> None:
    body = request("/v1/responses", stream=False, store=True, background=True)
    headers = {"Idempotency-Key": "background at once"}
    found: set[str] = set()
    async with httpx2.AsyncClient(timeout=SECONDS) as client:

        async def ask(base: httpx2.URL) -> None:
            answer = await client.post(base.join("/v1/responses"), json=body, headers=headers)
            found.add(answer.json()["id"])

        async with anyio.create_task_group() as tasks:
            for one in (shared.other, shared.cut) * 2:
                tasks.start_soon(ask, one.base_url)
    assert len(found) == 1


def test_requests_are_answered_while_redis_is_lost(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "1"}
    with replicas(tmp_path) as both:
        both.server.kill()
        for _ in range(2):
            answer = both.other.post(CHAT, json=request(CHAT), headers=headers)
            assert "3.70" in answer.text
            assert "idempotent-replayed" not in answer.headers
        path = "/v1/responses"
        answer = both.other.post(path, json=request(path, store=True))
        name = name_of(events(answer.text)[0])
        answer = both.other.get(f"{path}/{name}?stream=true")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_lost")


def stored(**more: Any) -> dict[str, Any]:
    return request("/v1/responses", store=True, **more)


def test_a_stream_of_a_response_goes_on_elsewhere_from_any_event(shared: Replicas) -> None:
    begun = events("\n".join(cut(shared.cut, "/v1/responses", stored())))
    path = f"/v1/responses/{begun[0]['response']['id']}?stream=true"
    last = begun[-1]["sequence_number"]
    rest = events(shared.other.get(f"{path}&starting_after={last}").text)
    found = [*begun, *rest]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    response = found[-1]["response"]
    assert found[-1]["type"] == "response.completed"
    assert response["output"][0]["content"][0]["text"] == FIRST + RIGHT[1]
    assert response["output"][1]["content"][0]["text"] == "3.70"
    for client in (shared.cut, shared.other):
        assert events(client.get(path).text) == found
        for after in (0, last + 1, len(found) - 1):
            again = client.get(f"{path}&starting_after={after}")
            assert events(again.text) == found[after + 1 :]
        assert client.get(path.partition("?")[0]).json() == response
    shared.other.delete(path.partition("?")[0])
    assert shared.cut.get(path).status_code == 404


def test_a_client_drops_events_that_were_not_committed(shared: Replicas) -> None:
    begun = events("\n".join(cut(shared.cut, "/v1/responses", stored())))
    path = f"/v1/responses/{begun[0]['response']['id']}?stream=true"
    refused = shared.other.get(f"{path}&starting_after=50")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "events_not_committed")
    last = refused.json()["dreamr"]["starting_after"]
    assert last == begun[-1]["sequence_number"]
    assert f"ask with starting_after={last}" in refused.json()["error"]["message"]
    rest = events(shared.other.get(f"{path}&starting_after={last}").text)
    assert rest[0]["sequence_number"] == last + 1
    assert rest[-1]["type"] == "response.completed"


@pytest.mark.parametrize("more", [{"stream": False}, {"store": False}])
def test_other_responses_are_not_streamed_later(shared: Replicas, more: dict[str, Any]) -> None:
    answer = shared.other.post("/v1/responses", json=stored() | more)
    found = answer.json() if "stream" in more else events(answer.text)[0]["response"]
    answer = shared.other.get(f"/v1/responses/{found['id']}?stream=true")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found")
