from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.gateway.data_uri import BadDataUri, is_data_uri, read_data_uri

CONTENT = bytes(range(256))
BASE64 = b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "uri",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:;BASE64,{BASE64}",
        f" \n data:image/png;base64,{BASE64} ",
        f"data:;base64,{BASE64}#fragment",
        f"data:image/png;x=1;base64,{BASE64}",
        f"data:image/png; base64,{BASE64}",
        f"data:image/png;base64 ,{BASE64}",
        f'data:image/png;name="a,b;base64,c.png";base64,{BASE64}',
        f'data:image/png;name="a\\",b.png";base64,{BASE64}',
        f'data:image/png;name="a;base64,{BASE64}',
        f"data:image/png;base64,{quote(BASE64, safe='')}",
        f"data:image/png;base64,{BASE64.rstrip('=')}",
        f"data:image/png;base64,{BASE64}==",
        f"data:image/png;base64,{BASE64[:-1]}%3d",
        "data:;base64," + "\r\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        "data:;base64," + "%0A".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        f"data:,{quote(CONTENT, safe='')}",
        f"data:image/png;base64;x=1,{quote(CONTENT, safe='')}",
        f"data:image/png;charset=base64,{quote(CONTENT, safe='')}",
    ],
)
def test_the_forms_of_the_standards_are_read(uri: str) -> None:
    assert is_data_uri(uri)
    assert read_data_uri(uri) == CONTENT


@pytest.mark.parametrize(
    "uri",
    [
        "data:", "data:image/png;base64", "data:;base64,A", "data:;base64,@@@@",
        "data:;base64,A===", "data:;base64,AA=A", "data:;base64,AA==AA", "data:;base64,AAAA=AAA",
        "data:;base64,é", "data:;base64,\ud800", "data:" + "x" * 5000 + ",",
    ],
)  # fmt: skip
def test_what_is_not_a_data_uri_is_an_error(uri: str) -> None:
    with pytest.raises(BadDataUri):
        read_data_uri(uri)


@given(st.binary(min_size=1, max_size=70), st.integers(0, 4), st.integers(65_520, 65_540))
def test_slices_lose_nothing(tail: bytes, encoded: int, filling: int) -> None:
    content = b"x" * (filling * 3 // 4) + tail
    text = b64encode(content).decode()
    if encoded:
        text = "".join(
            f"%{ord(c):02x}" if place % 5 < encoded else c for place, c in enumerate(text)
        )
    assert read_data_uri(f"data:;base64,{text}") == content


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for head in ("data:", "data:;base64,"):
        with suppress(BadDataUri):
            assert isinstance(read_data_uri(head + text), bytes)
