from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.engines.http import events
from dreamr.engines.http.events import DONE, decode
from dreamr.engines.http.retries import TransientError

A, B = {"a": "é 茶🍵"}, {"b": 2}
LINE_A, LINE_B = (json.dumps(one, ensure_ascii=False) for one in (A, B))
PRETTY = json.dumps(A, indent=2, ensure_ascii=False)


def read(*pieces: bytes, hide: str = "") -> list[tuple[str, object]]:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def main() -> list[tuple[str, object]]:
        return [event async for event in decode(body(), "http://here", hide)]

    return anyio.run(main)


def values(text: str) -> list[object]:
    return [value for _, value in read(text.encode())]


USUAL = f"data: {LINE_A}\n\ndata: {LINE_B}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    "text",
    [
        USUAL,
        USUAL.replace("\n", "\r\n"),
        USUAL.replace("\n", "\r"),
        "\ufeff" + USUAL,
        USUAL.replace("data: ", "data:"),
        USUAL.replace("data: ", "data: data: "),
        USUAL.replace("data: ", "id: 1\nretry: 5\nevent: message\nfoo\ndata: "),
        f"data: {LINE_A}\n\ndata: {LINE_B}\n\ndata: [DONE]",
        f"data: {LINE_A}\ndata: {LINE_B}\ndata: [DONE]\n",
        f"data: {LINE_A}\n\ndata:  {LINE_B} \n\ndata: [done]\n\ndata: {LINE_A}\n\n",
        f": comment\n\ndata: {LINE_A}\n\ndata:\n\ndata\n\n: {{\n\ndata: : keep-alive\n\n"
        f"event: ping\ndata: ping\n\ndata: null\n\n\n\ndata: {LINE_B}\n\ndata: [DONE]\n\n",
        "".join(f"data: {line}\n" for line in PRETTY.split("\n"))
        + f"\ndata: {LINE_B}\n\ndata: [DONE]\n\n",
        f"{LINE_A}\n{LINE_B}\n[DONE]\n",
        f"\n\n{LINE_A}\n\n{LINE_B}\n\ndata: [DONE]",
    ],
)
def test_every_form_of_a_stream_gives_the_same_events(text: str) -> None:
    assert values(text) == [A, B, DONE]


@given(st.sampled_from([USUAL, USUAL.replace("\n", "\r\n"), USUAL.replace("\n", "\r")]), st.data())
def test_events_do_not_depend_on_the_pieces_of_the_body(text: str, data: st.DataObject) -> None:
    body = ("\ufeff" + text).encode()
    ends = data.draw(st.lists(st.integers(0, len(body)), max_size=8).map(sorted))
    places = [0, *ends, len(body)]
    pieces = [body[a:b] for a, b in pairwise(places)]
    assert [value for _, value in read(*pieces)] == [A, B, DONE]


@pytest.mark.parametrize("text", [PRETTY, LINE_A, f"\ufeff \n{PRETTY}\n"])
def test_a_whole_json_response_is_one_event(text: str) -> None:
    assert values(text) == [A]


def test_errors_have_a_name() -> None:
    text = f'event: error\ndata: lost\n\nerror: {LINE_A}\n\nevent: Error\ndata: "x"\n\n'
    assert read(text.encode()) == [("error", "lost"), ("error", A), ("Error", "x")]


def test_events_before_a_damaged_one_arrive() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield f"data: {LINE_A}\n\ndata: {LINE_B[:-1]}\n\n".encode()

    async def main() -> None:
        found = decode(body(), "http://here")
        assert await anext(found) == ("", A)
        with pytest.raises(TransientError, match="not JSON"):
            await anext(found)

    anyio.run(main)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"data: {LINE_A[:-1]}".encode(), "in the middle of"),
        (LINE_A[:-1].encode(), "in the middle of"),
        (b"data: " + b'{"a":' * 100_000 + b"\n\n", "not JSON"),
        (b'data: {"a": ' + b"9" * 5000 + b"}\n\n", "not JSON"),
        (b'data: {"a": "\xff"}\n\n', "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"<html>502 Bad Gateway</html>", "did not stream its answer but sent: <html>502"),
        (b"upstream timed out", "did not stream its answer but sent: upstream timed out"),
    ],
)
def test_a_damaged_body_is_a_failure_that_names_the_server(body: bytes, message: str) -> None:
    with pytest.raises(TransientError, match=f"http://here .*{message}"):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Bad token: KEY</html>",
        b"x " * 130 + b"KEY",  # cut inside the key otherwise
        b'data: {"a": "KEY\n\n',
        b'{"a": "KEY',
        b'data: {}\n\ndata/ "KEY"\n\n',
    ],
)
def test_a_key_that_a_damaged_body_repeats_is_not_shown(body: bytes) -> None:
    key = "sk-" + "s3cret" * 10
    with pytest.raises(TransientError) as found:
        read(body.replace(b"KEY", key.encode()), hide=key)
    assert "***" in str(found.value.final)
    assert "s3cret" not in str(found.value.final)


def test_an_event_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MOST_BYTES", 100)
    for begin in (b"data: ", b"{"):
        with pytest.raises(TransientError, match="an event of over"):
            read(begin, b"x" * 101)
    assert len(read(*[b"data: {}\n\n"] * 50)) == 50


@pytest.mark.parametrize("body", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n", b": hello\n"])
def test_an_empty_body_has_no_events(body: bytes) -> None:
    assert read(body) == []
