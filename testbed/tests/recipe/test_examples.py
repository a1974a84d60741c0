"""Examples match inference: a branch attends to the same tokens as a judge call."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers")

from dreamr_testbed.recipe.collate import collate
from dreamr_testbed.recipe.corrupt import DIGITS, FAMILIES, wrong_step
from dreamr_testbed.recipe.drills import draw_drill, draw_judged_drill
from dreamr_testbed.recipe.examples import IGNORE
from dreamr_testbed.recipe.loop import hidden_states
from dreamr_testbed.recipe.models import Size, build_model, grow
from dreamr_testbed.recipe.plan import read_recipes
from dreamr_testbed.recipe.prompts import prompt_of
from dreamr_testbed.recipe.tokens import (
    ASSISTANT,
    DELIMITER,
    END,
    JUDGE_QUESTION,
    NEGATIVE,
    POSITIVE,
    USER,
)
from dreamr_testbed.suites import EXTRA_SUITES, SUITES, ReferenceStep, make_problem

from dreamr.evaluation.tasks import MARKER

RECIPES = read_recipes()
TARGET, DRAFT = RECIPES["target"], RECIPES["draft"]
TINY = Size(2, 32, 64, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
TERSE = replace(TARGET.data_mix, ends=0.0, between=0.0)
WITHOUT_SLIPS = replace(TARGET.data_mix, slips=0)


@pytest.fixture(scope="module")
def model(maker):
    torch.manual_seed(0)
    return build_model(TINY, maker.tokenizer).eval()


def plain(example, upto, extra):
    """Return the main path up to a cut and a branch as one sequence without branches."""
    pixels = collate([example], 0)["pixels"]
    ids = torch.tensor([[*example.ids[:upto], *extra]])
    size = ids.shape[1]
    return {
        "pixels": pixels,
        "ids": ids,
        "positions": torch.arange(size)[None],
        "mask": torch.ones(size, size).tril().bool()[None, None],
    }


def test_a_branch_equals_a_separate_sequence(maker, model):
    rng = Random(1)
    problem = make_problem("vqa", "train", 3)
    example = maker.solution(problem, TARGET.data_mix, rng)
    batch = collate(
        [example, maker.solution(make_problem("story", "train", 4), TARGET.data_mix, rng)], 0
    )
    with torch.no_grad():
        together = hidden_states(model, batch)[0][0]
        for branch in range(1, max(example.segments) + 1):
            own = [i for i, s in enumerate(example.segments) if s == branch]
            extra = [example.ids[i] for i in own]
            alone, _ = hidden_states(model, plain(example, example.cuts[own[0]], extra))
            torch.testing.assert_close(together[own[-1]], alone[0, -1], atol=2e-2, rtol=0)


def judge(maker):
    return maker.ids(f"{END}{USER}{JUDGE_QUESTION}{ASSISTANT}")


def test_each_branch_has_one_verdict_and_wrong_steps_are_negative(maker):
    verdicts = dict(zip(maker.verdict_ids, (True, False), strict=True))
    for index in range(50):
        problem = make_problem("docmath", "train", index)
        example = maker.solution(problem, WITHOUT_SLIPS, Random(index))
        for branch in range(1, max(example.segments) + 1):
            own = [i for i, s in enumerate(example.segments) if s == branch]
            asked = [example.labels[i] for i in own if example.labels[i] != IGNORE]
            assert len(asked) == 1
            has_step = len(own) > len(judge(maker))
            assert verdicts[asked[0]] is not has_step


def test_verdict_words_are_single_tokens(maker):
    assert len(maker.ids(POSITIVE)) == len(maker.ids(NEGATIVE)) == 1


def test_digits_stay_single(maker):
    tokens = maker.tokenizer.convert_ids_to_tokens(maker.ids("48 - 17 = 31"))
    assert all(sum(c.isdigit() for c in token) <= 1 for token in tokens)


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_tokenizing_step_by_step_equals_tokenizing_the_whole(maker, suite):
    problem = make_problem(suite, "train", 5)
    steps = [step.wordy + DELIMITER for step in problem.steps] + [f"{MARKER} {problem.answer}"]
    whole = maker.tokenizer("".join(steps), add_special_tokens=False)["input_ids"]
    assert [i for step in steps for i in maker.ids(step)] == whole
    assert maker.tokenizer.decode(whole) == "".join(steps)


@pytest.mark.parametrize("suite", sorted({*SUITES, *EXTRA_SUITES}))
def test_wrong_steps_are_never_a_right_rendering(suite):
    for index in range(60):
        problem = make_problem(suite, "train", index)
        for at, step in enumerate(problem.steps):
            wrong = wrong_step(problem, at, "terse", Random(index))
            assert wrong is None or wrong not in step.renderings


def test_a_grown_model_computes_the_same(maker, model):
    grown = grow(model, Size(5, 32, 64, 1, 1, 1, 32), maker.tokenizer).eval()
    batch = collate([maker.solution(make_problem("vqa", "train", 1), DRAFT.data_mix, Random(0))], 0)
    assert grown.config.text_config.num_hidden_layers == 5
    with torch.no_grad():
        torch.testing.assert_close(hidden_states(grown, batch)[0], hidden_states(model, batch)[0])


def test_drills_train_on_most_of_their_tokens(maker):
    rng = Random(0)
    trained = tokens = 0
    for _ in range(60):
        example = maker.drill(draw_drill(rng))
        trained += sum(label != IGNORE for label in example.labels)
        tokens += len(example)
    assert trained / tokens > 0.4


def test_drills_beside_images_do_not_change_them(maker, model):
    solution = maker.solution(make_problem("vqa", "train", 1), DRAFT.data_mix, Random(0))
    drill = maker.drill(draw_drill(Random(3)))
    with torch.no_grad():
        alone, _ = hidden_states(model, collate([solution], 0))
        both, _ = hidden_states(model, collate([drill, solution], 0))
    torch.testing.assert_close(both[1, : len(solution)], alone[0])


def test_images_of_other_examples_do_not_change_an_example(maker, model):
    clip, pages, board = (
        maker.solution(make_problem(suite, "train", 1, 1), TARGET.data_mix, Random(0))
        for suite in ("clip", "pages", "vqa")
    )
    drill = maker.drill(draw_drill(Random(3)))
    with torch.no_grad():
        together, _ = hidden_states(model, collate([clip, drill, pages, board], 0))
        for row, example in ((0, clip), (2, pages), (3, board)):
            alone, _ = hidden_states(model, collate([example], 0))
            torch.testing.assert_close(together[row, : len(example)], alone[0])


def test_each_image_takes_its_own_place(maker, model):
    problem = make_problem("pages", "train", 1, 1)
    swapped = replace(problem, images=problem.images[::-1])
    batch, other = (
        collate([maker.solution(one, TERSE, Random(0))], 0) for one in (problem, swapped)
    )
    assert torch.equal(batch["ids"], other["ids"])
    with torch.no_grad():
        assert not torch.allclose(hidden_states(model, batch)[0], hidden_states(model, other)[0])


def test_the_style_of_a_step_does_not_reveal_the_verdict(maker):
    steps = 0
    for index in range(40):
        problem = make_problem("story", "train", index)
        example = maker.solution(problem, TERSE, Random(index))
        firsts = [MARKER, *(step.terse.split()[0] for step in problem.steps)]
        terse = {tuple(maker.ids(first)) for first in firsts}
        for branch in range(1, max(example.segments) + 1):
            own = [i for i, s in zip(example.ids, example.segments, strict=True) if s == branch]
            if len(own) > len(judge(maker)):
                assert any(tuple(own[: len(start)]) == start for start in terse)
                steps += 1
    assert steps > 40


def test_examples_teach_the_judges_of_other_methods(maker):
    mix = replace(TARGET.stages[-1].data_mix(TARGET.data_mix), slips=0)
    answers = Counter()
    for index in range(60):
        problem = make_problem("docmath", "train", index)
        right = {text for step in problem.steps for text in step.renderings}
        example = maker.mistaken(problem, ["terse"], "Row 1: Bob, 7.", mix, Random(index))
        for branch in range(1, max(example.segments) + 1):
            own = [i for i, s in enumerate(example.segments) if s == branch]
            text = maker.tokenizer.decode([example.ids[i] for i in own])
            step, question = text.split(f"{END}{USER}")
            answer = maker.tokenizer.decode([example.labels[own[-1]]])
            if question.startswith("Judge 9"):
                assert answer == ("0" if step else "9")
                answers["score", answer] += 1
            elif question.startswith("Judge\n\n"):
                other = question.removeprefix("Judge\n\n").removesuffix(ASSISTANT)
                if answer == POSITIVE:  # else both have the same error
                    assert (not step) == (other in right)
                assert step.removesuffix(DELIMITER) != other
                answers["same", answer] += 1
    assert set(answers) == {("score", "0"), ("score", "9"), ("same", POSITIVE), ("same", NEGATIVE)}
    assert min(answers.values()) > 20


def test_the_final_answer_is_judged_too_right_or_wrong(maker):
    mix = replace(TARGET.data_mix, branches=0, answers=1.0, slips=0)
    verdicts = set()
    for index in range(30):
        problem = make_problem("vqa", "train", index)
        example = maker.solution(problem, mix, Random(index))
        main = example.segments.count(0)
        right = maker.ids(f"{MARKER} {problem.answer}")
        branch = example.ids[main:]
        assert example.ids[main - 1 - len(right) : main - 1] == right
        wrong = branch[: len(branch) - len(judge(maker))]
        assert branch[len(wrong) :] == judge(maker)
        verdicts.add(example.labels[-1])
        if example.labels[-1] == maker.verdict_ids[0]:
            assert not wrong
            assert set(example.cuts[main:]) == {main - 1}
        else:
            assert wrong[: len(maker.ids(MARKER))] == maker.ids(MARKER)
            assert wrong != right
            assert set(example.cuts[main:]) == {main - 1 - len(right)}
    assert verdicts == set(maker.verdict_ids)


def test_a_target_learns_to_continue_a_wordy_step_but_not_to_begin_one(maker):
    problem = make_problem("docmath", "train", 8)
    wordy = [maker.ids(step.wordy + DELIMITER) for step in problem.steps[:-1]]
    mix = replace(TARGET.data_mix, branches=0)
    example = maker.mistaken(problem, ["wordy"] * len(wordy), "Wrong.", mix, Random(0))
    at = len(maker.prompt(prompt_of(problem)))
    for ids in wordy:
        assert example.labels[at - 1] == IGNORE
        assert example.labels[at : at + len(ids) - 1] == ids[1:]
        at += len(ids)
    assert example.labels[at - 1] != IGNORE


def test_a_mistake_is_judged_beside_the_right_step_in_the_same_style(maker):
    problem = make_problem("docmath", "train", 8)
    right = maker.ids(problem.steps[1].wordy + DELIMITER)
    wrong = problem.steps[1].wordy + " Not so."
    example = maker.mistaken(problem, ["terse"], wrong, TARGET.data_mix, Random(0))
    start = len(maker.prompt(prompt_of(problem))) + len(
        maker.ids(problem.steps[0].terse + DELIMITER)
    )
    assert example.ids[start : start + len(right)] == right


def test_a_judging_drill_has_as_many_right_as_wrong_steps(maker):
    for seed in range(30):
        question, steps = draw_judged_drill(Random(seed))
        assert all(right != wrong for right, wrong in steps)
        example = maker.judged_drill((question, steps), TARGET.data_mix)
        pairs = zip(example.labels, example.segments, strict=True)
        verdicts = [label for label, segment in pairs if segment and label != IGNORE]
        assert verdicts == maker.verdict_ids[::-1] * len(steps)


def test_marks_end_with_the_token_that_goes_wrong(maker):
    problem = make_problem("docmath", "train", 3)
    right = problem.steps[2].terse
    wrong = f"{right[:-1]}0."
    mix = replace(TARGET.data_mix, branches=2)
    example = maker.mistaken(problem, ("terse", "terse"), wrong, mix, Random(0))
    branch = [i for i, segment in enumerate(example.segments) if segment == 1]
    marks = [example.marks[i] for i in branch]
    ending = len(maker.ids(right[:-1]))
    assert marks[: ending + 1] == [*[1] * ending, 0]
    assert set(marks[ending + 1 :]) == {IGNORE}


def test_every_token_of_a_right_path_is_marked_right(maker):
    problem = make_problem("docmath", "train", 3)
    example = maker.solution(problem, TERSE, Random(0))
    path = [m for m, s in zip(example.marks, example.segments, strict=True) if s == 0]
    texts = [*(step.terse + DELIMITER for step in problem.steps), f"{MARKER} {problem.answer}"]
    assert path.count(1) == sum(len(maker.ids(text)) for text in texts)
    assert 0 not in path


def test_slips_replace_a_fact_by_another_of_the_same_family(maker):
    mix = replace(TERSE, branches=2, slips=1000)
    for index in range(30):
        example = maker.solution(make_problem("docmath", "train", index), mix, Random(index))
        sizes = Counter(example.segments)
        slips = [i for i, segment in enumerate(example.segments) if segment and sizes[segment] == 1]
        assert slips
        for i in slips:
            replaced = example.ids[example.positions[i]]
            assert example.cuts[i] == example.positions[i]
            assert (example.marks[i], example.labels[i]) == (0, IGNORE)
            assert example.ids[i] != replaced
            right, wrong = (maker.tokenizer.decode([t]).strip() for t in (replaced, example.ids[i]))
            assert any({right, wrong} <= set(family) for family in (*FAMILIES, DIGITS))


def test_each_slip_adds_one_token(maker):
    problem = make_problem("vqa", "train", 3)
    without = maker.solution(problem, WITHOUT_SLIPS, Random(0))
    few = maker.solution(problem, replace(WITHOUT_SLIPS, slips=5), Random(0))
    assert len(few) == len(without) + 5


STEP = ReferenceStep("Needed: tea.", "First I have to look for tea.")


@given(steps=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_data_mix_with_wordy_ends_is_terse_between_them(steps, seed):
    styles = replace(DRAFT.data_mix, ends=1.0, between=0.0).styles([STEP] * steps, Random(seed))
    assert styles == ["wordy", *["terse"] * (steps - 2), "wordy"]


def test_steps_that_would_become_too_long_stay_terse():
    mix = replace(DRAFT.data_mix, ends=1.0, between=1.0, most=5)
    longer = replace(STEP, wordy="First of all " + STEP.wordy)
    assert mix.styles([STEP, longer, STEP], Random(0)) == ["wordy", "terse", "wordy"]
    unbounded = replace(mix, most=None)
    assert unbounded.styles([STEP, longer, STEP], Random(0)) == ["wordy"] * 3
