"""Batches of a stage: examples of its suites, lookups, drills and mistakes in their shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from dreamr_testbed.recipe.collate import Batch, collate
from dreamr_testbed.recipe.data_mix import DataMix
from dreamr_testbed.recipe.drills import draw_drill, draw_judged_drill
from dreamr_testbed.recipe.examples import Example, ExampleMaker
from dreamr_testbed.recipe.mistakes import Mistake
from dreamr_testbed.recipe.places import draw_lookups
from dreamr_testbed.recipe.plan import Stage, levels_of
from dreamr_testbed.recipe.team import ALONE, Team
from dreamr_testbed.suites import SUITES, Problem, make_problem
from dreamr_testbed.suites.file_names import draw_file_name

POOL = 16  # batches that are drawn together and bucketed by length
_EQUAL: Mapping[str, float] = dict.fromkeys(SUITES, 1.0)
_ALL: Mapping[str, tuple[int, ...]] = {}


@dataclass(frozen=True, slots=True)
class SampleSource:
    """Source of the examples of a stage: maker, data mix and pool of mistakes."""

    maker: ExampleMaker
    data_mix: DataMix
    mistakes: Sequence[Mistake] = ()


def batches(
    source: SampleSource, stage: Stage, seed: int, start: int, pad: int, team: Team = ALONE
) -> Iterator[Batch]:
    """Yield batches without end, the same ones after every restart.

    Args:
        source: Source of the examples.
        stage: The stage.
        seed: Seed of the training.
        start: Index of the first batch.
        pad: Id of the padding token.
        team: Processes that share each batch; each gets its part.
    """
    pool = start // POOL
    skip = start % POOL
    while True:
        rng = Random(f"{stage.name}/{seed}/{pool}")
        progress = min(1.0, pool * POOL / stage.steps)
        examples = [draw(source, stage, rng, progress) for _ in range(POOL * stage.batch)]
        examples.sort(key=len)
        groups = [examples[i : i + stage.batch] for i in range(0, len(examples), stage.batch)]
        rng.shuffle(groups)
        for group in groups[skip:]:
            yield collate(team.part(group), pad)
        pool, skip = pool + 1, 0


def batches_of(
    source: SampleSource, stage: Stage, suite: str, seed: int, count: int, pad: int
) -> list[Batch]:
    """Return batches of solutions of one suite, at the levels of the end of a stage."""
    rng = Random(f"{stage.name}/{seed}/{suite}")
    problems = [
        draw_problem(rng, 1 / 3, {suite: 1.0}, stage.levels) for _ in range(count * stage.batch)
    ]
    examples = [source.maker.solution(problem, source.data_mix, rng) for problem in problems]
    examples.sort(key=len)
    groups = (examples[i : i + stage.batch] for i in range(0, len(examples), stage.batch))
    return [collate(group, pad) for group in groups]


def draw(source: SampleSource, stage: Stage, rng: Random, progress: float) -> Example:
    """Draw an example of a stage.

    Args:
        source: Source of the examples.
        stage: The stage.
        rng: Source of randomness.
        progress: Share of the stage that is done.
    """
    maker, mix = source.maker, source.data_mix
    if stage.kind == "drill":
        return _draw_drill(source, rng)
    if source.mistakes and rng.random() < stage.errors:
        mistake = rng.choice(source.mistakes)
        return maker.mistaken(mistake.problem, mistake.styles, mistake.text, mix, rng)
    early = max(0.0, 1.0 - 2.0 * progress)
    if rng.random() < stage.drills * early:
        return _draw_drill(source, rng)
    easy = stage.easy + (1 / 3 - stage.easy) * progress
    if stage.lookups and rng.random() < stage.lookups * early:
        return maker.lookups(draw_lookups(rng))
    problem = draw_problem(rng, easy, stage.shares, stage.levels)
    while problem.kind in stage.seldom and rng.random() < 0.8:
        problem = draw_problem(rng, easy, stage.shares, stage.levels)
    if stage.named and rng.random() < stage.named:
        problem = replace(problem, file=draw_file_name(rng))
    if rng.random() < stage.reading:
        return maker.reading(problem)
    return maker.solution(problem, mix, rng)


def _draw_drill(source: SampleSource, rng: Random) -> Example:
    """Draw a drill; for models that judge, half of them are judging drills."""
    if source.data_mix.branches and rng.random() < 0.5:
        return source.maker.judged_drill(draw_judged_drill(rng), source.data_mix)
    return source.maker.drill(draw_drill(rng))


def draw_problem(
    rng: Random,
    easy: float,
    shares: Mapping[str, float] = _EQUAL,
    levels: Mapping[str, tuple[int, ...]] = _ALL,
) -> Problem:
    """Draw a problem.

    Args:
        rng: Source of randomness.
        easy: Probability of level 1.
        shares: Relative frequency of each suite.
        levels: Levels of the problems of a suite (see `levels_of`); another that is drawn is
            replaced by one of them.
    """
    level = 1 if rng.random() < easy else rng.choice((2, 3))
    suite = rng.choices(tuple(shares), tuple(shares.values()))[0]
    if level not in (known := levels_of(suite, levels)):
        level = rng.choice(known)
    return make_problem(suite, "train", rng.getrandbits(40), level)
