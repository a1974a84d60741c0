"""Judging several steps in one pass gives the same evidence as judging them one by one."""

from __future__ import annotations

import math

import pytest
import torch

from dreamr.engines import SamplingParams
from dreamr.engines.local.forward_pass import Passes, alone
from dreamr.engines.local.judging import block_mask
from dreamr.engines.local.load import Loaded
from dreamr.errors import ContextTooLong, EngineError
from dreamr.gate import Evidence, Query, QueryKind
from support.local_calls import (
    CANDIDATES,
    PREFIX,
    all_same,
    judge,
    same,
    session_of,
    stream,
    whole_from,
)
from support.local_models import QUESTION, judging, question_for


def test_judging_together_equals_judging_one_by_one(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    together = judge(ask, session_of(loaded, talk), PREFIX, CANDIDATES)
    for place, evidence in enumerate(together):
        before = (*PREFIX, *CANDIDATES[:place])
        alone = judge(ask, session_of(loaded, talk), before, CANDIDATES[place : place + 1])
        assert same(evidence, alone[0])


OTHERS = ("Together: 4.65.\n\n", "A blue one, and larger.\n\n", "No.")


@pytest.mark.parametrize("kind", ["score", "same", "agreement"])
def test_other_queries_together_equal_queries_one_by_one(loaded: Loaded, kind: QueryKind) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    together = judge(ask, session_of(loaded, talk), PREFIX, CANDIDATES, Query(kind, OTHERS))
    for place, evidence in enumerate(together):
        before = (*PREFIX, *CANDIDATES[:place])
        query = Query(kind, OTHERS[place : place + 1])
        one = CANDIDATES[place : place + 1]
        (alone,) = judge(ask, session_of(loaded, talk), before, one, query)
        assert same(evidence, alone)
        assert evidence.scores == pytest.approx(alone.scores, rel=1e-4)
        assert evidence.matched_tokens == alone.matched_tokens


def test_only_score_queries_return_ten_probabilities(text_model: Loaded) -> None:
    ask, session = judging(text_model), session_of(text_model, question_for(text_model))
    (scored,) = judge(ask, session, PREFIX, CANDIDATES[:1], Query("score"))
    (judged,) = judge(ask, session, PREFIX, CANDIDATES[:1])
    assert len(scored.scores) == 10
    assert 0 < sum(scored.scores) <= 1
    assert scored.mass == 0
    assert judged.mass > 0
    assert not judged.scores


def test_same_queries_depend_on_the_step_to_compare_with(text_model: Loaded) -> None:
    ask, session = judging(text_model), session_of(text_model, question_for(text_model))
    one, other = (
        judge(ask, session, PREFIX, CANDIDATES[:1], Query("same", (text,)))[0].ratio
        for text in OTHERS[:2]
    )
    assert one != pytest.approx(other, rel=1e-6)


def test_too_few_steps_to_compare_with_are_an_error(text_model: Loaded) -> None:
    ask, session = judging(text_model), session_of(text_model, question_for(text_model))
    with pytest.raises(EngineError, match="3 candidates, but only 1 steps to compare with"):
        judge(ask, session, PREFIX, CANDIDATES, Query("same", OTHERS[:1]))


def test_an_unasked_step_is_read_and_does_not_change_other_evidence(loaded: Loaded) -> None:
    session, ask = session_of(loaded, question_for(loaded)), judging(loaded)
    plain = judge(ask, session_of(loaded, question_for(loaded)), PREFIX, CANDIDATES)
    found = judge(ask, session, PREFIX, CANDIDATES, Query(unasked="The blue"))
    assert [evidence.mass > 0 for evidence in found] == [True, False, True]
    assert all(same(found[place], plain[place]) for place in (0, 2))
    assert found[1].logprob == pytest.approx(plain[1].logprob, rel=1e-4)
    assert (found[1].matched_tokens, found[1].target_prefix) == (
        plain[1].matched_tokens,
        plain[1].target_prefix,
    )


def test_evidence_includes_how_the_model_itself_would_begin(loaded: Loaded) -> None:
    session, ask = session_of(loaded, question_for(loaded)), judging(loaded)
    pieces = stream(loaded, session)
    own = "".join(piece.text for piece in pieces)
    known = "".join(piece.text for piece in pieces[: whole_from(session, pieces, 4)])
    (found,) = judge(ask, session, (), [f"{known}~ and so on."])
    assert found.target_prefix
    assert own.startswith(found.target_prefix)


def test_agreement_counts_the_tokens_that_the_model_would_write(loaded: Loaded) -> None:
    session, ask = session_of(loaded, question_for(loaded)), judging(loaded)
    pieces = stream(loaded, session)
    cut = whole_from(session, pieces, 8)
    own = "".join(piece.text for piece in pieces[:cut])
    (found,) = judge(ask, session, (), [own], Query("agreement"))
    assert found.tokens == found.matched_tokens == cut
    (other,) = judge(ask, session, (), [f"~{own}"], Query("agreement"))
    assert other.matched_tokens < other.tokens


def test_margins_compare_each_token_with_the_best_other_token(
    text_model: Loaded,
) -> None:
    talk, ask = question_for(text_model), judging(text_model)
    session = session_of(text_model, talk)
    found = judge(ask, session, PREFIX, CANDIDATES)
    with torch.inference_mode():
        nodes = session.walk([*PREFIX, *CANDIDATES])
        ids = session.tokens(nodes)
        own = session_of(text_model, talk)
        branch = own.acquire("judge", ids)
        rows = alone(own.feed(branch, ids, len(ids)), text_model.model.run)
        shares = text_model.model.logits(rows).softmax(-1)
    end = len(session.tokens(nodes[: len(PREFIX)]))
    for node, evidence in zip(nodes[len(PREFIX) :], found, strict=True):
        ratios, logs, missed = [], [], [0.0]
        for token in node.ids:
            row = shares[end - 1].clone()
            mine = float(row[token])
            if int(row.argmax()) != token:
                missed.append(float(row.max()))
            row[token] = 0
            ratios.append(mine / (mine + float(row.max())))
            logs.append(math.log(mine))
            end += 1
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        assert evidence.mean_margin == pytest.approx(mean, rel=1e-3)
        assert evidence.min_margin == pytest.approx(min(ratios), rel=1e-3)
        assert evidence.min_logprob == pytest.approx(min(logs), rel=1e-3)
        assert evidence.surest_mismatch == pytest.approx(max(missed), rel=1e-3)
        assert (evidence.min_margin > 0.5) is (evidence.matched_tokens == evidence.tokens)


def test_evidence_tells_whether_the_likeliest_token_is_a_label(text_model: Loaded) -> None:
    session, ask = session_of(text_model, question_for(text_model)), judging(text_model)
    (found,) = judge(ask, session, (), CANDIDATES[:1], Query("word"))
    # Random weights: the labels are two tokens of many.
    assert found.top_label is (max(found.positive, found.negative) > 0.5)
    (read,) = judge(ask, session, (), CANDIDATES[:1], Query("agreement"))
    assert read.top_label is None


def test_two_questions_have_prompts_of_their_own(text_model: Loaded) -> None:
    session, ask = session_of(text_model, question_for(text_model)), judging(text_model)
    kinds: tuple[QueryKind, ...] = ("verdict", "seen", "follows")
    found = [judge(ask, session, (), CANDIDATES[:1], Query(kind))[0].ratio for kind in kinds]
    assert len(set(found)) == 3


def test_nothing_is_asked_about_steps_above_the_target_confidence(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    whole = judge(ask, session_of(loaded, talk), PREFIX, CANDIDATES)
    min_margin = sorted(evidence.min_margin or 0.0 for evidence in whole)
    for target_confidence in (0.0, min_margin[1], min_margin[2], 1.0):
        session = session_of(loaded, talk)
        found = judge(ask, session, PREFIX, CANDIDATES, Query(target_confidence=target_confidence))
        for seen, asked in zip(found, whole, strict=True):
            assert seen.mean_margin == pytest.approx(asked.mean_margin, rel=1e-3)
            if (asked.min_margin or 0.0) >= target_confidence * (1 + 1e-4):
                assert not seen.asked
            elif (asked.min_margin or 0.0) < target_confidence * (1 - 1e-4):
                assert same(seen, asked)
        # The questions are discarded, and the steps are kept.
        again = judge(ask, session, (*PREFIX, CANDIDATES[0]), CANDIDATES[1:])
        assert same(again[0], whole[1])


def passes_of(model: Loaded, call: Passes[tuple[Evidence, ...]]) -> int:
    """Return the number of passes of a judge call."""
    count, rows = 0, None
    with torch.inference_mode():
        while True:
            try:
                part = call.send(rows)  # type: ignore[arg-type]
            except StopIteration:
                return count
            count, rows = count + 1, model.model.run(part)


def test_questions_join_the_first_pass_if_most_calls_need_them(text_model: Loaded) -> None:
    talk, ask = question_for(text_model), judging(text_model)
    session = session_of(text_model, talk)
    judge(ask, session, PREFIX, CANDIDATES)
    found = [
        passes_of(text_model, ask.passes(session, PREFIX, CANDIDATES, Query(target_confidence=1.0)))
        for _ in range(40)
    ]
    assert (found[0], found[-1]) == (2, 1)
    # The evidence still includes the answers.
    assert all(
        one.asked for one in judge(ask, session, PREFIX, CANDIDATES, Query(target_confidence=1.0))
    )


def test_one_pass_gives_the_evidence_of_a_full_forward_pass(text_model: Loaded) -> None:
    """The reference is transformers' plain forward pass over prompt, steps and question."""
    model, prompter = text_model.model, text_model.prompter
    ask, session = judging(text_model), session_of(text_model, question_for(text_model))
    found = judge(ask, session, PREFIX, CANDIDATES)
    steps = [prompter.step(text) for text in (*PREFIX, *CANDIDATES)]
    for place, evidence in enumerate(found):
        before = [*session.prompt, *(i for step in steps[: 2 + place] for i in step)]
        own = steps[2 + place]
        ids = torch.tensor([[*before, *own, *prompter.question(QUESTION)]])
        with torch.inference_mode():
            logits = model.hf(input_ids=ids).logits[0].log_softmax(-1)
        rows = logits[len(before) - 1 : len(before) - 1 + len(own)]
        logprob = rows.gather(1, torch.tensor(own)[:, None]).mean()
        positive = logits[-1].exp()[ask._answers["verdict"][0]].sum()
        negative = logits[-1].exp()[ask._answers["verdict"][1]].sum()
        assert same(evidence, Evidence(float(positive), float(negative), float(logprob), len(own)))


def test_judged_steps_are_kept_and_questions_are_discarded(loaded: Loaded) -> None:
    session = session_of(loaded, question_for(loaded))
    judge(judging(loaded), session, PREFIX, CANDIDATES)
    steps = session.tokens(session.walk([*PREFIX, *CANDIDATES]))
    assert session.branches[0].ids == steps
    taken = session.acquire("stream", steps)
    assert len(taken.ids) == len(steps) - 1


def test_judging_twice_gives_the_same_evidence(loaded: Loaded) -> None:
    session, ask = session_of(loaded, question_for(loaded)), judging(loaded)
    first = judge(ask, session, PREFIX, CANDIDATES)
    judge(ask, session, PREFIX[:1], CANDIDATES[1:])
    again = judge(ask, session, PREFIX, CANDIDATES)
    assert all_same(first, again)


def test_judging_does_not_change_a_concurrent_stream(loaded: Loaded) -> None:
    talk, ask = question_for(loaded), judging(loaded)
    expected = [piece.text for piece in stream(loaded, session_of(loaded, talk), PREFIX)]
    alone = judge(ask, session_of(loaded, talk), PREFIX, CANDIDATES)
    session = session_of(loaded, talk)
    made = []
    for piece in stream_with(loaded, session, lambda: judge(ask, session, PREFIX, CANDIDATES)):
        text, evidence = piece
        made.append(text)
        assert all_same(alone, evidence)
    assert made == expected


def stream_with(loaded, session, call):  # type: ignore[no-untyped-def]
    """Yield the texts of a stream, each with the result of a call made right after it."""
    from dreamr.engines.local.stream import StreamTask

    with torch.inference_mode():
        task = StreamTask(
            1, session, PREFIX, SamplingParams(24), loaded=loaded, credit=99, prefill=512
        )
        while True:
            piece = task.advance()
            if piece is not None:
                yield piece.text, call()
                if piece.finish is not None:
                    return


def test_judging_no_candidates_does_nothing(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    assert judge(judging(text_model), session, PREFIX, ()) == ()
    assert session.branches == []


def test_an_empty_step_has_a_verdict_but_no_logprob(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    evidence = judge(judging(text_model), session, PREFIX, ("", CANDIDATES[0]))
    assert evidence[0].logprob is None
    assert evidence[0].tokens == 0
    assert evidence[0].mass > 0
    assert evidence[1].logprob is not None


def test_steps_without_room_for_the_question_are_an_error(text_model: Loaded) -> None:
    session = session_of(text_model, question_for(text_model))
    with pytest.raises(ContextTooLong, match="640"):
        judge(judging(text_model), session, (), ("apple " * 300,))
    assert not any(branch.busy for branch in session.branches)


def test_a_question_attends_to_its_step_earlier_steps_and_itself() -> None:
    mask = block_mask(2, 3, [1, 3], [2, 2])[0, 0].int().tolist()
    assert mask == [
        [1, 1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 1, 0],
        [1, 1, 1, 1, 1, 0, 0, 1, 1],
    ]
