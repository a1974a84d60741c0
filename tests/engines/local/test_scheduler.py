"""How a worker divides its time: judging first, streams in turns, nobody ahead of its credit."""

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
    Extend,
    Failed,
    Forget,
    JudgeReply,
    JudgeRequest,
    Piece,
    Remember,
    Stream,
    Taken,
)
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.scheduler import Scheduler, judging_or_why_not
from dreamr.engines.local.session import Session
from dreamr.engines.local.stream import StreamTask
from dreamr.engines.prompts import Questions
from dreamr.gate import Labels
from support.local_calls import all_same
from support.local_models import conversation, image, judging

Open = Callable[..., tuple[Scheduler, list[Any]]]


@pytest.fixture
def serve(text_model: Loaded) -> Open:
    """A service that knows conversations 0 .. n, and what it has sent."""
    endless = Loaded(text_model.model, text_model.prompter, frozenset())

    def start(*talks: Conversation, **options: Any) -> tuple[Scheduler, list[Any]]:
        sent: list[Any] = []
        options = {"gather": 0.0, **options}
        peek = options.pop("peek", tuple)
        service = Scheduler(endless, judging(endless), LocalOptions(**options), sent.append, peek)
        for key, talk in enumerate(talks or [conversation()]):
            service.handle(Remember(key, talk))
        return service, sent

    return start


def drain(service: Scheduler) -> int:
    """Work until nothing is left to do; how many units that were."""
    units = 0
    while service.work():
        units += 1
    return units


def calls(sent: list[Any]) -> list[int]:
    return [message.call for message in sent]


def test_a_stream_stops_at_its_credit_and_goes_on_when_tokens_are_taken(serve: Open) -> None:
    service, sent = serve(ahead=5)
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    drain(service)
    assert len(sent) == 5
    service.handle(Taken(1, 3))
    drain(service)
    assert len(sent) == 8


def test_a_pass_that_nobody_waits_for_any_more_ends_within(serve: Open) -> None:
    service, sent = serve(peek=lambda: [Cancel(1)])
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    drain(service)
    assert sent == []
    (branch,) = service.sessions[0].branches
    assert (branch.ids, branch.busy) == ([], False)
    service.handle(Cancel(1))  # as it comes when the unit is over
    service.handle(Stream(2, 0, (), SamplingParams(3)))
    drain(service)
    assert calls(sent) == [2, 2, 2]


@pytest.mark.parametrize(
    "still_waits",
    [Stream(2, 0, (), SamplingParams(3)), JudgeRequest(2, 0, (), ("Tea is hot.\n\n",))],
)
def test_a_pass_goes_on_for_the_next_call_of_its_conversation(
    serve: Open, still_waits: Stream | JudgeRequest
) -> None:
    service, _ = serve(peek=lambda: [Cancel(1), still_waits])
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.work()
    service.work()
    assert service.sessions[0].branches[0].ids


def test_a_pass_goes_on_while_one_of_its_callers_waits(serve: Open) -> None:
    talks = [conversation("What is tea?"), conversation("What is milk?")]
    service, sent = serve(*talks, peek=lambda: [Cancel(1)])
    service.handle(Stream(1, 0, (), SamplingParams(2)))
    service.handle(Stream(2, 1, (), SamplingParams(2)))
    drain(service)
    assert 2 in calls(sent)


def test_tokens_that_come_fast_are_sent_together_and_nothing_is_lost(serve: Open) -> None:
    apart, pieces = serve(ahead=20)
    together, chunks = serve(ahead=20, gather=60.0)
    for service in (apart, together):
        service.handle(Stream(1, 0, (), SamplingParams(50, logprobs=True)))
        drain(service)
        service.handle(Taken(1, 40))
        drain(service)
    assert len(pieces) == 50
    assert len(chunks) < 10
    assert "".join(piece.text for piece in chunks) == "".join(piece.text for piece in pieces)
    assert sum(piece.tokens for piece in chunks) == 50
    assert sum(piece.logprob for piece in chunks) == pytest.approx(
        sum(piece.logprob for piece in pieces)
    )
    assert min(piece.least for piece in chunks) == min(piece.least for piece in pieces)
    assert all(piece.least == piece.logprob for piece in pieces)
    assert chunks[-1].finish == "length"


def test_a_line_is_never_held_back(text_model: Loaded) -> None:
    task = StreamTask(
        1,
        Session(text_model, conversation()),
        (),
        SamplingParams(9),
        loaded=text_model,
        credit=9,
        prefill=64,
    )
    first = task.gather(Piece(1, "Tea", 1, None, -1.0, -1.0), 60.0)  # nothing was sent before it
    assert first is not None
    assert task.gather(Piece(1, " is", 1, None, -1.0, -1.0), 60.0) is None
    line = task.gather(Piece(1, " hot.\n\n", 1, None, -1.0, -1.0), 60.0)
    assert line == Piece(1, " is hot.\n\n", 2, None, -2.0, -1.0)


def test_streams_take_turns(serve: Open) -> None:
    service, sent = serve(conversation("One?"), conversation("Two?"), ahead=4)
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.handle(Stream(2, 1, (), SamplingParams(50)))
    drain(service)
    assert calls(sent) == [1, 2] * 4


def test_judging_goes_first(serve: Open) -> None:
    service, sent = serve()
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.work()
    service.work()
    service.handle(JudgeRequest(2, 0, (), ("Tea.",)))
    service.work()
    assert calls(sent) == [1, 2]
    assert isinstance(sent[-1], JudgeReply)


def test_a_judge_call_grows_until_its_turn_and_no_longer(serve: Open) -> None:
    service, sent = serve()
    service.handle(JudgeRequest(1, 0, (), ("One.",)))
    service.handle(Extend(1, ("Two.",)))
    service.handle(Extend(1, ("Three.",)))
    drain(service)
    service.handle(Extend(1, ("Four.",)))
    assert drain(service) == 0
    service.handle(JudgeRequest(2, 0, (), ("One.", "Two.", "Three.")))
    drain(service)
    grown, whole = sent
    assert len(grown.evidence) == 3
    assert all_same(grown.evidence, whole.evidence)


def test_after_verdicts_the_worker_listens_before_it_goes_on(serve: Open) -> None:
    service, _ = serve()
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.handle(JudgeRequest(2, 0, (), ("One.",)))
    service.work()
    assert 0 < service.patience < 0.01
    service.work()
    assert service.patience == 0


def test_a_cancelled_stream_makes_no_further_token(serve: Open) -> None:
    service, sent = serve()
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.work()
    service.work()
    service.handle(Cancel(1))
    assert not service.work()
    assert calls(sent) == [1]
    assert not any(branch.busy for session in service.sessions for branch in session.branches)


def test_calls_cancelled_while_they_wait_are_never_begun(serve: Open) -> None:
    service, sent = serve()
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.handle(JudgeRequest(2, 0, (), ("Tea.",)))
    service.handle(Cancel(1))
    service.handle(Cancel(2))
    assert drain(service) == 0
    assert sent == []


def test_a_finished_stream_is_gone(serve: Open) -> None:
    service, sent = serve()
    service.handle(Stream(1, 0, (), SamplingParams(3)))
    drain(service)
    assert [piece.finish for piece in sent] == [None, None, "length"]
    service.handle(Taken(1, 3))
    service.handle(Cancel(1))
    assert drain(service) == 0


def test_what_one_call_does_wrong_hurts_no_other(serve: Open) -> None:
    service, sent = serve(conversation(), conversation("See?", image(1)), ahead=3)
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.handle(Stream(2, 1, (), SamplingParams(50)))
    service.handle(JudgeRequest(3, 0, (), ("apple " * 700,)))
    drain(service)
    failed = {message.call: message for message in sent if isinstance(message, Failed)}
    assert {call: message.kind for call, message in failed.items()} == {
        2: "Unsupported",
        3: "ContextTooLong",
    }
    assert "\n" not in failed[3].message
    assert len([message for message in sent if isinstance(message, Piece)]) == 3


def test_a_model_that_cannot_tell_the_labels_apart_still_writes(text_model: Loaded) -> None:
    alike = LocalOptions(labels=Labels(("qxq",), ("qyq",)))
    sent: list[Any] = []
    judging = judging_or_why_not(text_model, Questions(), alike)
    service = Scheduler(text_model, judging, alike, sent.append)
    service.handle(Remember(0, conversation()))
    service.handle(JudgeRequest(1, 0, (), ("Tea.",)))
    service.handle(Stream(2, 0, (), SamplingParams(2)))
    drain(service)
    assert sent[0].kind == "Unsupported"
    assert "no token of its own for the label 'qxq'" in sent[0].message
    assert calls(sent[1:]) == [2, 2]


def test_a_model_that_fails_in_the_middle_ends_that_call_with_one_line(
    serve: Open, text_model: Loaded
) -> None:
    service, sent = serve()
    service.handle(Stream(1, 0, (), SamplingParams(50)))
    service.work()
    decoder, text_model.model.decoder = text_model.model.decoder, None
    try:
        service.work()
    finally:
        text_model.model.decoder = decoder
    assert sent[-1].kind == "EngineError"
    assert sent[-1].message.startswith("the model failed: AttributeError")
    service.handle(Stream(2, 0, (), SamplingParams(2)))
    drain(service)
    assert sent[-1].finish == "length"


def test_conversations_used_longest_ago_leave_under_the_memory_bound(serve: Open) -> None:
    talks = [conversation(f"Case {number}?") for number in range(3)]
    one = 2 * 3 * 2 * 256 * 32 * 4  # keys and values of three layers, two heads, float32
    service, _ = serve(*talks, cache_bytes=2 * one)
    for call, key in enumerate([0, 1, 0, 2]):
        service.handle(Stream(call, key, (), SamplingParams(2)))
        drain(service)
    assert [session.nbytes for session in service.sessions] == [0, one, one]


def test_what_is_in_use_stays_whatever_the_bound(serve: Open) -> None:
    service, sent = serve(*(conversation(f"Case {n}?") for n in range(3)), cache_bytes=1, ahead=2)
    for number in range(3):
        service.handle(Stream(number, number, (), SamplingParams(4)))
    drain(service)
    for number in range(3):
        service.handle(Taken(number, 2))
    drain(service)
    alone, expected = serve(conversation("Case 1?"))
    alone.handle(Stream(1, 0, (), SamplingParams(4)))
    drain(alone)
    assert [piece.text for piece in sent if piece.call == 1] == [piece.text for piece in expected]


def test_a_conversation_forgotten_while_its_call_waits_is_served(serve: Open) -> None:
    service, sent = serve()
    service.handle(Stream(1, 0, (), SamplingParams(2)))
    service.handle(Forget(0))
    drain(service)
    assert len(sent) == 2
    assert service.sessions == []


def test_a_forgotten_conversation_leaves_memory_at_once(serve: Open) -> None:
    service, _ = serve()
    gc.collect()
    gc.disable()  # what it would have to find, stays in a worker for hours
    try:
        service.handle(Stream(1, 0, (), SamplingParams(3)))
        service.handle(JudgeRequest(2, 0, (), ("Tea.",)))
        drain(service)
        (session,) = service.sessions
        left = [weakref.ref(session), *(weakref.ref(b.store) for b in session.branches)]
        del session
        service.handle(Forget(0))
        assert len(left) == 3
        assert not any(ref() for ref in left)
    finally:
        gc.enable()


def test_weights_that_are_not_all_there_are_one_clear_error(
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
    with pytest.raises(ModelNotFound, match=r"lacks 1 weights, the first is .*up_proj"):
        load(str(tmp_path), LocalOptions())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelNotFound, match="cannot load the model in"):
        load(str(tmp_path), LocalOptions())
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    with pytest.raises(ModelNotFound, match=r"cannot load the model in .*nothing") as error:
        load(str(tmp_path), LocalOptions())
    assert "\n" not in str(error.value)
