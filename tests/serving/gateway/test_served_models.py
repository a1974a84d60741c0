"""Names that requests can ask for: the pair, and each of its models alone."""

from __future__ import annotations

import pytest

from dreamr import RunOptions
from support.gateways import QUESTION, Answer, Gateway, Json, asked, use
from support.pairs import Pair

OF_EACH_API: dict[str, Json] = {
    "/v1/chat/completions": asked(),
    "/v1/completions": {"prompt": QUESTION},
    "/v1/messages": {"max_tokens": 4096, "messages": [{"role": "user", "content": QUESTION}]},
    "/v1/responses": {"input": QUESTION},
}


async def cards(gate: Gateway) -> list[Json]:
    found: list[Json] = (await gate.get("/v1/models")).json["data"]
    return found


def test_the_pair_and_its_models_are_listed() -> None:
    found = use(cards)
    assert [(card["id"], card["dreamr"]["method"]) for card in found] == [
        ("dreamr", "fpsr"),
        ("target", "target"),
        ("draft", "draft"),
    ]


@pytest.mark.parametrize("path", OF_EACH_API)
@pytest.mark.parametrize(("model", "sources"), [("target", {"target"}), ("draft", {"draft"})])
def test_a_model_s_own_name_runs_it_alone(path: str, model: str, sources: set[str]) -> None:
    async def work(gate: Gateway) -> Answer:
        return await gate.ask({**OF_EACH_API[path], "model": model}, path)

    found = use(work).json
    assert found["model"] == model
    assert found["dreamr"]["method"] == model
    assert {step["source"] for step in found["dreamr"]["steps"]} == sources


def test_only_models_that_are_loaded_have_names() -> None:
    found = use(cards, options=RunOptions(method="target"))
    assert [card["id"] for card in found] == ["dreamr", "target"]


def test_equal_names_are_listed_once_and_mean_the_first() -> None:
    pair = Pair(target={"name": "dreamr"}, draft={"name": "Qwen/Qwen3-VL-2B at http://a:1/v1"})

    async def work(gate: Gateway) -> tuple[list[str], str, str]:
        names = [card["id"] for card in await cards(gate)]
        pair_s = (await gate.ask(asked())).json["dreamr"]["method"]
        draft_s = (await gate.ask({**asked(), "model": names[-1]})).json["dreamr"]["method"]
        return names, pair_s, draft_s

    assert use(work, pair) == (["dreamr", "Qwen/Qwen3-VL-2B"], "fpsr", "draft")


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    async def work(gate: Gateway) -> tuple[int, str, int]:
        asked_for = await gate.ask({**asked(), "model": "gpt"})
        listed = await gate.get("/v1/models/gpt")
        return asked_for.status, asked_for.json["error"]["message"], listed.status

    status, message, listed = use(work)
    assert (status, listed) == (404, 404)
    assert message == 'there is no model "gpt"; this gateway serves "dreamr", "target", "draft"'
