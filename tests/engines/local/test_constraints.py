"""Formats of answers, kept by masks over the vocabulary."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch

from dreamr.answers import AnswerFormat, Choice, Grammar, JsonObject, JsonSchema, Regex
from dreamr.engines.local.constraints import Constraints
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.sampling import choose
from dreamr.engines.local.tool_calls import CallChoice, CallParser, Wanted
from dreamr.engines.protocol import SamplingParams
from dreamr.errors import Unsupported
from support.local_calls import session_of, stream
from support.local_models import conversation

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "integer", "maximum": 99}, "paid": {"type": "boolean"}},
    "required": ["total", "paid"],
    "additionalProperties": False,
}
PRICE = {"type": "object", "properties": {"of": {"enum": ["tea", "milk"]}}, "required": ["of"]}
CALLS = CallChoice((("price", json.dumps(PRICE)), ("stop", "{}")), 2)


def written(loaded: Loaded, wanted: Wanted, tokens: int = 200, **sampling: Any) -> str:
    """Return what a random model writes in a format."""
    sampled = SamplingParams(tokens, **sampling)
    found = stream(
        loaded, session_of(loaded, conversation()), ("Tea.\n\n",), sampled, wanted=wanted
    )
    return "".join(piece.text for piece in found)


@pytest.mark.parametrize("seed", range(4))
def test_any_model_keeps_to_a_schema(text_model: Loaded, seed: int) -> None:
    wanted = Wanted(JsonSchema(json.dumps(SCHEMA)))
    found = json.loads(written(text_model, wanted, temperature=float(seed), seed=seed))
    assert found.keys() == {"total", "paid"}
    assert isinstance(found["paid"], bool)


def test_models_with_images_keep_to_a_schema_too(loaded: Loaded) -> None:
    assert json.loads(written(loaded, Wanted(JsonSchema(json.dumps(SCHEMA)))))


@pytest.mark.parametrize(
    ("format_", "pattern"),
    [
        (Regex("[0-9]{2}/[0-9]{2}"), r"\d\d/\d\d"),
        (Choice(("accept", 'say "no"')), 'accept|say "no"'),
        (Grammar('start: "a" "b"+ "c"'), "ab+c"),
    ],
)
def test_other_formats_are_kept(text_model: Loaded, format_: AnswerFormat, pattern: str) -> None:
    said = written(text_model, Wanted(format_), 40, temperature=1.0, seed=3)
    assert re.fullmatch(pattern, said), said


def test_an_object_that_ends_can_be_read(text_model: Loaded) -> None:
    said = [
        written(text_model, Wanted(JsonObject()), 40, temperature=1.0, seed=seed)
        for seed in range(6)
    ]
    assert all(text.startswith("{") for text in said)
    ended = [json.loads(text) for text in said if text.endswith("}")]  # others reach the limit
    assert ended
    assert all(isinstance(one, dict) for one in ended)


def test_an_answer_that_must_call_has_calls_only(text_model: Loaded) -> None:
    called = set()
    for seed in range(4):
        text = written(text_model, Wanted(None, CALLS), 300, temperature=1.0, seed=seed)
        said, calls = CallParser().push(text, last=True)
        assert said == ""
        assert 1 <= len(calls) <= 2
        for call in calls:
            called.add(call.name)
            given = json.loads(call.arguments)
            assert call.name == "stop" or given["of"] in ("tea", "milk")
    assert called == {"price", "stop"}


def test_an_answer_may_be_a_call_or_text_in_a_format(text_model: Loaded) -> None:
    wanted = Wanted(Choice(("none",)), CALLS)
    said = {written(text_model, wanted, 300, temperature=3.0, seed=seed) for seed in range(12)}
    assert "none" in said
    assert any(text.startswith("<tool_call>") for text in said)


def test_the_end_is_allowed_where_the_format_may_end(text_model: Loaded) -> None:
    constraint = text_model.constraints.constraint(Wanted(Regex("a*")))
    logits = torch.zeros(400)
    logits[list(text_model.ends)] = 1
    assert choose(constraint.masked(logits), SamplingParams(1), 0)[0] in text_model.ends


def test_logits_beyond_the_vocabulary_have_no_mass(text_model: Loaded) -> None:
    constraint = text_model.constraints.constraint(Wanted(Regex("a")))
    assert constraint.masked(torch.zeros(512))[400:].max() == float("-inf")


@pytest.mark.parametrize(
    "format_", [Regex("(["), Grammar("start: nothing"), JsonSchema('{"type": "colour"}')]
)
def test_a_format_that_cannot_be_read_is_one_line(
    text_model: Loaded, format_: AnswerFormat
) -> None:
    constraints: Constraints = text_model.constraints
    with pytest.raises(Unsupported, match="format of the answer is not supported") as found:
        constraints.constraint(Wanted(format_))
    assert "\n" not in str(found.value)
