"""Greedy text equals that of transformers' `generate`, token for token."""

from __future__ import annotations

import pytest

from dreamr.engines import SamplingParams
from dreamr.engines.local.load import Loaded
from support.local_calls import count_passes, reference, session_of, stream
from support.local_models import conversation, image, question_for


def test_greedy_text_equals_that_of_generate(loaded: Loaded) -> None:
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
def test_text_about_several_images_equals_that_of_generate(
    family: str, loaded_models: dict[str, Loaded]
) -> None:
    loaded = loaded_models[family]
    talk = conversation("Compare.", image(1), image(2, 60, 130), image(3, 200, 40))
    expected = reference(loaded, talk, 12)
    session = session_of(loaded, talk)
    stream(loaded, session, sampling=SamplingParams(12))
    assert session.branches[0].ids[len(session.prompt) :] == expected[:11]


def test_prompt_lookup_does_not_change_greedy_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    plain = stream(loaded, session_of(loaded, talk), ("Tea, tea, tea, ",), SamplingParams(60))
    session = session_of(loaded, talk)
    guessed = stream(loaded, session, ("Tea, tea, tea, ",), SamplingParams(60, lookup=10))
    assert [piece.text for piece in guessed] == [piece.text for piece in plain]
    again = stream(loaded, session, ("Tea, tea, tea, ",), SamplingParams(60, lookup=10))
    assert [piece.text for piece in again] == [piece.text for piece in plain]


def test_a_guess_does_not_change_greedy_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    plain = "".join(
        p.text for p in stream(loaded, session_of(loaded, talk), (), SamplingParams(30))
    )
    for text in (plain, plain[:9], f"{plain[:9]} Tea.", "Tea."):
        sampling = SamplingParams(30, guess=text)
        guessed = stream(loaded, session_of(loaded, talk), (), sampling)
        assert "".join(piece.text for piece in guessed) == plain


def test_a_guess_saves_passes_unless_token_reuse_is_off(text_model: Loaded) -> None:
    talk = question_for(text_model, 1)  # its text begins with whole characters
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


def test_log_probabilities_are_returned_on_request(text_model: Loaded) -> None:
    talk = question_for(text_model)
    asked = stream(text_model, session_of(text_model, talk), (), SamplingParams(5, logprobs=True))
    plain = stream(text_model, session_of(text_model, talk), (), SamplingParams(5))
    assert all(piece.logprob < 0 for piece in asked)
    assert [piece.logprob for piece in plain] == [None] * 5
    assert [piece.text for piece in plain] == [piece.text for piece in asked]


def test_chunked_prefill_does_not_change_the_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    whole = stream(loaded, session_of(loaded, talk))
    parts = stream(loaded, session_of(loaded, talk), prefill=7)
    assert [piece.text for piece in parts] == [piece.text for piece in whole]
    assert [piece.logprob for piece in parts] == pytest.approx(
        [piece.logprob for piece in whole], abs=1e-4
    )


def test_entropies_do_not_change_the_text(loaded: Loaded) -> None:
    talk = question_for(loaded)
    plain = stream(loaded, session_of(loaded, talk), sampling=SamplingParams(8))
    known = stream(loaded, session_of(loaded, talk), sampling=SamplingParams(8, entropy=True))
    assert [piece.text for piece in known] == [piece.text for piece in plain]
    assert {piece.entropy for piece in plain} == {None}
    assert all(piece.entropy is not None and piece.entropy > 0 for piece in known)
