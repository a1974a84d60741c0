"""The bundled pair is complete and small, and the local engine matches transformers."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed import PAIR, RECEIPT
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.generate import solve
from dreamr_testbed.recipe.models import load_model
from dreamr_testbed.suites import SUITES, make_problem
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast

from dreamr import Reasoner, RunOptions
from dreamr.evaluation.tasks import MARKER
from dreamr.schedules import METHODS

QUESTION = "What do tea and milk cost together?"


def test_target_and_both_drafts_take_at_most_forty_megabytes():
    weights = list(PAIR.glob("*/model.safetensors"))
    assert len(weights) == 3
    assert sum(path.stat().st_size for path in weights) < 40e6


@pytest.mark.parametrize("name", ["target", "draft", "draft-before-sapo"])
def test_the_weights_have_the_names_that_vllm_expects(name):
    with safe_open(PAIR / name / "model.safetensors", "pt") as weights:
        tower = [key for key in weights.keys() if "vision_tower." in key]  # noqa: SIM118
    assert tower
    assert all("vision_tower.vision_model." in key for key in tower)


@pytest.fixture(scope="module")
def pair():
    with Reasoner() as reasoner:
        yield reasoner


def test_the_draft_before_sapo_can_be_selected_by_name(pair):
    alone = RunOptions(method="draft", draft="embedded-before-sapo")
    with Reasoner(alone) as reasoner:
        before = reasoner.ask(QUESTION, RECEIPT)
    after = pair.ask(QUESTION, RECEIPT, options=RunOptions(method="draft"))
    assert before.answer == after.answer == "28"
    assert before.usage.draft.written >= after.usage.draft.written


def test_every_method_answers_the_example_question(pair):
    methods = set(METHODS) - {"draft"}
    results = {
        method: pair.ask(QUESTION, RECEIPT, options=RunOptions(method=method)) for method in methods
    }
    assert all(result.complete for result in results.values())
    assert {method: result.answer for method, result in results.items()} == dict.fromkeys(
        methods, "28"
    )


def test_the_target_alone_writes_the_same_text_as_generate(pair):
    model = load_model(PAIR / "target").eval()
    maker = ExampleMaker(PreTrainedTokenizerFast.from_pretrained(PAIR / "target"))
    problems = [make_problem(suite, "test", 70_000) for suite in SUITES]
    expected = [solve(model, maker, [problem])[0].text for problem in problems]
    alone = RunOptions(method="target")
    for problem, text in zip(problems, expected, strict=True):
        result = pair.ask(problem.question, problem.image, options=alone)
        assert "".join(step.step.text for step in result.steps) == text
        assert MARKER in text
