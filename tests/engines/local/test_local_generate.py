"""Greedy text is what transformers' own `generate` writes, token for token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from local_models import conversation, picture, question_for
from PIL import Image as Pictures

from dreamr.conversation import Conversation, Image, Text
from dreamr.engines import SamplingParams
from dreamr.engines.local.ipc import Piece
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.session import Session
from dreamr.engines.local.stream import StreamTask


def stream(
    loaded: Loaded,
    session: Session,
    prefix: tuple[str, ...] = (),
    sampling: SamplingParams | None = None,
    prefill: int = 512,
) -> list[Piece]:
    """All pieces of a stream."""
    with torch.inference_mode():
        task = StreamTask(
            1,
            session,
            prefix,
            sampling or SamplingParams(24, logprobs=True),
            loaded=loaded,
            credit=99,
            prefill=prefill,
        )
        pieces: list[Piece] = []
        while not pieces or pieces[-1].finish is None:
            pieces += [piece for piece in [task.advance()] if piece is not None]
        task.close()
    return pieces


def whole_from(session: Session, pieces: list[Piece], least: int) -> int:
    """A cut that splits no character: the first behind at least so many pieces, or the last."""
    ends = session.root.tails[-1].generation.ends
    cuts = [n for n in range(1, len(pieces)) if pieces[n - 1].text and ends[n - 1] >= 0]
    return next((n for n in cuts if n >= least), cuts[-1])


def count_passes(session: Session) -> list[object]:
    """Grows by one with each pass of the session from now on."""
    passes: list[object] = []
    part = session.part
    session.part = lambda *given, **named: passes.append(given) or part(*given, **named)  # type: ignore[method-assign,func-returns-value]
    return passes


def session_of(loaded: Loaded, talk: Conversation) -> Session:
    with torch.inference_mode():
        return Session(loaded, talk)


def reference(loaded: Loaded, talk: Conversation, tokens: int) -> list[int]:
    """What transformers' own processing and `generate` make of it."""
    images = [part for turn in talk.turns for part in turn.parts if isinstance(part, Image)]
    text = "".join(
        part.text for turn in talk.turns for part in turn.parts if isinstance(part, Text)
    )
    marks = "<|vision_start|><|image_pad|><|vision_end|>" * len(images)
    prompt = f"<|im_start|>user\n{marks}{text}<|im_end|>\n<|im_start|>assistant\n"
    inputs = _inputs(loaded, prompt, images)
    made = loaded.model.hf.generate(
        **inputs, max_new_tokens=tokens, do_sample=False, logits_to_keep=1
    )
    loaded.model.hf.model.rope_deltas = None
    return list(made[0, inputs["input_ids"].shape[1] :].tolist())


def _inputs(loaded: Loaded, prompt: str, images: list[Image]) -> dict[str, Any]:
    """Hand-made inputs: the processors of Qwen-VL need torchvision."""
    model = loaded.model
    found: dict[str, Any] = {}
    sizes: list[int] = []
    if images:
        pictures = [Pictures.frombytes("RGB", (i.width, i.height), i.pixels) for i in images]
        found = dict(model.image_processor(images=pictures, return_tensors="pt"))
        grid = found.get("image_grid_thw")
        sizes = [36] * len(images) if grid is None else (grid.prod(-1) // 4).tolist()
    for size in sizes:
        prompt = prompt.replace("<|image_pad|>", "<placeholder>" * size, 1)
    prompt = prompt.replace("<placeholder>", "<|image_pad|>")
    tokenizer = loaded.prompter._tokenizer
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    if "image_grid_thw" in found:
        found["mm_token_type_ids"] = (ids == model.image_token).int()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **found}


def test_greedy_text_is_that_of_generate(loaded: Loaded) -> None:
    talk = question_for(loaded)
    expected = reference(loaded, talk, 40)
    session = session_of(loaded, talk)
    pieces = stream(loaded, session, sampling=SamplingParams(40))
    branch = session.branches[0]
    assert branch.ids[len(session.prompt) :] == expected[: len(pieces) - 1]
    text = loaded.prompter._tokenizer.decode(expected, skip_special_tokens=True)
    assert text.startswith("".join(piece.text for piece in pieces))
    assert len(expected) == sum(piece.tokens for piece in pieces)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "qwen3_vl"])
def test_several_pictures_of_different_sizes(family: str, loaded_models: dict[str, Loaded]) -> None:
    loaded = loaded_models[family]
    talk = conversation("Compare.", picture(1), picture(2, 60, 130), picture(3, 200, 40))
    expected = reference(loaded, talk, 12)
    session = session_of(loaded, talk)
    stream(loaded, session, sampling=SamplingParams(12))
    assert session.branches[0].ids[len(session.prompt) :] == expected[:11]


def test_guessing_from_earlier_words_changes_no_greedy_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    plain = stream(loaded, session_of(loaded, talk), ("Tea, tea, tea, ",), SamplingParams(60))
    session = session_of(loaded, talk)
    guessed = stream(loaded, session, ("Tea, tea, tea, ",), SamplingParams(60, lookup=10))
    assert [piece.text for piece in guessed] == [piece.text for piece in plain]
    again = stream(loaded, session, ("Tea, tea, tea, ",), SamplingParams(60, lookup=10))
    assert [piece.text for piece in again] == [piece.text for piece in plain]


def test_a_guess_at_how_a_stream_begins_changes_no_greedy_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    plain = "".join(
        p.text for p in stream(loaded, session_of(loaded, talk), (), SamplingParams(30))
    )
    for text in (plain, plain[:9], f"{plain[:9]} Tea.", "Tea."):
        sampling = SamplingParams(30, guess=text)
        guessed = stream(loaded, session_of(loaded, talk), (), sampling)
        assert "".join(piece.text for piece in guessed) == plain


def test_a_guess_saves_passes_unless_nothing_is_to_be_reused(text_model: Loaded) -> None:
    talk = question_for(text_model, 1)  # whose text begins with whole characters
    plain = "".join(
        p.text for p in stream(text_model, session_of(text_model, talk), (), SamplingParams(30))
    )
    for token_reuse in (True, False):
        session = session_of(text_model, talk)
        passes = count_passes(session)
        pieces = stream(
            text_model, session, (), SamplingParams(30, guess=plain, token_reuse=token_reuse)
        )
        assert "".join(piece.text for piece in pieces) == plain
        assert (len(passes) == len(pieces)) is not token_reuse


def test_log_probabilities_come_where_they_are_asked_for(text_model: Loaded) -> None:
    talk = question_for(text_model)
    asked = stream(text_model, session_of(text_model, talk), (), SamplingParams(5, logprobs=True))
    plain = stream(text_model, session_of(text_model, talk), (), SamplingParams(5))
    assert all(piece.logprob < 0 for piece in asked)
    assert [piece.logprob for piece in plain] == [None] * 5
    assert [piece.text for piece in plain] == [piece.text for piece in asked]


def test_reading_a_prompt_in_parts_changes_nothing(loaded: Loaded) -> None:
    talk = question_for(loaded)
    whole = stream(loaded, session_of(loaded, talk))
    parts = stream(loaded, session_of(loaded, talk), prefill=7)
    assert [piece.text for piece in parts] == [piece.text for piece in whole]
    assert [piece.logprob for piece in parts] == pytest.approx(
        [piece.logprob for piece in whole], abs=1e-4
    )
