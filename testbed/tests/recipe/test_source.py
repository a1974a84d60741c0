"""Stages draw the examples that they name, the same ones after every change and restart."""

import hashlib
import json
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
import torch

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.mistakes import Mistake, collect, read, write
from dreamr_testbed.recipe.models import load_model
from dreamr_testbed.recipe.plan import Stage, read_recipes
from dreamr_testbed.recipe.source import SampleSource, batches, draw, draw_problem
from transformers import PreTrainedTokenizerFast

RECIPES = read_recipes()
TARGET, DRAFT = RECIPES["target"], RECIPES["draft"]
STAGE = Stage("reason", "reason", steps=20, batch=4, rate=3e-3, layers=2)
MISTAKES = (
    Mistake("docmath", 5, 1, ("wordy",), "Milk: 9 x 9 = 99."),
    Mistake("vqa", 7, 3, (), "Needed: squares."),
)
HASHES = {
    "target/see": "36ee9d3c22096f77",
    "target/drill": "c923c7ae6236857d",
    "target/read": "fd1f5f37c4b2ab01",
    "target/reason": "a1c8b17b2c59c892",
    "target/compare": "539ddcd1cc569abc",
    "target/judge": "4c2cffd73e9eefcb",
    "target/polish": "c8309c94ab64379e",
    "target/digits": "f7ac1c090495d483",
    "target/refine": "278be1f4adbff5c3",
    "target/peers": "0b43299d5067667a",
    "target/same": "b33c752c93520aa6",
    "target/compare-count": "6400d1926331615b",
    "draft/see": "291f70cf9baa7953",
    "draft/drill": "0be45f5b4eb4e64a",
    "draft/read": "66db281e9fc494d0",
    "draft/reason": "d4bf0771371ec839",
    "draft/anneal": "a7b71e47c68c6ac2",
    "draft/style": "c7dc47fdb1f9b2ff",
}


@pytest.fixture(scope="module")
def bundled():
    return ExampleMaker(PreTrainedTokenizerFast.from_pretrained(PAIR / "target"))


@pytest.mark.parametrize("name", HASHES)
def test_a_stage_draws_the_same_examples_as_in_the_bundled_models(bundled, name):
    model, stage_name = name.split("/")
    recipe = RECIPES[model]
    (stage,) = (s for s in (*recipe.stages, *recipe.further) if s.name == stage_name)
    source = SampleSource(bundled, stage.data_mix(recipe.data_mix), MISTAKES)
    digest = hashlib.sha256()
    for progress in (0.0, 0.7):
        rng = Random(f"{stage.name}/{progress}")
        for _ in range(8):
            one = draw(source, stage, rng, progress)
            fields = [
                one.ids, one.positions, one.labels, one.weights, one.segments,
                one.cuts, one.marks,
            ]  # fmt: skip
            digest.update(json.dumps(fields).encode())
    assert digest.hexdigest()[:16] == HASHES[name]


def test_resumed_batches_equal_those_of_an_uninterrupted_run(maker):
    source = SampleSource(maker, DRAFT.data_mix)
    whole = list(islice(batches(source, STAGE, 7, 0, 0), 5))
    later = list(islice(batches(source, STAGE, 7, 3, 0), 2))
    for expected, batch in zip(whole[3:], later, strict=True):
        assert torch.equal(expected["ids"], batch["ids"])
        assert torch.equal(expected["pixels"], batch["pixels"])


@pytest.mark.parametrize("suite", ["docmath", "pages"])
def test_mistakes_of_a_draft_become_negative_branches(maker, tmp_path, suite):
    mistake = Mistake(suite, 5, 1, ("wordy",), "Milk: 9 x 9 = 99.")
    write(tmp_path / "pool.jsonl", iter([mistake]))
    (found,) = read(tmp_path / "pool.jsonl")
    assert found == mistake
    mix = replace(TARGET.data_mix, branches=2, slips=0)
    example = maker.mistaken(found.problem, found.styles, found.text, mix, Random(0))
    verdicts = [i for i, s in zip(example.labels, example.segments, strict=True) if s and i >= 0]
    assert verdicts == [maker.verdict_ids[1], maker.verdict_ids[0]]


def test_mistakes_are_collected_at_the_levels_that_are_asked_for(maker):
    draft = load_model(PAIR / "draft-before-sapo").eval()
    (found, *_) = collect(draft, maker, 0, 6, 0.0, suites=["story"], levels=[3])
    assert (found.suite, found.level) == ("story", 3)
    step = found.problem.steps[len(found.styles)]
    assert found.text not in (step.terse, step.wordy)


def test_a_stage_draws_the_suites_and_levels_that_it_names():
    levels = {"clip": (2,), "pages": (1, 3)}
    shares = {"vqa": 1.0, "clip": 1.0, "pages": 1.0}
    drawn = [draw_problem(Random(seed), 0.5, shares, levels) for seed in range(60)]
    found = {(problem.suite, problem.level) for problem in drawn}
    wanted = {("clip", 2), ("pages", 1), ("pages", 3), ("vqa", 1), ("vqa", 2), ("vqa", 3)}
    assert found == wanted


def test_lookups_are_drawn_only_in_the_first_half_of_a_stage(maker):
    stage = replace(STAGE, lookups=1.0)
    source, asked = SampleSource(maker, DRAFT.data_mix), maker.ids("Read these lines.")

    def share(progress):
        rng = Random(0)
        drawn = [draw(source, stage, rng, progress).ids for _ in range(20)]
        return sum(str(asked)[1:-1] in str(ids) for ids in drawn) / 20

    assert share(0.0) == 1.0
    assert 0.2 < share(0.25) < 0.8
    assert share(0.5) == 0.0


def test_a_drill_stage_shows_no_images(maker):
    stage = Stage("drill", "drill", steps=20, batch=4, rate=3e-3, layers=2)
    source = SampleSource(maker, TARGET.data_mix)
    image = maker.ids("<image>")[0]
    for batch in islice(batches(source, stage, 0, 0, 0), 8):
        assert not (batch["ids"] == image).any()


def test_only_models_that_judge_get_judging_drills(maker):
    stage = Stage("drill", "drill", steps=20, batch=8, rate=3e-3, layers=2)
    for recipe, judged in ((TARGET, True), (DRAFT, False)):
        source = SampleSource(maker, recipe.data_mix)
        drawn = list(islice(batches(source, stage, 0, 0, 0), 8))
        assert any((batch["segments"] > 0).any() for batch in drawn) is judged


def test_documents_have_the_names_of_files_in_their_share(bundled):
    stage = replace(STAGE, named=0.5, shares={"pages": 1.0}, branches=0)
    source = SampleSource(bundled, TARGET.data_mix)
    rng = Random(0)
    texts = [bundled.tokenizer.decode(draw(source, stage, rng, 1.0).ids) for _ in range(40)]
    assert all("Page 1:\n" in text for text in texts)
    assert 10 <= sum(".pdf:\nPage 1:\n" in text for text in texts) <= 30
