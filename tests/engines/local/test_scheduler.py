"""Order of work in a worker: judge calls first, streams in turn, none beyond its credit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamr.conversation import Conversation
from dreamr.engines import SamplingParams
from dreamr.engines.local.ipc import (
    Cancel,
    ExtendJudge,
    Failed,
    Forget,
    JudgeReply,
    JudgeRequest,
    Piece,
    Remember,
    Stream,
    Taken,
)
from dreamr.engines.local.judging import judging_or_reason
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.scheduler import Scheduler
from dreamr.engines.local.session import Session
from dreamr.engines.local.stream import StreamTask
from dreamr.engines.prompts import Questions
from dreamr.gate import Labels
from support.local_calls import all_same
from support.local_models import conversation, image, judging

Open = Callable[..., tuple[Scheduler, list[Any]]]


@pytest.fixture
def serve(text_model: Loaded) -> Open:
    """Return a function that makes a scheduler with conversations 0 .. n and lists its messages."""
    endless = Loaded(text_model.model, text_model.prompter, frozenset())

    def start(*talks: Conversation, **options: Any) -> tuple[Scheduler, list[Any]]:
        sent: list[Any] = []
        options = {"gather": 0.0, **options}
        peek = options.pop("peek", tuple)
        scheduler = Scheduler(endless, judging(endless), LocalOptions(**options), sent.append, peek)
        for key, talk in enumerate(talks or [conversation()]):
            scheduler.handle(Remember.of(key, talk))
        return scheduler, sent

    return start


def drain(scheduler: Scheduler) -> int:
    """Work until nothing is left to do; return the number of units."""
    units = 0
    while scheduler.work():
        units += 1
    return units


def calls(sent: list[Any]) -> list[int]:
    return [message.call for message in sent]


def test_a_stream_stops_at_its_credit_and_continues_when_tokens_are_taken(serve: Open) -> None:
    scheduler, sent = serve(ahead=5)
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    drain(scheduler)
    assert len(sent) == 5
    scheduler.handle(Taken(1, 3))
    drain(scheduler)
    assert len(sent) == 8


def test_a_pass_is_aborted_when_all_its_calls_are_canceled(serve: Open) -> None:
    scheduler, sent = serve(peek=lambda: [Cancel(1)])
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    drain(scheduler)
    assert sent == []
    (branch,) = scheduler.sessions[0].branches
    assert (branch.ids, branch.busy) == ([], False)
    scheduler.handle(Cancel(1))  # is handled after the unit
    scheduler.handle(Stream(2, 0, (), SamplingParams(3)))
    drain(scheduler)
    assert calls(sent) == [2, 2, 2]


@pytest.mark.parametrize(
    "still_waits",
    [Stream(2, 0, (), SamplingParams(3)), JudgeRequest(2, 0, (), ("Tea is hot.\n\n",))],
)
def test_a_pass_continues_if_another_call_of_its_conversation_waits(
    serve: Open, still_waits: Stream | JudgeRequest
) -> None:
    scheduler, _ = serve(peek=lambda: [Cancel(1), still_waits])
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.work()
    scheduler.work()
    assert scheduler.sessions[0].branches[0].ids


def test_a_pass_continues_while_one_of_its_calls_is_active(serve: Open) -> None:
    talks = [conversation("What is tea?"), conversation("What is milk?")]
    scheduler, sent = serve(*talks, peek=lambda: [Cancel(1)])
    scheduler.handle(Stream(1, 0, (), SamplingParams(2)))
    scheduler.handle(Stream(2, 1, (), SamplingParams(2)))
    drain(scheduler)
    assert 2 in calls(sent)


def test_fast_tokens_are_sent_together_without_loss(serve: Open) -> None:
    apart, pieces = serve(ahead=20)
    together, chunks = serve(ahead=20, gather=60.0)
    for scheduler in (apart, together):
        scheduler.handle(Stream(1, 0, (), SamplingParams(50, logprobs=True)))
        drain(scheduler)
        scheduler.handle(Taken(1, 40))
        drain(scheduler)
    assert len(pieces) == 50
    assert len(chunks) < 10
    assert "".join(piece.text for piece in chunks) == "".join(piece.text for piece in pieces)
    assert sum(piece.tokens for piece in chunks) == 50
    assert sum(piece.logprob for piece in chunks) == pytest.approx(
        sum(piece.logprob for piece in pieces)
    )
    assert min(piece.min_logprob for piece in chunks) == min(piece.min_logprob for piece in pieces)
    assert all(piece.min_logprob == piece.logprob for piece in pieces)
    assert chunks[-1].finish == "length"


def test_the_end_of_a_line_is_never_held_back(text_model: Loaded) -> None:
    task = StreamTask(
        1,
        Session(text_model, conversation()),
        (),
        SamplingParams(9),
        loaded=text_model,
        credit=9,
        prefill=64,
    )
    first = task.gather(Piece(1, "Tea", 1, None, -1.0, -1.0), 60.0)  # nothing was sent before
    assert first is not None
    assert task.gather(Piece(1, " is", 1, None, -1.0, -1.0), 60.0) is None
    line = task.gather(Piece(1, " hot.\n\n", 1, None, -1.0, -1.0), 60.0)
    assert line == Piece(1, " is hot.\n\n", 2, None, -2.0, -1.0)


def test_streams_take_turns(serve: Open) -> None:
    scheduler, sent = serve(conversation("One?"), conversation("Two?"), ahead=4)
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.handle(Stream(2, 1, (), SamplingParams(50)))
    drain(scheduler)
    assert calls(sent) == [1, 2] * 4


def test_judge_calls_go_first(serve: Open) -> None:
    scheduler, sent = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.work()
    scheduler.work()
    scheduler.handle(JudgeRequest(2, 0, (), ("Tea.",)))
    scheduler.work()
    assert calls(sent) == [1, 2]
    assert isinstance(sent[-1], JudgeReply)


def units_until_a_piece(scheduler: Scheduler, sent: list[Any], call: int, *judged: int) -> int:
    """Return the units until a stream sends text, if more judge calls arrive before each unit."""
    for unit in range(40):
        if any(isinstance(message, Piece) and message.call == call for message in sent):
            return unit
        for key in judged:
            scheduler.handle(JudgeRequest(100 + unit, key, (), ("Tea.",)))
        scheduler.work()
    raise AssertionError("no piece in 40 units")


@pytest.mark.parametrize("prefill", [512, 4])
def test_a_stream_is_served_while_other_conversations_are_always_judged(
    serve: Open, prefill: int
) -> None:
    scheduler, sent = serve(conversation("One?"), conversation("Two?"), prefill=prefill)
    scheduler.handle(JudgeRequest(2, 0, (), ("Tea.",)))
    scheduler.handle(Stream(1, 1, (), SamplingParams(50)))
    assert units_until_a_piece(scheduler, sent, 1, 0) < 20
    sent.clear()  # it is open now
    assert units_until_a_piece(scheduler, sent, 1, 0) < 5


def test_streams_that_wait_are_opened_in_order_while_others_are_judged(serve: Open) -> None:
    scheduler, sent = serve(*(conversation(f"Case {n}?") for n in range(4)))
    scheduler.handle(JudgeRequest(9, 0, (), ("Tea.",)))
    for number in (1, 2, 3):
        scheduler.handle(Stream(number, number, (), SamplingParams(50)))
    assert units_until_a_piece(scheduler, sent, 3, 0) < 10
    pieces = [message.call for message in sent if isinstance(message, Piece)]
    assert list(dict.fromkeys(pieces)) == [1, 2, 3]


def test_a_stream_is_served_while_its_own_conversation_is_always_judged(serve: Open) -> None:
    """Several runs of one question share a conversation."""
    scheduler, sent = serve()
    scheduler.handle(JudgeRequest(2, 0, (), ("Tea.",)))
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    assert units_until_a_piece(scheduler, sent, 1, 0) < 30
    sent.clear()
    assert units_until_a_piece(scheduler, sent, 1, 0) < 30


def test_a_judge_call_can_be_extended_until_it_begins(serve: Open) -> None:
    scheduler, sent = serve()
    scheduler.handle(JudgeRequest(1, 0, (), ("One.",)))
    scheduler.handle(ExtendJudge(1, ("Two.",)))
    scheduler.handle(ExtendJudge(1, ("Three.",)))
    drain(scheduler)
    scheduler.handle(ExtendJudge(1, ("Four.",)))
    assert drain(scheduler) == 0
    scheduler.handle(JudgeRequest(2, 0, (), ("One.", "Two.", "Three.")))
    drain(scheduler)
    grown, whole = sent
    assert len(grown.evidence) == 3
    assert all_same(grown.evidence, whole.evidence)


def test_the_worker_waits_for_messages_after_verdicts(serve: Open) -> None:
    scheduler, _ = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.handle(JudgeRequest(2, 0, (), ("One.",)))
    scheduler.work()
    assert 0 < scheduler.patience < 0.01
    scheduler.work()
    assert scheduler.patience == 0


def test_a_canceled_stream_sends_no_further_token(serve: Open) -> None:
    scheduler, sent = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.work()
    scheduler.work()
    scheduler.handle(Cancel(1))
    assert not scheduler.work()
    assert calls(sent) == [1]
    assert not any(branch.busy for session in scheduler.sessions for branch in session.branches)


def test_calls_canceled_while_waiting_do_not_begin(serve: Open) -> None:
    scheduler, sent = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.handle(JudgeRequest(2, 0, (), ("Tea.",)))
    scheduler.handle(Cancel(1))
    scheduler.handle(Cancel(2))
    assert drain(scheduler) == 0
    assert sent == []


def test_a_finished_stream_ignores_further_messages(serve: Open) -> None:
    scheduler, sent = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(3)))
    drain(scheduler)
    assert [piece.finish for piece in sent] == [None, None, "length"]
    scheduler.handle(Taken(1, 3))
    scheduler.handle(Cancel(1))
    assert drain(scheduler) == 0


def test_a_failing_call_does_not_affect_others(serve: Open) -> None:
    scheduler, sent = serve(conversation(), conversation("See?", image(1)), ahead=3)
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.handle(Stream(2, 1, (), SamplingParams(50)))
    scheduler.handle(JudgeRequest(3, 0, (), ("apple " * 700,)))
    drain(scheduler)
    failed = {message.call: message for message in sent if isinstance(message, Failed)}
    assert {call: message.kind for call, message in failed.items()} == {
        2: "Unsupported",
        3: "ContextTooLong",
    }
    assert "\n" not in failed[3].message
    assert len([message for message in sent if isinstance(message, Piece)]) == 3


def test_a_model_that_cannot_judge_can_still_stream(text_model: Loaded) -> None:
    alike = LocalOptions(labels=Labels(("qxq",), ("qyq",)))
    sent: list[Any] = []
    judging = judging_or_reason(text_model, Questions(), alike)
    scheduler = Scheduler(text_model, judging, alike, sent.append)
    scheduler.handle(Remember.of(0, conversation()))
    scheduler.handle(JudgeRequest(1, 0, (), ("Tea.",)))
    scheduler.handle(Stream(2, 0, (), SamplingParams(2)))
    drain(scheduler)
    assert sent[0].kind == "Unsupported"
    assert "no token distinguishes the label 'qxq'" in sent[0].message
    assert calls(sent[1:]) == [2, 2]


def test_an_unexpected_error_fails_its_call_with_one_line(serve: Open, text_model: Loaded) -> None:
    scheduler, sent = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(50)))
    scheduler.work()
    decoder, text_model.model.decoder = text_model.model.decoder, None
    try:
        scheduler.work()
    finally:
        text_model.model.decoder = decoder
    assert sent[-1].kind == "EngineError"
    assert sent[-1].message.startswith("the model failed: AttributeError")
    scheduler.handle(Stream(2, 0, (), SamplingParams(2)))
    drain(scheduler)
    assert sent[-1].finish == "length"


def test_least_recently_used_conversations_are_freed_first(serve: Open) -> None:
    talks = [conversation(f"Case {number}?") for number in range(3)]
    one = 2 * 3 * 2 * 256 * 32 * 4  # keys and values of three layers, two heads, float32
    scheduler, _ = serve(*talks, cache_bytes=2 * one)
    for call, key in enumerate([0, 1, 0, 2]):
        scheduler.handle(Stream(call, key, (), SamplingParams(2)))
        drain(scheduler)
    assert [session.nbytes for session in scheduler.sessions] == [0, one, one]


def test_conversations_in_use_are_never_freed(serve: Open) -> None:
    scheduler, sent = serve(*(conversation(f"Case {n}?") for n in range(3)), cache_bytes=1, ahead=2)
    for number in range(3):
        scheduler.handle(Stream(number, number, (), SamplingParams(4)))
    drain(scheduler)
    for number in range(3):
        scheduler.handle(Taken(number, 2))
    drain(scheduler)
    alone, expected = serve(conversation("Case 1?"))
    alone.handle(Stream(1, 0, (), SamplingParams(4)))
    drain(alone)
    assert [piece.text for piece in sent if piece.call == 1] == [piece.text for piece in expected]


def test_a_waiting_call_is_served_after_its_conversation_is_forgotten(serve: Open) -> None:
    scheduler, sent = serve()
    scheduler.handle(Stream(1, 0, (), SamplingParams(2)))
    scheduler.handle(Forget(0))
    drain(scheduler)
    assert len(sent) == 2
    assert scheduler.sessions == []


def test_a_forgotten_conversation_is_freed_at_once(serve: Open) -> None:
    scheduler, _ = serve()
    gc.collect()
    gc.disable()  # objects that only the collector can free stay in a worker for hours
    try:
        scheduler.handle(Stream(1, 0, (), SamplingParams(3)))
        scheduler.handle(JudgeRequest(2, 0, (), ("Tea.",)))
        drain(scheduler)
        (session,) = scheduler.sessions
        left = [weakref.ref(session), *(weakref.ref(b.store) for b in session.branches)]
        del session
        scheduler.handle(Forget(0))
        assert len(left) == 3
        assert not any(ref() for ref in left)
    finally:
        gc.enable()


def test_missing_or_broken_weights_are_a_one_line_error(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from dreamr.engines.local.load import load
    from dreamr.errors import ModelNotFound

    for file in folders["qwen3"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelNotFound, match=r"1 missing weights, first .*up_proj"):
        load(str(tmp_path), LocalOptions())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelNotFound, match="cannot load the model in"):
        load(str(tmp_path), LocalOptions())
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    with pytest.raises(ModelNotFound, match=r"cannot load the model in .*nothing") as error:
        load(str(tmp_path), LocalOptions())
    assert "\n" not in str(error.value)
