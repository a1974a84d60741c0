"""Agents of common frameworks call tools through the gateway, turn by turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from support.listening import listening
from support.tool_pair import ToolPair

QUESTION = "What does tea cost?"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(ToolPair(arguments={"price_of": {"of": "tea"}})) as root:
        yield root


def price_of(of: str) -> str:
    """Return the price of something.

    Args:
        of: What.
    """
    assert of == "tea"
    return "2.50"


@pytest.mark.parametrize("api", ["responses"])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_agents_sdk_of_openai_runs_a_tool(url: str, api: str, streamed: bool) -> None:
    agents = pytest.importorskip("agents")
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(True)

    async def main() -> Any:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            kind = {
                "responses": agents.OpenAIResponsesModel,
                "chat": agents.OpenAIChatCompletionsModel,
            }[api]
            agent = agents.Agent(
                name="Clerk",
                instructions="Look prices up.",
                model=kind(model="dreamr", openai_client=client),
                tools=[agents.function_tool(price_of)],
            )
            if not streamed:
                return (await agents.Runner.run(agent, QUESTION)).final_output
            run = agents.Runner.run_streamed(agent, QUESTION)
            async for _ in run.stream_events():
                pass
            return run.final_output

    assert asyncio.run(main()) == "Tea costs 2.50."


def run_graph(chat: Any) -> list[Any]:
    """Run an agent of LangGraph and return its messages."""
    from langchain_core.tools import tool
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    tools = [tool(price_of)]
    bound = chat.bind_tools(tools)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    found: list[Any] = graph.compile().invoke({"messages": [("user", QUESTION)]})["messages"]
    return found


@pytest.mark.parametrize("streamed", [False, True])
def test_an_agent_of_langgraph_runs_a_tool_over_messages(url: str, streamed: bool) -> None:
    pytest.importorskip("langgraph")
    langchain_anthropic = pytest.importorskip("langchain_anthropic")
    found = run_graph(
        langchain_anthropic.ChatAnthropic(
            model="dreamr", base_url=url, api_key="none", max_tokens=4096, streaming=streamed
        )
    )
    assert [message.type for message in found] == ["human", "ai", "tool", "ai"]
    assert found[-1].text == "Tea costs 2.50."


@pytest.mark.parametrize("api", ["responses"])
def test_an_agent_of_langgraph_runs_a_tool_over_openai_s_apis(url: str, api: str) -> None:
    pytest.importorskip("langgraph")
    langchain_openai = pytest.importorskip("langchain_openai")
    responses = api == "responses"
    found = run_graph(
        langchain_openai.ChatOpenAI(
            model="dreamr", base_url=f"{url}/v1", api_key="none", use_responses_api=responses
        )
    )
    assert found[-1].text == "Tea costs 2.50."


def test_the_client_of_anthropic_gets_a_call_in_pieces(url: str) -> None:
    anthropic = pytest.importorskip("anthropic")
    schema = {"type": "object", "properties": {"of": {"type": "string"}}}
    with (
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client,
        client.messages.stream(
            model="dreamr",
            max_tokens=4096,
            messages=[{"role": "user", "content": QUESTION}],
            tools=[{"name": "price_of", "input_schema": schema}],
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as stream,
    ):
        for _ in stream:
            pass
        found = stream.get_final_message()
    assert [block.type for block in found.content] == ["thinking", "tool_use"]
    assert (found.content[1].name, found.content[1].input) == ("price_of", {"of": "tea"})
    assert found.stop_reason == "tool_use"


def test_the_client_of_openai_gets_a_call_as_an_item(url: str) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        tool = {"type": "function", "name": "price_of", "parameters": {"type": "object"}}
        given = {"model": "dreamr", "input": QUESTION, "tools": [tool]}
        whole = client.responses.create(**given)
        with client.responses.stream(**given) as stream:
            for _ in stream:
                pass
            streamed = stream.get_final_response()
        for found in (whole, streamed):
            *_, call = found.output
            assert (call.type, call.name, call.arguments) == (
                "function_call", "price_of", '{"of": "tea"}',
            )  # fmt: skip
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "2.50"}
        found = client.responses.create(
            model="dreamr", input=[result], previous_response_id=streamed.id, tools=[tool]
        )
    assert found.output_text == "Tea costs 2.50."
