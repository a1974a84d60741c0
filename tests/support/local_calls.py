"""Calls on sessions of a local model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL import Image as Pictures
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from dreamr.conversation import Conversation, Image, Text
from dreamr.engines import SamplingParams
from dreamr.engines.local.ipc import Piece
from dreamr.engines.local.judging import Judging
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.session import Session
from dreamr.engines.local.stream import StreamTask
from dreamr.engines.local.tool_calls import Wanted
from dreamr.gate import VERDICT, Evidence, Query


def stream(
    loaded: Loaded,
    session: Session,
    prefix: tuple[str, ...] = (),
    sampling: SamplingParams | None = None,
    prefill: int = 512,
    wanted: Wanted | None = None,
) -> list[Piece]:
    """Return all pieces of a stream."""
    with torch.inference_mode():
        task = StreamTask(
            1,
            session,
            prefix,
            sampling or SamplingParams(24, logprobs=True),
            loaded=loaded,
            credit=99,
            prefill=prefill,
            wanted=wanted,
        )
        pieces: list[Piece] = []
        while not pieces or pieces[-1].finish is None:
            pieces += [piece for piece in [task.advance()] if piece is not None]
        task.close()
    return pieces


def whole_from(session: Session, pieces: list[Piece], least: int) -> int:
    """Return a number of pieces that splits no character, if possible at least `least`."""
    ends = session.root.tails[-1].generation.ends
    cuts = [n for n in range(1, len(pieces)) if pieces[n - 1].text and ends[n - 1] >= 0]
    return next((n for n in cuts if n >= least), cuts[-1])


def count_passes(session: Session) -> list[object]:
    """Return a list that grows by one with each later pass of the session."""
    passes: list[object] = []
    part = session.part
    session.part = lambda *given, **named: passes.append(given) or part(*given, **named)  # type: ignore[method-assign,func-returns-value]
    return passes


def session_of(loaded: Loaded, talk: Conversation) -> Session:
    with torch.inference_mode():
        return Session(loaded, talk)


def reference(loaded: Loaded, talk: Conversation, tokens: int) -> list[int]:
    """Return the tokens that transformers' `generate` writes."""
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
    """Build the model inputs by hand, because the processors of Qwen-VL need torchvision."""
    model = loaded.model
    found: dict[str, Any] = {}
    sizes: list[int] = []
    if images:
        images = [Pictures.frombytes("RGB", (i.width, i.height), i.pixels) for i in images]
        found = dict(model.image_processor(images=images, return_tensors="pt"))
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


PREFIX = ("Tea costs 3.20.\n\n", "Milk costs 1.45.\n\n")


CANDIDATES = ("Together: 3.20 + 1.45 = 4.65.\n\n", "The blue square.\n\n", "So 4.65 is negative.")


def judge(
    judged_by: Judging,
    session: Session,
    prefix: Sequence[str],
    candidates: Sequence[str],
    query: Query = VERDICT,
) -> tuple[Evidence, ...]:
    with torch.inference_mode():
        return judged_by.judge(session, prefix, candidates, query)


def same(first: Evidence, second: Evidence) -> bool:
    """Check that two verdicts are equal up to a relative error of 1e-4."""
    return (first.positive, first.negative, first.logprob) == pytest.approx(
        (second.positive, second.negative, second.logprob), rel=1e-4, abs=1e-9
    ) and first.tokens == second.tokens


def all_same(first: Sequence[Evidence], second: Sequence[Evidence]) -> bool:
    """Check that both hold the same, non-zero number of verdicts and all are the `same`."""
    return 0 < len(first) == len(second) and all(map(same, first, second))


def metaspace() -> Any:
    """Return a sentencepiece-like tokenizer: spaces as marks, unknown characters as bytes."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz,", "th", "the", "▁the", "te", "▁te"]
    names = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("t", "e"), ("▁", "te")]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


META = metaspace()
