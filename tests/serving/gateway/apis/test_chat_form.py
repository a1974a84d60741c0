"""Tools, formats, log-probabilities and several answers in chat completions."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from dreamr import RunOptions
from dreamr.answers import (
    AnswerForm,
    AnswerPiece,
    CallDelta,
    Choice,
    Grammar,
    JsonObject,
    JsonSchema,
    Regex,
    TokenLogprob,
)
from dreamr.conversation import Image, Text, Tool, ToolCall
from dreamr.engines import AnsweringEngine, Context, Failure
from dreamr.errors import EngineLost
from dreamr.serving.gateway.apis.chat.request import read_request
from dreamr.serving.gateway.apis.protocol import Sender
from dreamr.serving.options import ServeOptions
from support.attachments import png
from support.gateways import QUESTION, Answer, Gateway, answer, asked, use
from support.pairs import Pair

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Ask.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}
IMAGE = f"data:image/png;base64,{b64encode(png()).decode()}"
SCHEMA = {"type": "object", "properties": {"sum": {"type": "number"}}}
CALL = [
    AnswerPiece(calls=(CallDelta(0, id="a", name="weather"),), tokens=1),
    AnswerPiece(calls=(CallDelta(0, '{"city": '),), tokens=1),
    AnswerPiece(calls=(CallDelta(0, '"Rome"}'),), tokens=1),
]
OBJECT = [AnswerPiece('{"sum"', tokens=2), AnswerPiece(": 3.7}", tokens=2)]


def pair(pieces: Any = CALL, **more: Any) -> Pair:
    return Pair(target={"answers": pieces, **more})


def demanded(body: Any, pieces: Any = OBJECT) -> tuple[Context, AnswerForm]:
    """The reasoning and the form of the answer that a request leads to."""
    one = pair(pieces)
    assert answer(body, one).status == 200
    engine = one.opened["target"]
    assert isinstance(engine, AnsweringEngine)
    [found] = engine.answered
    return found


def streamed(body: Any, one: Pair) -> Answer:
    return answer({**body, "stream": True}, one)


def test_a_call_of_a_tool_is_returned_with_the_reasoning_before_it() -> None:
    found = answer(asked(tools=[WEATHER]), pair()).json
    [choice] = found["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
        }
    ]
    assert "Tea costs 2.50." in choice["message"]["reasoning_content"]
    assert (
        found["usage"]["completion_tokens"]
        > found["usage"]["completion_tokens_details"]["reasoning_tokens"]
    )
    assert found["dreamr"]["pass_through"] is None


def test_calls_stream_in_the_pieces_of_openai() -> None:
    chunks = streamed(asked(tools=[WEATHER]), pair()).chunks
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta] == [
        {
            "index": 0,
            "id": "a",
            "type": "function",
            "function": {"name": "weather", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"city": '}},
        {"index": 0, "function": {"arguments": '"Rome"}'}},
    ]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons[-1] == "tool_calls"


def test_a_text_in_a_format_streams_as_it_is_written() -> None:
    body = asked(response_format={"type": "json_object"})
    found = streamed(body, pair(OBJECT))
    assert found.said("content") == '{"sum": 3.7}'
    texts = [c["choices"][0]["delta"].get("content") for c in found.chunks if c["choices"]]
    assert [text for text in texts if text] == ['{"sum"', ": 3.7}"]
    assert answer(body, pair(OBJECT)).json["choices"][0]["message"]["content"] == '{"sum": 3.7}'


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"response_format": {"type": "json_object"}}, AnswerForm(format=JsonObject())),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "sum", "schema": SCHEMA, "strict": True},
                }
            },
            AnswerForm(format=JsonSchema(json.dumps(SCHEMA), "sum", True)),
        ),
        (
            {"structured_outputs": {"json": SCHEMA}},
            AnswerForm(format=JsonSchema(json.dumps(SCHEMA))),
        ),
        ({"structured_outputs": {"regex": "[0-9]"}}, AnswerForm(format=Regex("[0-9]"))),
        ({"structured_outputs": {"choice": ["a", "b"]}}, AnswerForm(format=Choice(("a", "b")))),
        ({"structured_outputs": {"grammar": "a"}}, AnswerForm(format=Grammar("a"))),
        ({"logprobs": True}, AnswerForm(top_logprobs=0)),
        ({"logprobs": True, "top_logprobs": 5}, AnswerForm(top_logprobs=5)),
        ({"tools": [WEATHER]}, AnswerForm()),
        ({"tools": [WEATHER], "tool_choice": "required"}, AnswerForm(tool_choice="required")),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
                "parallel_tool_calls": False,
            },
            AnswerForm(tool_choice="required", tool="weather", parallel_calls=False),
        ),
    ],
)
def test_fields_of_openai_and_vllm_become_a_form(fields: dict[str, Any], form: AnswerForm) -> None:
    assert demanded(asked(**fields))[1] == form


def test_tools_belong_to_the_prompt_of_both_models() -> None:
    context, _ = demanded(asked(tools=[WEATHER]))
    [tool] = context.conversation.tools
    parameters = json.loads(tool.parameters)
    assert (tool.name, tool.description, tool.strict) == ("weather", "Ask.", True)
    assert parameters == WEATHER["function"]["parameters"]
    plain = {"type": "function", "function": {"name": "now"}}
    context, _ = demanded(asked(tools=[plain]))
    assert context.conversation.tools == (Tool("now"),)


def test_without_a_choice_of_tools_the_answer_is_written_as_ever() -> None:
    one = pair()
    found = answer(asked(tools=[WEATHER], tool_choice="none"), one).json
    assert found["choices"][0]["message"]["content"] == "3.70"
    assert found["choices"][0]["finish_reason"] == "stop"


def loop(**result: Any) -> dict[str, Any]:
    """The second request of an agent, after its tool has run."""
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": QUESTION},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "reasoning_content": "Look it up.",
        },
        {"role": "tool", "tool_call_id": "a", **result},
    ]
    return {"model": "dreamr", "messages": messages, "tools": [WEATHER]}


def test_an_agent_goes_on_after_the_result_of_a_call_with_an_image() -> None:
    content = [
        {"type": "text", "text": "A map:"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    context, _ = demanded(loop(content=content), CALL)
    _, called, result = context.conversation.turns
    assert called.calls == (ToolCall("a", "weather", "{}"),)
    assert (called.reasoning, called.parts) == ("Look it up.", ())
    assert (result.role, result.call_id) == ("tool", "a")
    assert [type(part) for part in result.parts] == [Text, Image]


@pytest.mark.parametrize("content", ["", None, "21 degrees"])
def test_results_may_be_empty(content: str | None) -> None:
    context, _ = demanded(loop(content=content), CALL)
    assert context.conversation.turns[-1].role == "tool"


def test_an_agent_loop_of_two_turns_ends_with_an_answer() -> None:
    def play(context: Context, form: AnswerForm) -> list[AnswerPiece]:
        called = any(turn.role == "tool" for turn in context.conversation.turns)
        return [AnswerPiece("21 degrees", tokens=2)] if called else CALL

    async def work(gate: Gateway) -> list[Any]:
        body = asked(tools=[WEATHER])
        first = (await gate.ask(body)).json["choices"][0]
        messages = [*body["messages"], first["message"]]
        call = first["message"]["tool_calls"][0]["id"]
        messages.append({"role": "tool", "tool_call_id": call, "content": "21"})
        second = (await gate.ask({**body, "messages": messages})).json["choices"][0]
        return [first, second]

    first, second = use(work, pair(play))
    assert first["finish_reason"] == "tool_calls"
    assert (second["finish_reason"], second["message"]["content"]) == ("stop", "21 degrees")


def test_a_target_that_answers_alone_says_so_and_streams_its_own_reasoning_once() -> None:
    pieces = [
        AnswerPiece(reasoning="Add ", tokens=1),
        AnswerPiece(reasoning="both.", tokens=1),
        AnswerPiece("3.7", tokens=1),
    ]
    one = pair(pieces, problem="the target's server has no tool parser")
    found = answer(asked(tools=[WEATHER]), one).json
    assert found["dreamr"]["pass_through"] == "the target's server has no tool parser"
    assert found["choices"][0]["message"]["content"] == "3.7"
    assert found["choices"][0]["message"]["reasoning_content"].strip() == "Add both."
    stream = streamed(asked(tools=[WEATHER]), pair(pieces, problem="alone"))
    assert stream.said("reasoning_content").strip() == "Add both."
    assert stream.said("content") == "3.7"


def test_log_probabilities_are_those_of_the_answer() -> None:
    likely = TokenLogprob("3", -0.1, None, (TokenLogprob("3", -0.1), TokenLogprob("4", -2.0)))
    pieces = [AnswerPiece("3", tokens=1, logprobs=(likely,))]
    body = asked(logprobs=True, top_logprobs=2)
    expected = {
        "token": "3",
        "logprob": -0.1,
        "bytes": [51],
        "top_logprobs": [
            {"token": "3", "logprob": -0.1, "bytes": [51]},
            {"token": "4", "logprob": -2.0, "bytes": [52]},
        ],
    }
    whole = answer(body, pair(pieces)).json["choices"][0]
    assert whole["logprobs"] == {"content": [expected], "refusal": None}
    chunks = streamed(body, pair(pieces)).chunks
    found = [c["logprobs"]["content"] for e in chunks for c in e["choices"] if c["logprobs"]]
    assert found == [[expected]]


def test_several_answers_come_from_runs_with_seeds_of_their_own() -> None:
    seeds: list[int] = []

    class Seen(AnsweringEngine):
        def write_answer(self, context: Any, form: Any, sampling: Any) -> Any:
            seeds.append(sampling.seed)
            return super().write_answer(context, form, sampling)

    one = pair(OBJECT)
    body = asked(n=3, seed=7, response_format={"type": "json_object"})

    async def work(gate: Gateway) -> Any:
        one.opened["target"].__class__ = Seen
        return (await gate.ask(body)).json

    found = use(work, one)
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in found["choices"]} == {'{"sum": 3.7}'}
    assert sorted(seeds) == [7, 8, 9]


def test_the_usage_of_several_answers_is_their_sum() -> None:
    alone = answer(asked(seed=1)).json
    both = answer(asked(seed=1, n=2)).json
    for name in ("completion_tokens", "prompt_tokens"):
        times = 2 if name == "completion_tokens" else 1
        assert both["usage"][name] == times * alone["usage"][name]
    assert len(both["dreamr"]["steps"]) == 2 * len(alone["dreamr"]["steps"])


def test_several_answers_stream_beside_each_other() -> None:
    found = answer(asked(n=2, stream=True, stream_options={"include_usage": True}))
    by_index: dict[int, str] = {0: "", 1: ""}
    ends = []
    for chunk in found.chunks:
        for choice in chunk["choices"]:
            by_index[choice["index"]] += choice["delta"].get("content") or ""
            if choice["finish_reason"]:
                ends.append(choice["index"])
    assert by_index == {0: "3.70", 1: "3.70"}
    assert sorted(ends) == [0, 1]
    assert found.chunks[-1]["usage"]["completion_tokens"] > 0


def test_one_failure_fails_all_answers() -> None:
    lost = Pair(target={"stream_failures": {0: Failure(EngineLost("gone"))}})
    found = answer(asked(n=3), lost)
    assert found.status == 503


@pytest.mark.parametrize("events", [False, True])
def test_a_streamed_answer_whose_run_fails_has_no_end(events: bool) -> None:
    lost = Pair(target={"stream_failures": {0: Failure(EngineLost("gone"), tokens=4)}})
    found = answer(asked(n=2, stream=True, dreamr={"method": "target", "events": events}), lost)
    *before, error = found.chunks
    assert error["error"]["code"] == "engine_lost"
    assert not [one for chunk in before for one in chunk["choices"] if one["finish_reason"]]


@pytest.mark.parametrize(
    ("fields", "budget"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, 0),
        ({"reasoning_effort": "low"}, 1024),
        ({"reasoning_effort": "high"}, None),
        ({"chat_template_kwargs": {"enable_thinking": False}}, 0),
        ({"chat_template_kwargs": {"enable_thinking": True}}, None),
        ({"reasoning_effort": "low", "dreamr": {"thinking_budget": 7}}, 7),
    ],
)
def test_an_effort_becomes_a_thinking_budget(fields: dict[str, Any], budget: int | None) -> None:
    sender = Sender("me", lambda model: RunOptions(), ServeOptions())
    parsed = read_request(json.dumps(asked(**fields)).encode(), sender)
    assert parsed.options.thinking_budget == budget


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (asked(n=9), "n"),
        (asked(tools=[{"type": "retrieval"}]), "tools.0.type"),
        (asked(tools=[{"type": "function", "function": {"name": "a b"}}]), "tools.0.function.name"),
        (asked(tool_choice="always"), "tool_choice"),
        (asked(top_logprobs=3), "top_logprobs"),
        (asked(logprobs=True, top_logprobs=21), "top_logprobs"),
        (asked(response_format={"type": "json_schema"}), "response_format.json_schema"),
        (asked(structured_outputs={"structural_tag": "x"}), "structured_outputs"),
        (
            asked(response_format={"type": "json_object"}, structured_outputs={"regex": "a"}),
            "response_format",
        ),
        (asked(reasoning_effort="extreme"), "reasoning_effort"),
        ({**loop(content="x"), "messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    found = answer(body, pair())
    assert (found.status, found.json["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (asked(tool_choice="required"), "must call a tool, but there are none"),
        (asked(tools=[WEATHER, WEATHER]), "the same name"),
        ({**loop(content="x"), "messages": loop(content="x")["messages"][2:]}, "no such call"),
    ],
)
def test_what_does_not_fit_together_is_refused(body: dict[str, Any], message: str) -> None:
    found = answer(body, pair())
    assert found.status == 400
    assert message in found.json["error"]["message"]


def test_a_pair_that_is_not_served_says_what_it_needs() -> None:
    found = answer(asked(response_format={"type": "json_object"}))
    assert found.status == 400
    assert "need a served target" in found.json["error"]["message"]
