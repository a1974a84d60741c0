from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.gateway import body as _body
from dreamr.serving.gateway.body import JsonScanner
from dreamr.serving.gateway.errors import ApiError
from support.gateways import answer, asked, use

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('\\/+"u0, é𝄞\u0001', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def pieces(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def scanned(text: bytes, size: int, values: int = 10**6, escapes: int = 10**6) -> bytes:
    scanner = JsonScanner(values, escapes)
    return b"".join(scanner.feed(piece) for piece in pieces(text, size))


def count(value: Any) -> int:
    match value:
        case list():
            return 1 + sum(map(count, value))
        case dict():
            return 1 + sum(map(count, value.values()))
        case _:
            return 1


@given(VALUES, st.integers(1, 30), st.booleans())
def test_scanning_does_not_change_what_a_body_says(value: Any, size: int, ascii_: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_).replace("/", "\\/").replace("+", "\\u002B")
    assert json.loads(scanned(text.encode(), size)) == value


@given(VALUES, st.integers(1, 30))
def test_values_are_counted_wherever_pieces_end(value: Any, size: int) -> None:
    text = json.dumps(value).encode()
    scanned(text, size, values=4 * count(value) + 1)
    if count(value) > 1:
        with pytest.raises(ApiError, match="too many values"):
            scanned(text, size, values=(count(value) - 1) // 2 - 1)


def test_base64_with_needless_escapes_is_written_without() -> None:
    assert scanned(rb'{"url":"a\/b\u002Bc\u002bd"}', 100) == b'{"url":"a/b+c+d"}'
    kept = rb'["a\\/b", "\\u002B"]'  # a backslash, then a slash
    for size in range(1, len(kept) + 1):
        assert json.loads(scanned(kept, size)) == ["a\\/b", "\\u002B"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"model":"dreamr","messages":[' + b'{"role":"user","content":"x"},' * 9_000, "values"),
        (b'{"zz":[' + b"1," * 90_000 + b"1]}", "values"),
        (b'{"zz":' + b"[" * 90_000, "values"),
        (b"{" + b",".join(b'"%x":1' % n for n in range(50_000)) + b"}", "values"),
        (b'"' * 90_000, "values"),
        (b'{"n":"' + b"\\u0001" * 1_100_000 + b'"}', "escaped"),
        (b'{"n":"' + b'\\"' * 1_100_000, "escaped"),
        (b'{"model":' + b" " * 5_000_000 + b'"dreamr"}', "outside of strings"),
        (b"1" * 5_000_000, "outside of strings"),
    ],
)
def test_a_body_that_would_take_long_to_parse_is_refused(text: bytes, reason: str) -> None:
    found = answer(text)
    assert found.status == 400
    assert reason in found.json["error"]["message"]


def test_a_body_is_refused_before_all_of_it_is_read() -> None:
    read = 0

    def endless() -> Any:
        nonlocal read
        for _ in range(10_000):
            read += 1
            yield b"[]," * 1000

    assert use(lambda gate: gate.ask(pieces=endless())).status == 400
    assert read < 30


def test_unknown_fields_are_counted_and_the_first_are_named() -> None:
    more = {f"{'x' * 100}{number:04}": 1 for number in range(3000)}
    found = answer(asked(**more)).json["dreamr"]
    assert found["ignored_count"] == 3000
    assert len(found["ignored"]) == 20
    assert max(map(len, found["ignored"])) <= 80


@pytest.mark.parametrize("field", ["n", "model", "stream", "dreamr", "stop", "other"])
def test_megabytes_in_a_field_are_not_sent_back(field: str) -> None:
    for value in ("x" * 2_000_000, ["x" * 2_000_000], {"x" * 2_000_000: "y" * 100_000}):
        found = answer(asked(**{field: value}))
        assert found.status in (200, 400, 404)
        assert len(found.body) < 20_000


def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    read = 0

    def pieces() -> Any:
        nonlocal read
        for _ in range(200_000):
            read += 1000
            yield b"x" * 1000

    found = use(lambda gate: gate.ask(pieces=pieces()), max_body=5000)
    assert found.status == 413
    assert found.json["error"]["message"] == (
        "the request body has more than 5,000 bytes: send less, or raise --max-body of the gateway"
    )
    assert read <= 8000


def test_a_body_that_does_not_arrive_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_body, "BODY_SECONDS", 0.01)

    async def nothing() -> Any:
        await anyio.sleep_forever()

    assert use(lambda gate: gate.ask(receive=nothing)).status == 408
