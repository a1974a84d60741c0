"""A row decoded in static buffers equals the row of the modules."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamr.engines import SamplingParams
from dreamr.engines.local.cuda_graph import StaticStep
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.model import LocalModel
from support.local_calls import session_of, stream
from support.local_models import load_from, question_for


def row(model: LocalModel, token: int, store: Any) -> Part:
    return Part(model.tokens([token]), model.line(store.length, store.length + 1), store, None)


def rows(model: LocalModel, tokens: list[int], store: Any) -> Part:
    """Return a part like that of a checked guess: with a mask, after the rows of the store."""
    start, end = store.length, store.length + len(tokens)
    mask = torch.ones((1, 1, len(tokens), end), dtype=torch.bool).tril(start)
    return Part(model.tokens(tokens), model.line(start, end), store, mask)


def static_step(model: LocalModel, capacity: int) -> StaticStep:
    like = Part(model.tokens([0]), model.line(0, 1), model.new_store(), None)
    return StaticStep(model.hf.get_decoder(), model._shape, capacity, like)


@pytest.mark.parametrize("seed", range(3))
def test_interleaved_sequences_with_rewinds_give_the_rows_of_the_modules(
    torch_models: dict[str, Loaded], family: str, seed: int
) -> None:
    """Other passes write to the stores in between, also where a step has written."""
    model, draws = torch_models[family].model, random.Random(seed)
    with torch.inference_mode():
        step = static_step(model, 128)
        stores = [[model.new_store(), model.new_store()] for _ in range(2)]
        for _ in range(80):
            store, reference = draws.choice(stores)
            match draws.choice(["step", "step", "step", "pass", "rewind", "lost", "adopt"]):
                case "step":
                    token = draws.randrange(390)
                    found = step(row(model, token, store))
                    (expected,) = model.decoder([row(model, token, reference)])
                    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
                    store.advance(1)
                    reference.advance(1)
                case "pass" | "lost" as kind:
                    tokens = [draws.randrange(390) for _ in range(3)]
                    kept = draws.randrange(4) if kind == "pass" else 0
                    for one in (store, reference):
                        model.decoder([rows(model, tokens, one)])
                        one.advance(kept)
                case "rewind":
                    length = max(0, store.length - draws.randint(1, 5))
                    store.rewind(length)
                    reference.rewind(length)
                case "adopt":
                    other, same = draws.choice(stores)
                    length = draws.randint(0, store.length)
                    if other is not store and other.length >= length:
                        for one, source in ((store, other), (reference, same)):
                            one.rewind(length)
                            one.adopt(source, other.length)


def test_rows_written_by_another_pass_after_a_rewind_are_copied(
    torch_models: dict[str, Loaded],
) -> None:
    model = torch_models["qwen3"].model
    with torch.inference_mode():
        found = []
        for run in (static_step(model, 64), lambda part: model.decoder([part])[0]):
            one: Any = model.new_store()
            for token in range(8):
                run(row(model, token, one))
                one.advance(1)
            one.rewind(4)
            model.decoder([rows(model, [90, 91, 92], one)])
            one.advance(3)
            found.append(run(row(model, 93, one)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.fixture(params=["qwen3", "qwen2_5_vl", "qwen3_vl"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_keys_and_values_of_a_step_equal_those_of_the_modules(
    torch_models: dict[str, Loaded],
) -> None:
    model = torch_models["qwen3"].model
    with torch.inference_mode():
        step, store, reference = static_step(model, 8), model.new_store(), model.new_store()
        for token in range(8):
            step(row(model, token, store))
            model.decoder([row(model, token, reference)])
            store.advance(1)
            reference.advance(1)
    kept: list[Any] = [one.rows[:, :, :, :8] for one in (store, reference)]
    torch.testing.assert_close(kept[0], kept[1], rtol=1e-4, atol=1e-4)


def test_consecutive_steps_of_a_sequence_copy_nothing(torch_models: dict[str, Loaded]) -> None:
    model = torch_models["qwen3"].model
    with torch.inference_mode():
        step, store = static_step(model, 64), model.new_store()
        model.decoder([rows(model, list(range(20)), store)])
        store.advance(20)
        copied = []
        for token in range(5):
            copied.append(store.length - store.copied)
            step(row(model, token, store))
            store.advance(1)
    assert copied == [20, 0, 0, 0, 0]


class FailingOnce:
    """A graph that fails at its first step, then returns rows of ones."""

    def __init__(self, error: Exception) -> None:
        self._error: Exception | None = error

    def __call__(self, part: Part) -> torch.Tensor:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return torch.ones_like(part.embeds[0])


@pytest.mark.parametrize(
    ("error", "again"),
    [(torch.OutOfMemoryError("out of memory"), True), (RuntimeError("cannot capture"), False)],
)
def test_a_graph_is_tried_again_if_only_memory_was_lacking(
    torch_models: dict[str, Loaded],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    again: bool,
) -> None:
    model = torch_models["qwen3"].model
    decoder: Any = model.decoder
    with torch.inference_mode():
        (expected,) = decoder([row(model, 7, model.new_store())])
        monkeypatch.setattr(decoder, "_graph", FailingOnce(error))
        with pytest.warns(RuntimeWarning, match=f"without a CUDA graph.*: {error}"):
            (found,) = decoder([row(model, 7, model.new_store())])
        torch.testing.assert_close(found, expected)
        (later,) = decoder([row(model, 7, model.new_store())])
    assert bool((later == 1).all()) == again


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_graph_writes_the_same_text_as_the_modules(folders: dict[str, Path]) -> None:
    loaded = load_from(folders["qwen3"], device="cuda", dtype="float32")
    decoder: Any = loaded.model.decoder
    texts = []
    for seed in range(2):  # two conversations on one graph
        talk = question_for(loaded, seed)
        pieces = stream(loaded, session_of(loaded, talk), (), SamplingParams(40))
        texts.append([piece.text for piece in pieces])
    assert decoder._graph._step._graph is not None
    decoder._graph = None
    for seed in range(2):
        talk = question_for(loaded, seed)
        pieces = stream(loaded, session_of(loaded, talk), (), SamplingParams(40))
        assert [piece.text for piece in pieces] == texts[seed]
