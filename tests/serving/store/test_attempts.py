"""Attempts at requests: the latest goes on with what those before it committed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from dreamr.serving.gateway.attempt_log import AttemptLog
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.store import Attempt, NewAttempt
from dreamr.steps import Ending, Step
from dreamr.trace import StepCommitted
from support.redis_server import RedisServer, needs_redis
from support.stores import on_server

RedisStore = pytest.importorskip("dreamr.serving.store.redis").RedisStore
redis_attempts = pytest.importorskip("dreamr.serving.store.redis_attempts")
pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
async def attempts(tmp_path: Path) -> AsyncIterator[Any]:
    with RedisServer(tmp_path) as server:
        store = RedisStore(server.url)
        yield store.attempts
        await store.aclose()


def new(holder: str, name: str = "1", digest: str = "d", about: bytes = b"{}") -> NewAttempt:
    return NewAttempt(name, "alice", holder, digest, about)


async def test_the_latest_attempt_holds_the_steps_of_all(attempts: Any) -> None:
    first = await attempts.begin(new("a"), 60)
    assert first == Attempt("1", "alice", "a", b"{}")
    assert await attempts.commit(first, 0, b"one", 60) == "kept"
    second = await attempts.begin(new("b", about=b"other"), 60)
    assert second == Attempt("1", "alice", "b", b"{}", (b"one",))
    assert await attempts.commit(first, 1, b"two", 60) == "superseded"
    assert await attempts.commit(second, 1, b"two", 60) == "kept"
    assert not await attempts.end(first, b"answer of the first", 60)
    assert await attempts.end(second, b"answer", 60)
    ended = Attempt("1", "alice", "c", b"{}", answer=b"answer")
    assert await attempts.begin(new("c", digest="", about=b""), 60) == ended


async def test_an_attempt_of_which_redis_has_less_gets_no_gap(
    attempts: Any, tmp_path: Path
) -> None:
    begun = await attempts.begin(new("a"), 60)
    steps = (b"one", b"two", b"three")
    for place, step in enumerate(steps):
        assert await attempts.commit(begun, place, step, 60) == "kept"
    await on_server(tmp_path, "RPOP", "dreamr:{gateway}:attempt:content:1:steps")
    assert await attempts.commit(begun, 3, b"four", 60) == "gone"
    assert (await attempts.begin(new("b"), 60)).steps == steps[:2]


async def test_an_attempt_is_at_one_request_of_one_client(attempts: Any) -> None:
    await attempts.begin(new("a"), 60)
    assert await attempts.begin(new("b", digest="e"), 60) == "other"
    assert await attempts.begin(NewAttempt("1", "bob", "b"), 60) == "none"
    assert await attempts.begin(new("b", name="2", about=b""), 60) == "none"
    assert await attempts.known("1", "alice")
    assert not await attempts.known("1", "bob")
    await attempts.delete("1", "bob")
    assert await attempts.known("1", "alice")
    await attempts.delete("1", "alice")
    assert not await attempts.known("1", "alice")


async def test_a_committed_step_prolongs_an_attempt_and_it_expires(attempts: Any) -> None:
    begun = await attempts.begin(new("a"), 60)
    await attempts.commit(begun, 0, b"one", 0.05)
    with anyio.fail_after(20):
        while await attempts.known("1", "alice"):
            await anyio.sleep(0)
    assert await attempts.begin(new("b"), 60) == Attempt("1", "alice", "b", b"{}")


async def test_the_oldest_attempts_make_room_with_their_steps(
    attempts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = redis_attempts.Kind("attempt", 100, 1000)
    monkeypatch.setattr(redis_attempts, "KIND", kind)
    for name in "123":
        begun = await attempts.begin(new("a", name), 60)
        await attempts.commit(begun, 0, b"x" * 300, 60)
    assert [await attempts.known(name, "alice") for name in "123"] == [False, True, True]
    from redis import Redis

    with Redis.from_url(f"unix://{tmp_path}/r.sock") as client:
        assert len(client.keys("*:steps")) == 2


async def test_an_attempt_that_made_room_goes_on_without_keeping_its_steps(
    attempts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_attempts, "KIND", redis_attempts.Kind("attempt", 2, 1000))
    about = b'{"created": 0, "body": ""}'
    step = StepCommitted(0.0, 0, Step("one\n\n", 2, Ending.DELIMITER), "target")
    lost: list[ApiError] = []
    begun = await attempts.begin(new("a", about=about), 60)
    log = AttemptLog(attempts, begun, (60, 60))
    log.on_lost = lost.append
    await attempts.begin(new("a", "2"), 60)
    await log.note(step)
    assert not lost
    assert await attempts.commit(begun, 0, b"one", 60) == "gone"
    assert not await attempts.known("1", "alice")
    log = AttemptLog(attempts, await attempts.begin(new("b", about=about), 60), (60, 60))
    log.on_lost = lost.append
    await attempts.begin(new("c"), 60)
    await log.note(step)
    assert [error.code for error in lost] == ["superseded"]
