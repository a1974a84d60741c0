"""Servers that limit requests while they are probed: what they can do is not misjudged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from dreamr.engines.http import HttpEngine
from dreamr.errors import EngineError
from support.scoring import Scoring
from support.served_calls import use

FIELDS = ("top_logprobs", "prompt_logprobs", "logprob_token_ids")


@dataclass
class Limited(Scoring):
    """A server that refuses the first requests for evidence of each kind.

    Attributes:
        status: Status of a refusal.
        refusals: Number of refusals, for each field that asks for evidence.
    """

    status: int = 429
    refusals: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._left = dict.fromkeys(FIELDS, self.refusals)

    def _answer(self, body: dict[str, Any]) -> httpx2.Response:
        field = next((field for field in FIELDS if field in body), None)
        if field is not None and self._left[field]:
            self._left[field] -= 1
            return httpx2.Response(self.status, json={"error": {"message": "slow down"}})
        return super()._answer(body)


pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_while_it_is_probed_is_asked_again(status: int) -> None:
    async def work(engine: HttpEngine) -> None:
        able = engine.capabilities
        assert able.judge
        assert able.margins
        assert engine.server_info.label_tokens

    use(Limited(given=lambda _: 0.9, status=status, refusals=2), work)


def test_a_server_that_stays_busy_is_an_error_and_not_one_that_cannot_judge() -> None:
    async def work(engine: HttpEngine) -> None:
        pass

    with pytest.raises(EngineError, match="returned status 429: slow down"):
        use(Limited(given=lambda _: 0.9, refusals=99), work)


def test_a_server_that_fails_at_a_request_for_chosen_tokens_is_not_asked_again() -> None:
    async def work(engine: HttpEngine) -> None:
        assert engine.capabilities.judge
        assert not engine.server_info.label_tokens

    served = Limited(given=lambda _: 0.9, status=500, refusals=1)
    use(served, work)
