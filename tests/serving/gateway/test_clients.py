"""Common clients work with a new base URL and nothing else."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator

import pytest

from support.gateways import QUESTION
from support.listening import listening
from support.pairs import RIGHT

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
    assert [model.id for model in client.models.list()] == ["dreamr"]
    assert client.models.retrieve("dreamr").owned_by == "dreamr"


def test_openai_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.chat.completions.create(model="gpt", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="n = 2"):
        client.chat.completions.create(model="dreamr", messages=MESSAGES, n=2)


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
