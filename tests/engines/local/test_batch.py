"""Calls that share a forward pass get what each would get alone."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from dreamr_testbed import PAIR

from dreamr.conversation import Conversation
from dreamr.engines import SamplingParams
from dreamr.engines.local.ipc import (
    Cancel,
    Failed,
    JudgeReply,
    JudgeRequest,
    Piece,
    Remember,
    Stream,
)
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.scheduler import Scheduler
from support.local_calls import CANDIDATES, PREFIX, all_same
from support.local_models import (
    FAMILIES,
    STATEFUL,
    conversation,
    counted_passes,
    image,
    judging,
    load_from,
    question_for,
    save_stateful,
)

# Nothing of what judging has shown is used, so that each token takes a pass.
DRAWN = SamplingParams(50, temperature=1.0, seed=5, token_reuse=False)


def serve(loaded: Loaded, talks: list[Conversation], **options: Any) -> tuple[Scheduler, list[Any]]:
    """A service that knows these conversations, and what it has sent."""
    sent: list[Any] = []
    options = {"gather": 0.0, "ahead": 500, **options}
    service = Scheduler(loaded, judging(loaded), LocalOptions(**options), sent.append)
    for key, talk in enumerate(talks):
        service.handle(Remember(key, talk))
    return service, sent


def texts(sent: list[Any]) -> dict[int, str]:
    found: dict[int, str] = defaultdict(str)
    for piece in sent:
        if isinstance(piece, Piece):
            found[piece.call] += piece.text
    return dict(found)


def verdicts(sent: list[Any]) -> dict[int, Any]:
    return {message.call: message.evidence for message in sent if isinstance(message, JudgeReply)}


def finish(service: Scheduler) -> int:
    """Work until nothing is left; how many units that took."""
    return sum(1 for _ in iter(service.work, False))


def talks_for(loaded: Loaded, count: int) -> list[Conversation]:
    talks = [question_for(loaded, seed) for seed in range(count - 1)]
    last = [image(7, 130, 50), image(8, 40, 140)] if loaded.model.takes_images else []
    return [*talks, conversation("And then? " * 9, *last)]


def check_side_by_side(loaded: Loaded, talks: list[Conversation], tokens: int) -> None:
    together, sent = serve(loaded, talks)
    for number in range(len(talks)):
        together.handle(Stream(number, number, (), SamplingParams(tokens)))
    together.work()
    finish(together)
    for number, talk in enumerate(talks):
        alone, expected = serve(loaded, [talk])
        alone.handle(Stream(number, 0, (), SamplingParams(tokens)))
        finish(alone)
        assert texts(sent)[number] == texts(expected)[number]


def test_streams_side_by_side_write_what_each_writes_alone(loaded: Loaded) -> None:
    check_side_by_side(loaded, talks_for(loaded, 5), 24)


@pytest.fixture(params=["target", "draft"])
def member(request: pytest.FixtureRequest) -> Loaded:
    return load_from(PAIR / request.param)


def test_the_pair_writes_the_same_side_by_side(member: Loaded) -> None:
    talks = [conversation(f"What is {n} + {3 * n}?", image(n, 144, 144)) for n in range(4)]
    check_side_by_side(member, talks, 20)


def test_streams_of_one_conversation_share_a_pass_too(text_model: Loaded) -> None:
    (talk,) = talks_for(text_model, 1)
    service, sent = serve(text_model, [talk])
    for number in range(3):
        service.handle(Stream(number, 0, PREFIX[:number], SamplingParams(12)))
    finish(service)
    for number in range(3):
        alone, expected = serve(text_model, [talk])
        alone.handle(Stream(number, 0, PREFIX[:number], SamplingParams(12)))
        finish(alone)
        assert texts(sent)[number] == texts(expected)[number]


def warm(service: Scheduler, sent: list[Any], count: int) -> None:
    """Let each conversation's prompt and prefix be read for judging."""
    for number in range(count):
        service.handle(JudgeRequest(100 + number, number, PREFIX, CANDIDATES[:1]))
    finish(service)
    sent.clear()


def test_judge_calls_of_several_conversations_are_one_pass(loaded: Loaded) -> None:
    talks = talks_for(loaded, 4)
    service, sent = serve(loaded, talks)
    warm(service, sent, 4)
    calls = [JudgeRequest(n, n, PREFIX[: n % 2], CANDIDATES[: 1 + n % 3]) for n in range(4)]
    for call in calls:
        service.handle(call)
    with counted_passes(loaded) as passes:
        service.work()
    assert len(passes) == 1
    for call in calls:
        alone, expected = serve(loaded, [talks[call.key]])
        alone.handle(call._replace(key=0))
        finish(alone)
        found = verdicts(sent)[call.call]
        assert len(found) == len(call.candidates)
        assert all_same(found, verdicts(expected)[call.call])


def check_sixteen(loaded: Loaded) -> None:
    service, sent = serve(loaded, talks_for(loaded, 16))
    for number in range(16):
        service.handle(Stream(number, number, (), SamplingParams(50)))
    while len(sent) < 16:
        service.work()
    sent.clear()
    with counted_passes(loaded) as passes:
        service.work()
    assert passes == [16]
    assert sorted(piece.call for piece in sent) == list(range(16))


def test_streams_of_sixteen_conversations_are_one_pass(text_model: Loaded) -> None:
    check_sixteen(text_model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_streams_of_sixteen_conversations_are_one_pass_on_a_gpu(
    folders: dict[str, Path], dtype: str
) -> None:
    check_sixteen(load_from(folders["qwen3"], device="cuda", dtype=dtype))


def test_judging_and_writing_share_a_pass(text_model: Loaded) -> None:
    service, sent = serve(text_model, talks_for(text_model, 4))
    warm(service, sent, 4)
    for number in (0, 1):
        service.handle(Stream(number, number, PREFIX, DRAWN))
        service.work()
    service.handle(JudgeRequest(2, 2, PREFIX, CANDIDATES))
    service.handle(JudgeRequest(3, 3, PREFIX, CANDIDATES))
    with counted_passes(text_model) as passes:
        service.work()
    assert len(passes) == 1
    assert [message.call for message in sent] == [2, 3, 0, 1]


def test_a_stream_waits_while_its_own_conversation_is_judged(text_model: Loaded) -> None:
    service, sent = serve(text_model, talks_for(text_model, 2))
    warm(service, sent, 2)
    for number in (0, 1):
        service.handle(Stream(number, number, PREFIX, DRAWN))
        service.work()
    service.handle(JudgeRequest(2, 0, PREFIX, CANDIDATES))
    service.work()
    assert [message.call for message in sent] == [2, 1]
    service.work()
    assert sorted(message.call for message in sent[2:]) == [0, 1]


def test_no_stream_starves_where_a_pass_has_no_room_for_all(text_model: Loaded) -> None:
    endless = Loaded(text_model.model, text_model.prompter, frozenset())
    service, sent = serve(endless, talks_for(endless, 5), prefill=2)
    for number in range(5):
        service.handle(Stream(number, number, (), SamplingParams(500)))
    while len(sent) < 100:
        service.work()
    counts = [sum(piece.call == number for piece in sent) for number in range(5)]
    reading = [next(i for i, piece in enumerate(sent) if piece.call == n) for n in range(5)]
    late = sent[max(reading) :]
    shares = [sum(piece.call == number for piece in late) for number in range(5)]
    assert min(counts) > 0
    assert max(shares) - min(shares) <= 1


def test_a_call_that_breaks_its_pass_breaks_no_other(text_model: Loaded) -> None:
    talks = talks_for(text_model, 3)
    whole, expected = serve(text_model, talks)
    service, sent = serve(text_model, talks)
    for one in (whole, service):
        for number in range(3):
            one.handle(Stream(number, number, (), SamplingParams(12)))
        for _ in range(5):
            one.work()
    (branch,) = service.sessions[1].branches
    branch.store.array = branch.store.keys = None
    finish(whole)
    finish(service)
    assert [message.call for message in sent if isinstance(message, Failed)] == [1]
    assert texts(sent)[0] == texts(expected)[0]
    assert texts(sent)[2] == texts(expected)[2]


def test_sharing_that_fails_with_nobody_to_blame_is_told(
    text_model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parts: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(text_model.model, "run_all", broken)
    service, sent = serve(text_model, talks_for(text_model, 2))
    for key in range(2):
        service.handle(JudgeRequest(key, key, PREFIX, CANDIDATES))
    with pytest.warns(RuntimeWarning, match="passes are not shared: no room"):
        finish(service)
    assert set(verdicts(sent)) == {0, 1}


def test_a_judge_call_cancelled_between_its_passes_gives_its_branch_back(
    text_model: Loaded,
) -> None:
    service, sent = serve(text_model, talks_for(text_model, 1), prefill=8)
    service._judging._prefill = 8  # type: ignore[union-attr]
    long = ("Tea costs 3.20 and milk costs 1.45. " * 12,)
    service.handle(JudgeRequest(1, 0, long, CANDIDATES))
    service.work()
    (branch,) = service.sessions[0].branches
    assert branch.busy
    service.handle(Cancel(1))
    assert not branch.busy
    assert not service.work()
    assert sent == []


@pytest.mark.parametrize("kind", STATEFUL)
def test_models_that_do_not_pack_take_turns(kind: str, tmp_path: Path) -> None:
    model = load_from(save_stateful(kind, tmp_path))
    talks = talks_for(model, 3)
    check_side_by_side(model, talks, 12)
    service, sent = serve(model, talks)
    for number in range(3):
        service.handle(Stream(number, number, (), SamplingParams(50)))
    while len(sent) < 3:
        service.work()
    with counted_passes(model) as passes:
        service.work()
    assert passes == [1]


@pytest.mark.parametrize("family", FAMILIES)
def test_shorter_dtypes_share_passes_too(family: str, folders: dict[str, Path]) -> None:
    model = load_from(folders[family], dtype="bfloat16")
    assert model.model.packs
    service, sent = serve(model, talks_for(model, 3))
    warm(service, sent, 3)
    for number in range(3):
        service.handle(JudgeRequest(number, number, PREFIX, CANDIDATES))
    with counted_passes(model) as passes:
        service.work()
    assert len(passes) == 1
    assert [len(found) for found in verdicts(sent).values()] == [3, 3, 3]
