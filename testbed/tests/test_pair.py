"""The bundled pair is complete and small, and the local engine matches transformers."""

import pytest

pytest.importorskip("transformers")

from dreamr_testbed import CLIP, INVOICE, PAIR, RECEIPT
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.generate import solve
from dreamr_testbed.recipe.models import load_model
from dreamr_testbed.suites import EXTRA_SUITES, LEVELS, SUITES, TRAINED, make_problem
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast

from dreamr import Reasoner, RunOptions
from dreamr.conversation import MediaOptions, read_attachment
from dreamr.engines.local.options import read_hints
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks import MARKER
from dreamr.schedules import METHODS
from dreamr.trace import Note

ONE_IMAGE = ("target", "draft", "draft-before-sapo")
SEVERAL_IMAGES = ("target-multi-image", "draft-multi-image")
QUESTION = "What do tea and milk cost together?"


def test_two_targets_and_three_drafts_take_at_most_forty_five_megabytes():
    weights = list(PAIR.glob("*/model.safetensors"))
    assert {path.parent.name for path in weights} == {*ONE_IMAGE, *SEVERAL_IMAGES}
    assert sum(path.stat().st_size for path in weights) < 45e6


@pytest.mark.parametrize("name", [*ONE_IMAGE, *SEVERAL_IMAGES])
def test_the_weights_have_the_names_that_vllm_expects(name):
    with safe_open(PAIR / name / "model.safetensors", "pt") as weights:
        tower = [key for key in weights.keys() if "vision_tower." in key]  # noqa: SIM118
    assert tower
    assert all("vision_tower.vision_model." in key for key in tower)


@pytest.fixture(scope="module")
def pair():
    with Reasoner(RunOptions(dtype="float32")) as reasoner:  # as transformers computes
        yield reasoner


def test_the_draft_before_sapo_can_be_selected_by_name(pair):
    alone = RunOptions(method="draft", draft="embedded-before-sapo")
    with Reasoner(alone) as reasoner:
        before = reasoner.ask(QUESTION, RECEIPT)
    after = pair.ask(QUESTION, RECEIPT, options=RunOptions(method="draft"))
    assert before.answer == after.answer == "28"
    assert before.usage.draft.written >= after.usage.draft.written


@pytest.mark.parametrize("name", ONE_IMAGE)
def test_a_model_names_the_suites_it_was_trained_on(name):
    hints = read_hints(PAIR / name)
    assert hints.trained_tasks == TRAINED
    assert hints.max_images == 1
    assert set(SUITES) < set(TRAINED) < {*SUITES, *EXTRA_SUITES}


@pytest.mark.parametrize("name", SEVERAL_IMAGES)
def test_a_model_for_several_images_names_its_levels_and_the_number_of_images(name):
    hints = read_hints(PAIR / name)
    hard = dict.fromkeys(("docmath-hard", "story-hard", "vqa-hard"), (1,))
    assert hints.trained_tasks == {**TRAINED, "pages": LEVELS, "clip": LEVELS, **hard}
    assert hints.max_images == 8


def test_more_images_than_the_pair_was_trained_for_are_read_only_if_allowed(pair):
    with pytest.raises(Unsupported, match="reads 1 image, the problem has 2"):
        pair.ask(QUESTION, RECEIPT, RECEIPT)
    with Reasoner(RunOptions(method="draft", untrained=True)) as reasoner:
        assert reasoner.ask(QUESTION, RECEIPT, RECEIPT).steps


def test_the_pair_for_several_images_answers_about_pages_and_about_a_video():
    pytest.importorskip("pypdfium2")
    pytest.importorskip("av")
    multi_image = "embedded-multi-image"
    pages = read_attachment(INVOICE, MediaOptions(pdf_text="off"))
    frames = read_attachment(CLIP, MediaOptions(frames=4))
    questions = {
        "What do they pay for milk and pears together?": (pages, "67"),
        "In how many frames is the yellow cross hidden?": (frames, "3"),
    }
    with Reasoner(RunOptions(target=multi_image, draft=multi_image)) as reasoner:
        for method in ("target", "sequential", "fpsr"):
            for question, (attachment, answer) in questions.items():
                result = reasoner.ask(question, attachment, options=RunOptions(method=method))
                assert result.answer == answer, (method, question)


def test_every_method_answers_the_example_question(pair):
    methods = set(METHODS) - {"draft"}
    results = {
        method: pair.ask(QUESTION, RECEIPT, options=RunOptions(method=method)) for method in methods
    }
    assert all(result.complete for result in results.values())
    assert {method: result.answer for method, result in results.items()} == dict.fromkeys(
        methods, "28"
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])  # "auto" is one of them
def test_sequential_and_fpsr_commit_the_same_steps_if_deterministic(dtype):
    problems = [make_problem(suite, "test", 70_000) for suite in SUITES]
    with Reasoner(RunOptions(deterministic=True, dtype=dtype)) as reasoner:
        committed = [
            [
                (step.source, step.step.text)
                for problem in problems
                for step in reasoner.ask(
                    problem.question,
                    problem.image,
                    options=RunOptions(method=method, deterministic=True),
                ).steps
            ]
            for method in ("sequential", "fpsr")
        ]
    assert committed[0] == committed[1]


def test_bfloat16_answers_the_example_question_and_the_trace_says_so():
    with Reasoner(RunOptions(dtype="bfloat16")) as reasoner:
        result = reasoner.ask(QUESTION, RECEIPT)
        noted = reasoner.ask(QUESTION, RECEIPT, options=RunOptions(deterministic=True))
    assert result.answer == "28"
    assert result.events[0].options["target_dtype"] == "bfloat16"
    notes = [event.message for event in noted.events if isinstance(event, Note)]
    assert any("--dtype float32" in note for note in notes)


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
