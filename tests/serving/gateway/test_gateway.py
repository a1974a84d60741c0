from __future__ import annotations

import anyio
import pytest

from dreamr import RunOptions
from dreamr.conversation import Text
from dreamr.engines import Context
from support.gateways import QUESTION, Answer, Gateway, answer, asked, use
from support.pairs import RIGHT, WRONG, Pair

REASONING = "".join(RIGHT[:2])


def test_an_answer_has_reasoning_content_and_usage() -> None:
    found = answer(asked())
    assert found.status == 200
    message = found.json["choices"][0]["message"]
    assert message["content"] == "3.70"
    assert message["reasoning_content"] == message["reasoning"] == REASONING
    assert found.json["choices"][0]["finish_reason"] == "stop"
    usage = found.json["usage"]
    details = usage.pop("completion_tokens_details")
    assert usage == {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}
    assert details["reasoning_tokens"] == 6
    assert details["accepted_prediction_tokens"] == 3
    # The rejected step and the tokens drafted after it.
    assert details["rejected_prediction_tokens"] >= 3
    assert [step["source"] for step in found.json["dreamr"]["steps"]] == [
        "draft", "target", "target",
    ]  # fmt: skip
    assert found.json["dreamr"]["steps"][0]["score"] == pytest.approx(0.93)
    assert found.json["dreamr"]["steps"][0]["kind"] == "ratio"


def test_a_stream_contains_the_same_texts_as_an_answer() -> None:
    found = answer(asked(stream=True, stream_options={"include_usage": True}))
    whole = answer(asked())
    assert found.headers["content-type"].startswith("text/event-stream")
    assert found.said("reasoning_content") == found.said("reasoning") == REASONING
    assert found.said("content") == "3.70"
    assert found.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    steps = [chunk["dreamr"]["step"] for chunk in found.chunks if "step" in chunk.get("dreamr", {})]
    assert [step["source"] for step in steps] == ["draft", "target", "target"]
    assert found.chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert found.chunks[-1]["choices"] == []
    assert found.chunks[-1]["usage"]["total_tokens"] == whole.json["usage"]["total_tokens"]


def test_usage_is_streamed_only_if_requested() -> None:
    chunks = answer(asked(stream=True)).chunks
    assert chunks
    assert all("usage" not in chunk for chunk in chunks)


def test_all_events_are_streamed_if_requested() -> None:
    found = answer(asked(stream=True, dreamr={"events": True}))
    events = [c["dreamr"]["event"] for c in found.chunks if "event" in c.get("dreamr", {})]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "RunStarted"
    assert kinds[-1] == "RunFinished"
    rejected = [event for event in events if event["event"] == "StepRejected"]
    assert [event["step"]["text"] for event in rejected] == [WRONG]
    assert found.said("content") == "3.70"


def test_a_request_chooses_its_method_and_limits() -> None:
    alone = answer(asked(dreamr={"method": "target"}))
    assert {step["source"] for step in alone.json["dreamr"]["steps"]} == {"target"}
    strict = answer(asked(dreamr={"threshold": 0.95}))
    assert {step["source"] for step in strict.json["dreamr"]["steps"]} == {"target"}
    short = answer(asked(max_tokens=3, dreamr={"method": "target"}))
    assert short.json["choices"][0]["finish_reason"] == "length"
    assert short.json["usage"]["completion_tokens"] == 3


def test_a_method_whose_model_is_not_loaded_is_refused() -> None:
    found = answer(asked(dreamr={"method": "fpsr"}), options=RunOptions(method="target"))
    assert found.status == 400
    assert "draft" in found.json["error"]["message"]


def test_a_stop_text_ends_the_answer_and_not_the_reasoning() -> None:
    found = answer(asked(stop=["Milk", ".7"]))
    message = found.json["choices"][0]["message"]
    assert message["content"] == "3"
    assert message["reasoning_content"] == REASONING


def test_an_answer_without_a_marker_is_the_last_step() -> None:
    pair = Pair(target={"script": [*RIGHT[:2], "So it is 3.70."]})
    for stream in (False, True):
        found = answer(asked(stream=stream), pair)
        if stream:
            assert found.said("content") == "So it is 3.70."
            assert found.said("reasoning") == REASONING
        else:
            message = found.json["choices"][0]["message"]
            assert (message["content"], message["reasoning"]) == ("So it is 3.70.", REASONING)
            assert found.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6


def test_an_answer_of_several_steps_is_sent_whole() -> None:
    found = answer(asked(stream=True), options=RunOptions(method="token-sd"))
    assert found.said("content") == "3.70"


def test_earlier_messages_reach_the_engine() -> None:
    seen: list[Context] = []

    def script(context: Context) -> str:
        seen.append(context)
        return "".join(RIGHT[len(context.prefix) :])

    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "And tea?"},
        {"role": "assistant", "content": "2.50", "reasoning_content": "dropped"},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
    ]
    body = {"model": "dreamr", "messages": turns, "dreamr": {"method": "target"}}
    assert answer(body, Pair(target={"script": script})).status == 200
    said = [(turn.role, turn.parts) for turn in seen[0].conversation.turns]
    assert said == [
        ("system", (Text("Be brief."),)),
        ("user", (Text("And tea?"),)),
        ("assistant", (Text("2.50"),)),
        ("user", (Text(QUESTION),)),
    ]


def test_interleaved_conversations_never_meet() -> None:
    def own(context: Context) -> str:
        [part] = context.conversation.turns[-1].parts
        assert isinstance(part, Text)
        return "".join([f"{part.text} one.\n\n", f"{part.text} two.\n\n", f"Answer: {part.text}"][
            len(context.prefix) :
        ])  # fmt: skip

    pair = Pair(
        target={"script": own, "opinion": 1.0, "token_seconds": 0.001}, draft={"script": own}
    )

    async def work(gate: Gateway) -> None:
        found: dict[int, Answer] = {}

        async def one(number: int) -> None:
            found[number] = await gate.ask(asked(f"q{number}", stream=number % 2 == 0))

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(one, number)
        for number, got in found.items():
            text = got.body.decode()
            assert f'"q{number} one.' in text
            others = (f'"q{other} one.' for other in range(40) if other != number)
            assert not any(other in text for other in others)
            assert (got.said("content") if number % 2 == 0 else got.json["choices"][0]["message"][
                "content"
            ]) == f"q{number}"  # fmt: skip

    use(work, pair, max_running=16)


# Other endpoints


def test_the_model_is_listed_with_its_pair() -> None:
    async def work(gate: Gateway) -> None:
        listed = await gate.get("/v1/models")
        card, *_ = listed.json["data"]
        assert card["id"] == "mine"
        assert card["dreamr"]["target"] == "target"
        assert (await gate.get("/v1/models/mine")).json == card
        assert (await gate.get("/v1/models/other")).status == 404
        body = {**asked(), "model": "other"}
        found = await gate.ask(body)
        assert (found.status, found.json["error"]["code"]) == (404, "model_not_found")

    use(work, served_model_name="mine")


def test_metrics_count_steps_that_the_draft_judged_itself_as_unverified() -> None:
    async def work(gate: Gateway) -> str:
        await gate.ask(asked())
        return (await gate.get("/metrics")).body.decode()

    options = RunOptions(gate="draft-first", draft_confidence=0.9, deterministic=True)
    assert 'dreamr:steps_total{fate="unverified",model_name="dreamr"}' in use(work, options=options)


def test_metrics_count_tokens_and_steps_by_fate() -> None:
    async def work(gate: Gateway) -> str:
        await gate.ask(asked())
        await gate.ask(asked(stream=True, stream_options={"include_usage": True}))
        return (await gate.get("/metrics")).body.decode()

    figures = use(work)
    for line in (
        'dreamr:request_success_total{finished_reason="stop",model_name="dreamr"} 2.0',
        'dreamr:prompt_tokens_total{model_name="dreamr"} 14.0',
        'dreamr:generation_tokens_total{model_name="dreamr"} 16.0',
        'dreamr:spec_decode_num_accepted_tokens_total{model_name="dreamr"} 6.0',
        'dreamr:steps_total{fate="accepted",model_name="dreamr"} 2.0',
        'dreamr:steps_total{fate="rejected",model_name="dreamr"} 2.0',
        'dreamr:steps_total{fate="target",model_name="dreamr"} 4.0',
        'dreamr:time_to_first_token_seconds_count{model_name="dreamr"} 2.0',
        "dreamr:num_requests_running 0.0",
    ):
        assert line in figures, line


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/no", "GET", 404), ("/v1/chat/completions", "GET", 405)]
)
def test_other_paths_get_errors_in_the_same_format(path: str, method: str, status: int) -> None:
    found = use(lambda gate: gate.ask(b"", path, method))
    assert found.status == status
    assert found.json["error"]["type"] == "invalid_request_error"
