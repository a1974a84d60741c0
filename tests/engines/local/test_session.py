"""State that is kept between calls, and independence of conversations."""

from __future__ import annotations

import pytest
import torch

from dreamr.engines import SamplingParams
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.stream import StreamTask
from dreamr.errors import ContextTooLong, EngineError, Unsupported
from support.local_calls import judge, same, session_of, stream, whole_from
from support.local_models import conversation, image, judging, question_for


def test_interleaved_conversations_give_the_same_text_as_separate_ones(loaded: Loaded) -> None:
    talks = [
        question_for(loaded, 1),
        question_for(loaded, 2),
        conversation("Is it?"),
    ]
    if loaded.model.takes_images:
        talks.append(conversation("Other sizes.", image(5, 130, 50), image(6, 40, 140)))
    alone = [[p.text for p in stream(loaded, session_of(loaded, talk))] for talk in talks]
    with torch.inference_mode():
        tasks = [
            StreamTask(
                number,
                session_of(loaded, talk),
                (),
                SamplingParams(24),
                loaded=loaded,
                credit=99,
                prefill=512,
            )
            for number, talk in enumerate(talks)
        ]
        together: list[list[str]] = [[] for _ in tasks]
        running = list(tasks)
        while running:
            task = running.pop(0)
            piece = task.advance()
            if piece is not None:
                together[task.call].append(piece.text)
            if piece is None or piece.finish is None:
                running.append(task)
    assert together == alone


def test_a_reopened_stream_continues_with_the_same_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    session = session_of(loaded, talk)
    pieces = stream(loaded, session, sampling=SamplingParams(40))
    whole = "".join(piece.text for piece in pieces)
    first = whole_from(session, pieces, 3)
    cut = whole_from(session, pieces, first + 3)
    steps = tuple("".join(p.text for p in part) for part in (pieces[:first], pieces[first:cut]))
    again = stream(loaded, session, steps, SamplingParams(40 - cut))
    assert "".join(steps) + "".join(piece.text for piece in again) == whole


def test_steps_keep_the_tokens_they_were_generated_with(text_model: Loaded) -> None:
    """Random models spell words with tokens that the tokenizer would not choose."""
    session = session_of(text_model, question_for(text_model))
    pieces = stream(text_model, session, sampling=SamplingParams(60, temperature=1.5, seed=4))
    made = session.branches[0].ids[len(session.prompt) :]
    first = whole_from(session, pieces, 20)
    step = "".join(piece.text for piece in pieces[:first])
    assert session.walk([step])[0].ids == made[:first]
    assert text_model.prompter.step(step) != made[:first]
    cut = whole_from(session, pieces, first + 10)
    rest = "".join(piece.text for piece in pieces[first:cut])
    assert session.walk([step, rest])[1].ids == made[first:cut]


def test_a_step_that_ends_within_a_token_is_tokenized_separately(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    pieces = stream(text_model, session, sampling=SamplingParams(60, temperature=1.2, seed=1))
    wide = next(n for n, piece in enumerate(pieces) if len(piece.text) > 2)
    step = "".join(piece.text for piece in pieces[: wide + 1])[:-1]
    assert session.walk([step])[0].ids == text_model.prompter.step(step)


def test_tokens_of_a_step_never_change_once_used(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    first = session.walk(["Tea costs 3.", " And more."])
    stream(text_model, session)
    assert session.walk(["Tea costs 3.", " And more."]) == first


def test_only_new_tokens_are_read(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    steps = ("Tea costs 3.20.\n\n", "Milk costs 1.45.\n\n")
    stream(text_model, session, steps[:1])
    ids = session.tokens(session.walk(steps))
    with torch.inference_mode():
        branch = session.acquire("stream", ids)
    shared = session.tokens(session.walk(steps[:1]))
    assert branch.ids == shared
    assert branch.store.length == len(shared)


def test_a_branch_copies_what_another_has_read(text_model: Loaded) -> None:
    talk = question_for(text_model)
    session = session_of(text_model, talk)
    judge(judging(text_model), session, (), ("Tea costs 3.20.\n\n",))
    after = stream(text_model, session, ("Tea costs 3.20.\n\n",))
    fresh = stream(text_model, session_of(text_model, talk), ("Tea costs 3.20.\n\n",))
    assert [piece.text for piece in after] == [piece.text for piece in fresh]
    assert {branch.kind for branch in session.branches} == {"stream", "judge"}


def test_one_idle_branch_of_a_kind_is_kept(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    with torch.inference_mode():
        branches = [session.acquire("stream", [*session.prompt, 5]) for _ in range(3)]
        assert len(set(map(id, branches))) == 3
        for branch in branches:
            session.release(branch)
    assert session.branches == [branches[-1]]


def test_the_vision_tower_runs_once_per_conversation(loaded_models: dict[str, Loaded]) -> None:
    for family in ("llava", "qwen3_vl"):
        loaded = loaded_models[family]
        inner = loaded.model.hf.model
        tower = inner.vision_tower if family == "llava" else inner.visual
        runs: list[int] = []
        hook = tower.register_forward_hook(lambda *_: runs.append(1))  # noqa: B023
        session = session_of(loaded, question_for(loaded))
        stream(loaded, session)
        judge(judging(loaded), session, (), ("Tea.",))
        stream(loaded, session, ("Milk.",))
        hook.remove()
        assert len(runs) == 1


def test_results_are_the_same_after_memory_is_freed(loaded: Loaded) -> None:
    session = session_of(loaded, question_for(loaded))
    before = [piece.text for piece in stream(loaded, session)]
    first = judge(judging(loaded), session, (), ("Tea.",))
    assert session.nbytes > 0
    session.shrink()
    assert session.nbytes == 0
    assert [piece.text for piece in stream(loaded, session)] == before
    assert same(judge(judging(loaded), session, (), ("Tea.",))[0], first[0])


def test_judged_rows_count_as_memory(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    judge(judging(text_model), session, (), ("Tea.", "Milk."))
    with_rows = session.nbytes
    judged = [place.judged for place in (session.root, *session.walk(["Tea."])) if place.judged]
    held = sum(one.rows.untyped_storage().nbytes() for one in judged)
    assert held > 0
    session.drop_judged()
    assert with_rows - session.nbytes == held


def test_stores_keep_their_rows_when_they_grow(text_model: Loaded) -> None:
    """More tokens than a new store has rows, and rows copied from another branch."""
    talk = question_for(text_model)
    session = session_of(text_model, talk)
    long = ("Tea costs 3.20 and milk costs 1.45. " * 12,)
    pieces = stream(text_model, session, long, SamplingParams(200))
    assert session.branches[0].store.length > 256
    session.branches[0].kind = "judge"
    again = stream(text_model, session, long, SamplingParams(200))
    assert [piece.text for piece in again] == [piece.text for piece in pieces]


def test_a_prompt_longer_than_the_context_is_an_error_with_sizes(text_model: Loaded) -> None:
    with pytest.raises(ContextTooLong, match=r"needs \d+ tokens.* holds 640"):
        session_of(text_model, conversation("apple " * 700))


def test_reasoning_longer_than_the_context_is_an_error_with_sizes(text_model: Loaded) -> None:
    session = session_of(text_model, conversation())
    with pytest.raises(ContextTooLong, match=r"\d+ tokens .* 640"):
        stream(text_model, session, ("apple " * 400,))


def test_a_stream_ends_at_the_end_of_the_context(text_model: Loaded) -> None:
    text_model = without_end(text_model)
    session = session_of(text_model, conversation())
    pieces = stream(text_model, session, sampling=SamplingParams(5000))
    assert pieces[-1].finish == "length"
    assert len(session.prompt) + sum(piece.tokens for piece in pieces) == 640


def without_end(loaded: Loaded) -> Loaded:
    """Return the same model with no token that ends its turn."""
    return Loaded(loaded.model, loaded.prompter, frozenset())


def test_a_limit_of_zero_tokens_gives_no_tokens(text_model: Loaded) -> None:
    pieces = stream(text_model, session_of(text_model, conversation()), sampling=SamplingParams(0))
    assert [(piece.tokens, piece.finish) for piece in pieces] == [(0, "length")]


def test_an_image_for_a_text_model_is_an_error(text_model: Loaded) -> None:
    with pytest.raises(Unsupported, match="text only"):
        session_of(text_model, conversation("See?", image(1)))


def test_placeholders_that_do_not_match_the_images_are_an_error(
    loaded_models: dict[str, Loaded],
) -> None:
    loaded = loaded_models["llava"]
    template, loaded.prompter._template = loaded.prompter._template, "no places at all"
    try:
        with pytest.raises(EngineError, match="0 placeholders for 1 images"):
            session_of(loaded, conversation("See?", image(1)))
    finally:
        loaded.prompter._template = template


def test_models_say_how_many_pixels_of_an_image_they_use(torch_models: dict[str, Loaded]) -> None:
    used = {family: one.model.image_pixels for family, one in torch_models.items()}
    assert used["qwen3"] is None  # text only
    assert used["qwen3_vl"] == used["qwen2_5_vl"] == 128 * 128
    assert used["llava"] is not None
    assert used["llava"] >= 2**20
