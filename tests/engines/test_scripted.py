from __future__ import annotations

from typing import Any

import anyio
import pytest

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import Chunk, Context, Engine, Failure, SamplingParams, ScriptedEngine
from dreamr.errors import EngineError, EngineLost
from dreamr.gate import VERDICT, Evidence, Query

TALK = Conversation((Turn("user", (Text("What is 2 + 2?"),)),))


def read(engine: Engine, *prefix: str, **sampling: Any) -> list[Chunk]:
    async def main() -> list[Chunk]:
        stream = engine.stream(Context(TALK, prefix), SamplingParams(**sampling))
        return [chunk async for chunk in stream]

    return anyio.run(main)


def said(engine: Engine, *prefix: str) -> str:
    return "".join(chunk.text for chunk in read(engine, *prefix))


def judged(
    engine: Engine, prefix: tuple[str, ...], *candidates: str, query: Query = VERDICT
) -> tuple[Evidence, ...]:
    return anyio.run(engine.judge, Context(TALK, prefix), candidates, query)


def test_a_text_is_continued_where_the_prefix_is_its_beginning() -> None:
    engine = ScriptedEngine(script="one\n\ntwo")
    assert said(engine, "one\n\n") == "two"
    assert said(engine, "uno\n\n") == ""


def test_steps_are_played_by_position() -> None:
    assert said(ScriptedEngine(script=["one\n\n", "two"]), "whatever") == "two"


def test_a_mapping_leads_from_the_prefix_to_the_continuation() -> None:
    engine = ScriptedEngine(script={"": "one", "ab": "two"})
    assert [said(engine), said(engine, "a", "b"), said(engine, "c")] == ["one", "two", ""]


def test_a_function_sees_the_context() -> None:
    assert said(ScriptedEngine(script=lambda context: str(len(context.prefix))), "a", "b") == "2"


def test_one_chunk_is_one_token_and_the_last_says_stop() -> None:
    assert read(ScriptedEngine(script="so it is")) == [
        Chunk("so ", 1),
        Chunk("it ", 1),
        Chunk("is", 1, "stop"),
    ]


def test_max_tokens_cut_the_stream() -> None:
    assert [c.finish for c in read(ScriptedEngine(script="a b c"), max_tokens=2)] == [
        None,
        "length",
    ]
    assert read(ScriptedEngine(script="a b"), max_tokens=2)[-1].finish == "stop"


def test_an_empty_continuation_stops_at_once() -> None:
    assert read(ScriptedEngine()) == [Chunk("", 0, "stop")]


def test_opinions_are_ratios_or_evidence() -> None:
    assert judged(ScriptedEngine(opinion=0.75), (), "a", "b") == (Evidence(0.75, 0.25),) * 2
    assert judged(ScriptedEngine(opinion={"a": 1.0}), (), "a", "b")[1] == Evidence(0.0, 1.0)
    faint = Evidence(0.001, 0.0)
    assert judged(ScriptedEngine(opinion=lambda context, step: faint), (), "a") == (faint,)


def test_a_candidate_is_judged_after_those_before_it() -> None:
    seen: list[tuple[str, ...]] = []

    def opinion(context: Context, step: str) -> float:
        seen.append((*context.prefix, step))
        return 1.0

    judged(ScriptedEngine(opinion=opinion), ("p",), "a", "b")
    assert seen == [("p", "a"), ("p", "a", "b")]


def test_a_ratio_out_of_range_is_an_error() -> None:
    with pytest.raises(EngineError, match="ratio"):
        judged(ScriptedEngine(opinion=2.0), (), "a")


def test_a_stream_fails_after_the_given_tokens() -> None:
    engine = ScriptedEngine(script="a b c", stream_failures={1: Failure(EngineError("busy"), 2)})
    assert len(read(engine)) == 3

    chunks: list[Chunk] = []

    async def main() -> None:
        async for chunk in engine.stream(Context(TALK), SamplingParams()):
            chunks.append(chunk)

    with pytest.raises(EngineError, match="busy"):
        anyio.run(main)
    assert len(chunks) == 2
    assert len(read(engine)) == 3


def test_every_call_to_a_lost_engine_fails() -> None:
    engine = ScriptedEngine(script="a", judge_failures={0: Failure(EngineLost("gone"))})
    for _ in range(2):
        with pytest.raises(EngineLost, match="gone"):
            judged(engine, (), "a")
    with pytest.raises(EngineLost, match="gone"):
        read(engine)


def test_a_closed_engine_is_lost() -> None:
    engine = ScriptedEngine(script="a")
    anyio.run(engine.aclose)
    with pytest.raises(EngineLost, match="closed"):
        read(engine)


def test_closing_a_stream_cancels_it() -> None:
    engine = ScriptedEngine(script="a b c")

    async def main() -> None:
        stream = engine.stream(Context(TALK), SamplingParams())
        await anext(stream)
        assert engine.open_streams == 1
        await stream.aclose()

    anyio.run(main)
    assert (engine.open_streams, engine.written) == (0, 1)


def test_latencies_take_their_time() -> None:
    async def main() -> float:
        engine = ScriptedEngine(script="a b", token_seconds=0.002, judge_seconds=0.003)
        start = anyio.current_time()
        async for _ in engine.stream(Context(TALK), SamplingParams()):
            pass
        await engine.judge(Context(TALK), ["a"])
        return anyio.current_time() - start

    assert anyio.run(main) >= 0.006


def test_a_conversation_counts_its_words_and_images() -> None:
    talk = Conversation.from_prompt("How many are there?", Image(bytes(3), 1, 1))
    assert anyio.run(ScriptedEngine().count, talk) == 5


def test_more_calls_than_it_has_capacity_for_take_longer() -> None:
    async def main() -> tuple[float, float]:
        engine = ScriptedEngine(opinion=1.0, judge_seconds=0.05, capacity=2)
        took = []
        for calls in (2, 6):
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                for _ in range(calls):
                    tasks.start_soon(engine.judge, Context(TALK), ["A.\n\n"])
            took.append(anyio.current_time() - began)
        return took[0], took[1]

    few, many = anyio.run(main)
    assert few >= 0.05
    assert many >= 0.15


def test_agreement_is_computed_from_the_script() -> None:
    engine = ScriptedEngine(script="one two three four", opinion=0.0)
    (found,) = judged(engine, ("one ",), "two three five", query=Query("agreement"))
    assert (found.tokens, found.matched_tokens) == (3, 2)


def test_a_step_without_judge_prompt_gets_no_opinion() -> None:
    engine = ScriptedEngine(script="Answer: 3", opinion=1.0)
    step, answer = judged(engine, (), "one ", "Answer: 3", query=Query(unasked="Answer:"))
    assert (step.mass, answer.mass) == (1.0, 0.0)
    assert answer.tokens == 2


def test_an_opinion_becomes_a_score() -> None:
    engine = ScriptedEngine(opinion={"good": 1.0})
    good, bad = judged(engine, (), "good", "bad", query=Query("score"))
    assert good.scores.index(1.0) == 9
    assert bad.scores.index(1.0) == 0
