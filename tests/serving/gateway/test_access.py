"""Who may send requests, and what the log keeps of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.gateways import QUESTION, Gateway, answer, asked, use


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_length": "999999999999"}, 413),
        ({"host": "evil.example"}, 400),
    ],
)
def test_requests_that_other_web_pages_could_send_are_refused(
    headers: dict[str, str], status: int
) -> None:
    assert use(lambda gate: gate.ask(asked(), **headers)).status == status


def test_keys_are_required_and_never_logged(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "keys"
    file.write_text("# who\nsk-one\nsk-two\n")

    async def work(gate: Gateway) -> None:
        for headers in ({}, {"authorization": "Bearer sk-three"}, {"authorization": "sk-one"}):
            for found in (
                await gate.ask(asked(), **headers),
                await gate.get("/v1/models", **headers),
            ):
                assert found.status == 401
                assert found.json["error"]["code"] == "invalid_api_key"
        for key in ("sk-one", "sk-two"):
            found = await gate.ask(asked(), authorization=f"Bearer {key}")
            assert found.status == 200
        assert (await gate.get("/health")).status == 200

    use(work, keys_file=str(file))
    assert "refused with 401" in caplog.text
    assert "sk-" not in caplog.text


def test_texts_are_logged_only_with_log_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    answer(asked())
    answer(asked([{"type": "image_url", "image_url": {"url": "secret"}}]))
    assert "200 in" in caplog.text
    assert "tea" not in caplog.text.lower()
    assert "secret" not in caplog.text
    answer(asked(), log_text=True)
    assert QUESTION in caplog.text


def test_other_origins_are_allowed_by_name_only() -> None:
    async def work(gate: Gateway) -> list[str | None]:
        return [
            (await gate.get("/v1/models", origin=origin)).headers.get("access-control-allow-origin")
            for origin in ("https://mine.example", "https://other.example")
        ]

    assert use(work, allowed_origins="https://mine.example") == ["https://mine.example", None]
    assert use(work) == [None, None]
