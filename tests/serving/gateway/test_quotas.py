"""Limits of clients: counted over time, told in headers, never left behind by a request."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._option_specs import BadOption
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.keys import read_keys
from dreamr.serving.gateway.quotas import Quotas
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import NO_LIMITS, Limits
from dreamr.serving.store.memory import MemoryQuotas
from support.gateways import Gateway, asked, use
from support.pairs import Pair


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock | None = None) -> Quotas:
    return Quotas(MemoryQuotas(clock or Clock()))


async def accepted(quotas: Quotas, limits: Limits) -> bool:
    refused: ApiError | None = None
    try:
        async with quotas.request("a", limits):
            pass
    except ApiError as error:
        refused = error
    if refused is not None:
        assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
        assert int(refused.headers["Retry-After"]) >= 1
    return refused is None


@pytest.mark.anyio
async def test_a_minute_has_as_many_requests_as_allowed() -> None:
    clock = Clock()
    quotas, limits = limiter(clock), Limits(requests=3)
    assert [await accepted(quotas, limits) for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now = 20.0
    assert [await accepted(quotas, limits) for _ in range(2)] == [True, False]
    clock.now = 1000.0
    assert [await accepted(quotas, limits) for _ in range(4)] == [True] * 3 + [False]


@pytest.mark.anyio
async def test_tokens_of_an_answer_count_after_it_was_written() -> None:
    clock = Clock()
    quotas, limits = limiter(clock), Limits(tokens=60)
    async with quotas.request("a", limits) as quota:
        quota.spend(100)
    assert not await accepted(quotas, limits)
    clock.now = 40.0
    assert not await accepted(quotas, limits), "40 tokens came in, 40 are owed"
    clock.now = 41.0
    assert await accepted(quotas, limits)


@pytest.mark.anyio
async def test_requests_at_the_same_time_are_bounded() -> None:
    quotas, limits = limiter(), Limits(running=2)
    async with quotas.request("a", limits), quotas.request("a", limits):
        assert not await accepted(quotas, limits)
        async with quotas.request("b", limits), quotas.request("a", limits, again=True):
            pass
    assert await accepted(quotas, limits)


@pytest.mark.anyio
async def test_a_client_without_limits_has_no_headers() -> None:
    async with limiter().request("a", NO_LIMITS) as quota:
        quota.spend(9)
        assert quota.headers == {}


@pytest.mark.anyio
async def test_changed_limits_keep_what_was_used() -> None:
    quotas = limiter()
    assert [await accepted(quotas, Limits(requests=3)) for _ in range(3)] == [True] * 3
    found = [await accepted(quotas, Limits(requests=5)) for _ in range(3)]
    assert found == [True, True, False]
    assert not await accepted(quotas, Limits(requests=2))


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_no_minute_has_more_than_twice_the_allowed_requests(
    pauses: list[float], allowed: int
) -> None:
    """A full bucket and what comes in meanwhile: twice the limit in any minute, never more."""
    clock = Clock()

    async def ask() -> list[float]:
        quotas, times = limiter(clock), []
        for pause in pauses:
            clock.now += pause
            if await accepted(quotas, Limits(requests=allowed)):
                times.append(clock.now)
        return times

    times = anyio.run(ask)
    for start in times:
        assert sum(start <= time < start + 60 for time in times) <= 2 * allowed


def write(path: Path, text: str) -> ServeOptions:
    path.write_text(text)
    return ServeOptions(keys_file=str(path))


def test_limits_are_read_after_the_key(tmp_path: Path) -> None:
    text = "plain==\nk1 name=alice running=4 requests=60 tokens=100000 # since May\nk2 tokens=5\n"
    plain, alice, other = read_keys(write(tmp_path / "keys", text)).values()
    assert plain.limits == NO_LIMITS
    assert (alice.name, alice.limits) == (
        "alice",
        Limits(running=4, requests=60, tokens=100_000),
    )
    assert other.limits == Limits(tokens=5)
    assert len({client.cache_salt for client in (plain, alice, other)}) == 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("s3cret running=0", "running in .*line 1 must be an integer of at least 1"),
        ("s3cret tokens=", "tokens in .*line 1 must be an integer"),
        ("s3cret requests=1e9", "must be an integer"),
        ("s3cret request=5", "line 1 has an unknown field after the key: use name, running"),
        ("s3cret name=a/b", "the name in .*line 1 must have 1 to 64 letters"),
        ("s3cret name=a running=1\nk2 name=a", "line 2 has other limits than an earlier key of a"),
        ("s3cret 60", "contains a space"),
    ],
)
def test_invalid_limits_are_one_line_without_the_key(
    tmp_path: Path, line: str, problem: str
) -> None:
    with pytest.raises(BadOption, match=problem) as found:
        read_keys(write(tmp_path / "keys", line))
    assert "s3cret" not in str(found.value)


def test_clients_see_their_limits(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k1 requests=2 tokens=1000\nk2\n")

    async def work(gate: Gateway) -> None:
        first = await gate.ask(asked(), authorization="Bearer k1")
        assert first.status == 200
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        used = first.json["usage"]["total_tokens"]
        assert int(first.headers["x-ratelimit-remaining-tokens"]) >= 1000 - used - 1
        assert first.headers["x-ratelimit-reset-requests"].endswith("s")
        stream = await gate.ask(asked(stream=True), authorization="Bearer k1")
        assert stream.status == 200
        third = await gate.ask(asked(), authorization="Bearer k1")
        assert (third.status, third.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(third.headers["retry-after"]) <= 30
        assert third.headers["x-ratelimit-remaining-requests"] == "0"
        other = await gate.ask(asked(), authorization="Bearer k2")
        assert other.status == 200
        assert not [name for name in other.headers if name.startswith("x-ratelimit")]

    use(work, keys_file=str(keys))


def test_a_client_that_leaves_frees_its_place_and_pays_for_its_tokens(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k1 running=1 tokens=5\nk2\n")
    pair = Pair(target={"token_seconds": 0.001, "script": "so it is\n\n" * 10**5})

    async def work(gate: Gateway) -> None:
        leave, several = anyio.Event(), anyio.Event()
        body = asked(stream=True, dreamr={"method": "target"})

        def heard(answer: object) -> None:
            if getattr(answer, "body", b"").count(b"reasoning_content") > 4:
                several.set()

        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await gate.ask(body, leave=leave, heard=heard, authorization="Bearer k1")

            tasks.start_soon(ask)
            while not gate.open_streams:
                await anyio.sleep(0)
            busy = await gate.ask(asked(), authorization="Bearer k1")
            assert busy.status == 429
            assert "1 requests at the same time" in busy.json["error"]["message"]
            await several.wait()
            leave.set()
        spent = await gate.ask(asked(), authorization="Bearer k1")
        assert spent.status == 429
        assert "tokens per minute" in spent.json["error"]["message"]

    use(work, pair, keys_file=str(keys))
