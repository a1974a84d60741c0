"""Common clients work with a new base URL and nothing else."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator, Sequence

import pytest
from pydantic import BaseModel

from dreamr.answers import AnswerForm, AnswerPiece, CallDelta, TokenLogprob
from dreamr.engines import Context
from support.gateways import QUESTION
from support.listening import listening
from support.pairs import RIGHT, Pair

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # otherwise it downloads a file
openai = pytest.importorskip("openai")

MESSAGES = [{"role": "user", "content": QUESTION}]
REASONING = "".join(RIGHT[:2])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening() as root:
        yield f"{root}/v1"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as found:
        yield found


def test_openai_gets_answer_reasoning_and_usage(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="dreamr", messages=MESSAGES)
    assert found.choices[0].message.content == "3.70"
    assert found.choices[0].message.reasoning_content == REASONING
    assert found.usage.completion_tokens_details.accepted_prediction_tokens == 3


def test_openai_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="dreamr",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"dreamr": {"method": "target"}},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "3.70"
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == REASONING
    assert chunks[-1].usage.total_tokens == 15


def test_openai_closes_a_stream_early(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="dreamr", messages=MESSAGES, stream=True)
    with stream:
        next(stream)
    del stream
    gc.collect()  # the client imports a module to end it, which must not happen within an import
    assert client.chat.completions.create(model="dreamr", messages=MESSAGES).choices


def test_openai_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["dreamr", "target", "draft"]
    assert client.models.retrieve("dreamr").owned_by == "dreamr"


def test_openai_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.chat.completions.create(model="gpt", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="n must be at most 8"):
        client.chat.completions.create(model="dreamr", messages=MESSAGES, n=9)


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = (
    AnswerPiece(calls=(CallDelta(0, id="a", name="weather"),), tokens=1),
    AnswerPiece(calls=(CallDelta(0, '{"city": "Rome"}'),), tokens=2),
)


def played(context: Context, form: AnswerForm) -> Sequence[AnswerPiece]:
    """An agent that calls a tool, then answers; JSON if that is demanded."""
    if form.format is not None:
        return [AnswerPiece('{"total": 3.7}', tokens=3)]
    if form.top_logprobs is not None:
        return [AnswerPiece("3.70", tokens=1, logprobs=(TokenLogprob("3.70", -0.5),))]
    called = any(turn.role == "tool" for turn in context.conversation.turns)
    return [AnswerPiece("21 degrees", tokens=2)] if called else CALL


@pytest.fixture(scope="module")
def agent() -> Iterator[openai.OpenAI]:
    with (
        listening(Pair(target={"answers": played})) as root,
        openai.OpenAI(base_url=f"{root}/v1", api_key="none", max_retries=0) as found,
    ):
        yield found


def test_openai_runs_an_agent_loop(agent: openai.OpenAI) -> None:
    given = {"model": "dreamr", "tools": [WEATHER]}
    first = agent.chat.completions.create(messages=MESSAGES, **given)
    [call] = first.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Rome"}')
    result = {"role": "tool", "tool_call_id": call.id, "content": "21"}
    turns = [*MESSAGES, first.choices[0].message, result]
    second = agent.chat.completions.create(messages=turns, **given)
    assert second.choices[0].message.content == "21 degrees"


def test_openai_collects_the_pieces_of_calls(agent: openai.OpenAI) -> None:
    with agent.chat.completions.stream(
        model="dreamr", messages=MESSAGES, tools=[WEATHER]
    ) as stream:
        kinds = {event.type for event in stream}
        found = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    assert found.choices[0].finish_reason == "tool_calls"
    assert found.choices[0].message.tool_calls[0].function.arguments == '{"city": "Rome"}'


def test_openai_parses_an_answer_in_a_schema(agent: openai.OpenAI) -> None:
    class Bill(BaseModel):
        total: float

    found = agent.chat.completions.parse(model="dreamr", messages=MESSAGES, response_format=Bill)
    assert found.choices[0].message.parsed == Bill(total=3.7)


def test_openai_gets_log_probabilities_and_several_answers(agent: openai.OpenAI) -> None:
    found = agent.chat.completions.create(
        model="dreamr", messages=MESSAGES, logprobs=True, top_logprobs=2, n=2
    )
    assert [choice.index for choice in found.choices] == [0, 1]
    assert found.choices[1].logprobs.content[0].logprob == -0.5


def test_langchain_calls_tools_and_parses_a_schema(agent: openai.OpenAI) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    url = str(agent.base_url)
    chat = langchain_openai.ChatOpenAI(model="dreamr", base_url=url, api_key="none")
    [call] = chat.bind_tools([WEATHER]).invoke(QUESTION).tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Rome"})
    schema = {"title": "bill", "type": "object", "properties": {"total": {"type": "number"}}}
    assert chat.with_structured_output(schema).invoke(QUESTION) == {"total": 3.7}


@pytest.mark.slow
def test_litellm_answers_and_streams(url: str) -> None:
    litellm = pytest.importorskip("litellm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"model": "openai/dreamr", "messages": MESSAGES, "api_base": url, "api_key": "none"}
        found = litellm.completion(**given)
        assert found.choices[0].message.content == "3.70"
        assert found.choices[0].message.reasoning_content == REASONING
        stream = list(litellm.completion(**given, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in stream) == "3.70"


def test_langchain_answers_and_streams(url: str) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    chat = langchain_openai.ChatOpenAI(model="dreamr", base_url=url, api_key="none")
    assert chat.invoke(QUESTION).content == "3.70"
    assert "".join(chunk.text for chunk in chat.stream(QUESTION)) == "3.70"


def test_requests_of_open_webui_are_understood(client: openai.OpenAI, url: str) -> None:
    """Calls as in its source code: the list of models, then a stream with its own fields."""
    import httpx2

    models = httpx2.get(f"{url}/models", headers={"Authorization": "Bearer none"}).json()
    assert models["data"][0]["id"] == "dreamr"
    body = {
        "stream": True,
        "model": "dreamr",
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        "stream_options": {"include_usage": True},
        "metadata": {"chat_id": "1"},
        "files": [],
        "features": {},
        "session_id": "1",
        "chat_id": "1",
    }
    with httpx2.stream("POST", f"{url}/chat/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.status_code == 200
    assert lines[-1] == "data: [DONE]"
