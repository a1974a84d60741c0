"""Calls that share a forward pass get the same results as in separate passes."""

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

# Without token reuse, each token needs a pass.
SAMPLED = SamplingParams(50, temperature=1.0, seed=5, token_reuse=False)


def serve(loaded: Loaded, talks: list[Conversation], **options: Any) -> tuple[Scheduler, list[Any]]:
    """Return a scheduler that knows these conversations, and the list of its messages."""
    sent: list[Any] = []
    options = {"gather": 0.0, "ahead": 500, **options}
    scheduler = Scheduler(loaded, judging(loaded), LocalOptions(**options), sent.append)
    for key, talk in enumerate(talks):
        scheduler.handle(Remember.of(key, talk))
    return scheduler, sent


def texts(sent: list[Any]) -> dict[int, str]:
    found: dict[int, str] = defaultdict(str)
    for piece in sent:
        if isinstance(piece, Piece):
            found[piece.call] += piece.text
    return dict(found)


def verdicts(sent: list[Any]) -> dict[int, Any]:
    return {message.call: message.evidence for message in sent if isinstance(message, JudgeReply)}


def finish(scheduler: Scheduler) -> int:
    """Work until nothing is left; return the number of units."""
    return sum(1 for _ in iter(scheduler.work, False))


def talks_for(loaded: Loaded, count: int) -> list[Conversation]:
    talks = [question_for(loaded, seed) for seed in range(count - 1)]
    last = [image(7, 130, 50), image(8, 40, 140)] if loaded.model.takes_images else []
    return [*talks, conversation("And then? " * 9, *last)]


def check_concurrent_streams(loaded: Loaded, talks: list[Conversation], tokens: int) -> None:
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


def test_concurrent_streams_write_the_same_as_separate_streams(loaded: Loaded) -> None:
    check_concurrent_streams(loaded, talks_for(loaded, 5), 24)


@pytest.fixture(params=["target", "draft"])
def member(request: pytest.FixtureRequest) -> Loaded:
    return load_from(PAIR / request.param)


def test_the_bundled_pair_writes_the_same_in_concurrent_streams(member: Loaded) -> None:
    talks = [conversation(f"What is {n} + {3 * n}?", image(n, 144, 144)) for n in range(4)]
    check_concurrent_streams(member, talks, 20)


def test_streams_of_one_conversation_share_a_pass(text_model: Loaded) -> None:
    (talk,) = talks_for(text_model, 1)
    scheduler, sent = serve(text_model, [talk])
    for number in range(3):
        scheduler.handle(Stream(number, 0, PREFIX[:number], SamplingParams(12)))
    while len({piece.call for piece in sent}) < 3:
        scheduler.work()
    with counted_passes(text_model) as passes:
        scheduler.work()
    assert passes == [3]
    finish(scheduler)
    for number in range(3):
        alone, expected = serve(text_model, [talk])
        alone.handle(Stream(number, 0, PREFIX[:number], SamplingParams(12)))
        finish(alone)
        assert texts(sent)[number] == texts(expected)[number]


def warm(scheduler: Scheduler, sent: list[Any], count: int) -> None:
    """Prefill prompt and prefix of each conversation for judging."""
    for number in range(count):
        scheduler.handle(JudgeRequest(100 + number, number, PREFIX, CANDIDATES[:1]))
    finish(scheduler)
    sent.clear()


def test_judge_calls_of_several_conversations_share_one_pass(loaded: Loaded) -> None:
    talks = talks_for(loaded, 4)
    scheduler, sent = serve(loaded, talks)
    warm(scheduler, sent, 4)
    calls = [JudgeRequest(n, n, PREFIX[: n % 2], CANDIDATES[: 1 + n % 3]) for n in range(4)]
    for call in calls:
        scheduler.handle(call)
    with counted_passes(loaded) as passes:
        scheduler.work()
    assert len(passes) == 1
    for call in calls:
        alone, expected = serve(loaded, [talks[call.key]])
        alone.handle(call._replace(key=0))
        finish(alone)
        found = verdicts(sent)[call.call]
        assert len(found) == len(call.candidates)
        assert all_same(found, verdicts(expected)[call.call])


def check_sixteen(loaded: Loaded) -> None:
    scheduler, sent = serve(loaded, talks_for(loaded, 16))
    for number in range(16):
        scheduler.handle(Stream(number, number, (), SamplingParams(50)))
    while len(sent) < 16:
        scheduler.work()
    sent.clear()
    with counted_passes(loaded) as passes:
        scheduler.work()
    assert passes == [16]
    assert sorted(piece.call for piece in sent) == list(range(16))


def test_streams_of_sixteen_conversations_share_one_pass(text_model: Loaded) -> None:
    check_sixteen(text_model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_streams_of_sixteen_conversations_share_one_pass_on_a_gpu(
    folders: dict[str, Path], dtype: str
) -> None:
    check_sixteen(load_from(folders["qwen3"], device="cuda", dtype=dtype))


def test_judge_calls_and_streams_share_a_pass(text_model: Loaded) -> None:
    scheduler, sent = serve(text_model, talks_for(text_model, 4))
    warm(scheduler, sent, 4)
    for number in (0, 1):
        scheduler.handle(Stream(number, number, PREFIX, SAMPLED))
        scheduler.work()
    scheduler.handle(JudgeRequest(2, 2, PREFIX, CANDIDATES))
    scheduler.handle(JudgeRequest(3, 3, PREFIX, CANDIDATES))
    with counted_passes(text_model) as passes:
        scheduler.work()
    assert len(passes) == 1
    assert [message.call for message in sent] == [2, 3, 0, 1]


def test_a_stream_waits_while_its_own_conversation_is_judged(text_model: Loaded) -> None:
    scheduler, sent = serve(text_model, talks_for(text_model, 2))
    warm(scheduler, sent, 2)
    for number in (0, 1):
        scheduler.handle(Stream(number, number, PREFIX, SAMPLED))
        scheduler.work()
    scheduler.handle(JudgeRequest(2, 0, PREFIX, CANDIDATES))
    scheduler.work()
    assert [message.call for message in sent] == [2, 1]
    scheduler.work()
    assert sorted(message.call for message in sent[2:]) == [0, 1]


def test_no_stream_starves_if_a_pass_has_no_room_for_all(text_model: Loaded) -> None:
    endless = Loaded(text_model.model, text_model.prompter, frozenset())
    scheduler, sent = serve(endless, talks_for(endless, 5), prefill=2)
    for number in range(5):
        scheduler.handle(Stream(number, number, (), SamplingParams(500)))
    while len(sent) < 100:
        scheduler.work()
    counts = [sum(piece.call == number for piece in sent) for number in range(5)]
    reading = [next(i for i, piece in enumerate(sent) if piece.call == n) for n in range(5)]
    late = sent[max(reading) :]
    shares = [sum(piece.call == number for piece in late) for number in range(5)]
    assert min(counts) > 0
    assert max(shares) - min(shares) <= 1


def test_a_failing_call_in_a_shared_pass_fails_alone(text_model: Loaded) -> None:
    talks = talks_for(text_model, 3)
    whole, expected = serve(text_model, talks)
    scheduler, sent = serve(text_model, talks)
    for one in (whole, scheduler):
        for number in range(3):
            one.handle(Stream(number, number, (), SamplingParams(12)))
        for _ in range(5):
            one.work()
    (branch,) = scheduler.sessions[1].branches
    branch.store.array = branch.store.keys = None
    finish(whole)
    finish(scheduler)
    assert [message.call for message in sent if isinstance(message, Failed)] == [1]
    assert texts(sent)[0] == texts(expected)[0]
    assert texts(sent)[2] == texts(expected)[2]


@pytest.mark.parametrize("kind", STATEFUL)
def test_a_pass_that_fails_midway_leaves_no_rows_in_a_store_that_cannot_rewind(
    kind: str, tmp_path: Path
) -> None:
    loaded = load_from(save_stateful(kind, tmp_path))
    scheduler, sent = serve(loaded, talks_for(loaded, 1), prefill=8)
    layer = loaded.model.decoder._module.layers[-1]  # type: ignore[attr-defined]
    left = [3]  # passes of the last layer until one fails

    def fail(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("no room")

    hook = layer.register_forward_pre_hook(fail)
    scheduler.handle(Stream(0, 0, (), SamplingParams(12)))
    finish(scheduler)
    hook.remove()
    assert [message.call for message in sent if isinstance(message, Failed)] == [0]
    scheduler.handle(Stream(1, 0, (), SamplingParams(12)))
    finish(scheduler)
    fresh, expected = serve(loaded, talks_for(loaded, 1))
    fresh.handle(Stream(1, 0, (), SamplingParams(12)))
    finish(fresh)
    assert texts(sent)[1] == texts(expected)[1]


def test_a_failing_shared_pass_without_a_failing_call_is_a_warning(
    text_model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parts: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(text_model.model, "run_all", broken)
    scheduler, sent = serve(text_model, talks_for(text_model, 2))
    for key in range(2):
        scheduler.handle(JudgeRequest(key, key, PREFIX, CANDIDATES))
    with pytest.warns(RuntimeWarning, match="shared forward pass failed.*: no room"):
        finish(scheduler)
    assert set(verdicts(sent)) == {0, 1}


def test_a_judge_call_canceled_between_passes_releases_its_branch(
    text_model: Loaded,
) -> None:
    scheduler, sent = serve(text_model, talks_for(text_model, 1), prefill=8)
    scheduler._judging._prefill = 8  # type: ignore[union-attr]
    long = ("Tea costs 3.20 and milk costs 1.45. " * 12,)
    scheduler.handle(JudgeRequest(1, 0, long, CANDIDATES))
    scheduler.work()
    (branch,) = scheduler.sessions[0].branches
    assert branch.busy
    scheduler.handle(Cancel(1))
    assert not branch.busy
    assert not scheduler.work()
    assert sent == []


@pytest.mark.parametrize("kind", STATEFUL)
def test_calls_take_turns_if_the_model_does_not_pack(kind: str, tmp_path: Path) -> None:
    model = load_from(save_stateful(kind, tmp_path))
    talks = talks_for(model, 3)
    check_concurrent_streams(model, talks, 12)
    scheduler, sent = serve(model, talks)
    for number in range(3):
        scheduler.handle(Stream(number, number, (), SamplingParams(50)))
    while len(sent) < 3:
        scheduler.work()
    with counted_passes(model) as passes:
        scheduler.work()
    assert passes == [1]


@pytest.mark.parametrize("kind", STATEFUL)
def test_streams_and_judge_calls_take_turns_if_the_model_does_not_pack(
    kind: str, tmp_path: Path
) -> None:
    model = load_from(save_stateful(kind, tmp_path))
    scheduler, sent = serve(model, talks_for(model, 2))
    warm(scheduler, sent, 2)
    scheduler.handle(Stream(1, 1, PREFIX, SAMPLED))
    for unit in range(60):
        scheduler.handle(JudgeRequest(100 + unit, 0, PREFIX, CANDIDATES))
        scheduler.work()
    assert texts(sent).keys() == {1}
    assert len(verdicts(sent)) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_models_share_passes(family: str, folders: dict[str, Path]) -> None:
    model = load_from(folders[family], dtype="bfloat16", decoder="torch")
    assert model.model.packs
    scheduler, sent = serve(model, talks_for(model, 3))
    warm(scheduler, sent, 3)
    for number in range(3):
        scheduler.handle(JudgeRequest(number, number, PREFIX, CANDIDATES))
    with counted_passes(model) as passes:
        scheduler.work()
    assert len(passes) == 1
    assert [len(found) for found in verdicts(sent).values()] == [3, 3, 3]
