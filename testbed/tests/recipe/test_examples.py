"""Examples teach what inference asks: branches see what a judging call would see."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers")

from dreamr_testbed.recipe.corrupt import DIGITS, FAMILIES, wrong_step
from dreamr_testbed.recipe.drills import draw_drill, draw_judged_drill
from dreamr_testbed.recipe.examples import DATA_MIXES, IGNORE, collate
from dreamr_testbed.recipe.loop import hidden_states
from dreamr_testbed.recipe.models import IMAGE_TOKENS, Size, build_model, grow
from dreamr_testbed.recipe.stages import RECIPES
from dreamr_testbed.recipe.tokens import (
    ASSISTANT,
    DELIMITER,
    END,
    JUDGE_QUESTION,
    NEGATIVE,
    POSITIVE,
    USER,
)

from dreamr.evaluation.tasks import MARKER, SUITES, ReferenceStep, make_problem

TINY = Size(2, 32, 64, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
TERSE = replace(DATA_MIXES["target"], ends=0.0, between=0.0)
WITHOUT_SLIPS = replace(DATA_MIXES["target"], slips=0)


@pytest.fixture(scope="module")
def model(maker):
    torch.manual_seed(0)
    return build_model(TINY, maker.tokenizer).eval()


def plain(example, upto, extra):
    """The same tokens as one straight sequence: the main path up to a cut, then a branch."""
    pixels = collate([example], 0)["pixels"]
    ids = torch.tensor([[*example.ids[:upto], *extra]])
    size = ids.shape[1]
    return {
        "pixels": pixels,
        "ids": ids,
        "positions": torch.arange(size)[None],
        "mask": torch.ones(size, size).tril().bool()[None, None],
    }


def test_a_branch_is_the_same_as_asking_alone(maker, model):
    rng = Random(1)
    problem = make_problem("vqa", "train", 3)
    example = maker.solution(problem, DATA_MIXES["target"], rng)
    batch = collate(
        [example, maker.solution(make_problem("story", "train", 4), DATA_MIXES["target"], rng)], 0
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


def test_each_branch_asks_for_one_verdict_and_wrong_steps_are_negative(maker):
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
def test_tokenizing_step_by_step_is_tokenizing_the_whole(maker, suite):
    problem = make_problem(suite, "train", 5)
    steps = [step.wordy + DELIMITER for step in problem.steps] + [f"{MARKER} {problem.answer}"]
    whole = maker.tokenizer("".join(steps), add_special_tokens=False)["input_ids"]
    assert [i for step in steps for i in maker.ids(step)] == whole
    assert maker.tokenizer.decode(whole) == "".join(steps)


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_wrong_steps_are_never_a_right_rendering(suite):
    for index in range(60):
        problem = make_problem(suite, "train", index)
        for at, step in enumerate(problem.steps):
            wrong = wrong_step(problem, at, "terse", Random(index))
            assert wrong is None or wrong not in step.renderings


def test_a_prompt_has_a_place_for_each_image_token(maker, model):
    prompt = maker.prompt("How many?")
    assert prompt.count(model.config.image_token_id) == IMAGE_TOKENS


def test_a_grown_model_computes_the_same(maker, model):
    grown = grow(model, Size(5, 32, 64, 1, 1, 1, 32), maker.tokenizer).eval()
    batch = collate(
        [maker.solution(make_problem("vqa", "train", 1), DATA_MIXES["draft"], Random(0))], 0
    )
    assert grown.config.text_config.num_hidden_layers == 5
    with torch.no_grad():
        torch.testing.assert_close(hidden_states(grown, batch)[0], hidden_states(model, batch)[0])


def test_drills_are_learnt_from_most_of_their_tokens(maker):
    rng = Random(0)
    learnt = tokens = 0
    for _ in range(60):
        example = maker.drill(draw_drill(rng))
        learnt += sum(label != IGNORE for label in example.labels)
        tokens += len(example)
    assert learnt / tokens > 0.4


def test_drills_beside_images_do_not_change_them(maker, model):
    solution = maker.solution(make_problem("vqa", "train", 1), DATA_MIXES["draft"], Random(0))
    drill = maker.drill(draw_drill(Random(3)))
    with torch.no_grad():
        alone, _ = hidden_states(model, collate([solution], 0))
        both, _ = hidden_states(model, collate([drill, solution], 0))
    torch.testing.assert_close(both[1, : len(solution)], alone[0])


def test_style_tells_nothing_about_a_verdict(maker):
    for index in range(40):
        problem = make_problem("story", "train", index)
        example = maker.solution(problem, TERSE, Random(index))
        firsts = [MARKER, *(step.terse.split()[0] for step in problem.steps)]
        terse = {tuple(maker.ids(first)) for first in firsts}
        for branch in range(1, max(example.segments) + 1):
            own = [i for i, s in zip(example.ids, example.segments, strict=True) if s == branch]
            if len(own) > len(judge(maker)):
                assert any(tuple(own[: len(start)]) == start for start in terse)


def test_the_judges_of_other_methods_are_taught_what_they_ask(maker):
    diet = replace(RECIPES["target"][-1].diet(DATA_MIXES["target"]), slips=0)
    answers = Counter()
    for index in range(60):
        problem = make_problem("docmath", "train", index)
        right = {text for step in problem.steps for text in step.renderings}
        example = maker.mistaken(problem, ["terse"], "Row 1: Bob, 7.", diet, Random(index))
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
    diet = replace(DATA_MIXES["target"], branches=0, answers=1.0, slips=0)
    verdicts = set()
    for index in range(30):
        problem = make_problem("vqa", "train", index)
        example = maker.solution(problem, diet, Random(index))
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


def test_a_target_learns_to_go_on_with_a_wordy_step_but_never_to_begin_one(maker):
    problem = make_problem("docmath", "train", 8)
    wordy = [maker.ids(step.wordy + DELIMITER) for step in problem.steps[:-1]]
    diet = replace(DATA_MIXES["target"], branches=0)
    example = maker.mistaken(problem, ["wordy"] * len(wordy), "Wrong.", diet, Random(0))
    at = len(maker.prompt(problem.question))
    for ids in wordy:
        assert example.labels[at - 1] == IGNORE
        assert example.labels[at : at + len(ids) - 1] == ids[1:]
        at += len(ids)
    assert example.labels[at - 1] != IGNORE


def test_a_mistake_is_judged_beside_the_right_step_in_its_own_style(maker):
    problem = make_problem("docmath", "train", 8)
    right = maker.ids(problem.steps[1].wordy + DELIMITER)
    wrong = problem.steps[1].wordy + " Not so."
    example = maker.mistaken(problem, ["terse"], wrong, DATA_MIXES["target"], Random(0))
    start = len(maker.prompt(problem.question)) + len(maker.ids(problem.steps[0].terse + DELIMITER))
    assert example.ids[start : start + len(right)] == right


def test_a_drill_of_judging_asks_about_right_and_wrong_steps_alike(maker):
    for seed in range(30):
        question, steps = draw_judged_drill(Random(seed))
        assert all(right != wrong for right, wrong in steps)
        example = maker.judged_drill((question, steps), DATA_MIXES["target"])
        pairs = zip(example.labels, example.segments, strict=True)
        verdicts = [label for label, segment in pairs if segment and label != IGNORE]
        assert verdicts == maker.verdict_ids[::-1] * len(steps)


def test_marks_end_with_the_token_that_goes_wrong(maker):
    problem = make_problem("docmath", "train", 3)
    right = problem.steps[2].terse
    wrong = f"{right[:-1]}0."
    diet = replace(DATA_MIXES["target"], branches=2)
    example = maker.mistaken(problem, ("terse", "terse"), wrong, diet, Random(0))
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


def test_slips_put_another_fact_of_the_same_family_in_the_place_of_a_right_one(maker):
    diet = replace(TERSE, branches=2, slips=1000)
    for index in range(30):
        example = maker.solution(make_problem("docmath", "train", index), diet, Random(index))
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


def test_a_slip_costs_one_token_and_a_diet_without_them_has_none(maker):
    problem = make_problem("vqa", "train", 3)
    without = maker.solution(problem, WITHOUT_SLIPS, Random(0))
    few = maker.solution(problem, replace(WITHOUT_SLIPS, slips=5), Random(0))
    assert len(few) == len(without) + 5


STEP = ReferenceStep("Needed: tea.", "First I have to look for tea.")


@given(steps=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_diet_of_wordy_ends_is_terse_between_them(steps, seed):
    styles = replace(DATA_MIXES["draft"], ends=1.0, between=0.0).styles(
        [STEP] * steps, Random(seed)
    )
    assert styles == ["wordy", *["terse"] * (steps - 2), "wordy"]


def test_steps_that_would_become_too_long_stay_terse():
    diet = replace(DATA_MIXES["draft"], ends=1.0, between=1.0, most=5)
    longer = replace(STEP, wordy="First of all " + STEP.wordy)
    assert diet.styles([STEP, longer, STEP], Random(0)) == ["wordy", "terse", "wordy"]
    unbounded = replace(diet, most=None)
    assert unbounded.styles([STEP, longer, STEP], Random(0)) == ["wordy"] * 3
