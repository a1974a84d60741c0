"""Training examples: token sequences with branches.

A sequence has a whole solution on its main path. Its branches are judge prompts (Q), or wrong
steps followed by judge prompts. A branch attends to the main path up to its cut and to itself, not
to other branches, as in a judge pass at inference:

    index        0 ..... main path ..... n | Q after step 2 | wrong step 4, Q | ...
    attends to   main path before it       | main path < cut, own part before it
    position     index                     | cut, cut + 1, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from dreamr_testbed.recipe.branches import (
    Branch,
    other_questions,
    same_question,
    score,
    verdict,
    verdicts,
)
from dreamr_testbed.recipe.corrupt import DIGITS, FAMILIES, wrong_answer
from dreamr_testbed.recipe.data_mix import DataMix
from dreamr_testbed.recipe.drills import Drill, JudgedDrill
from dreamr_testbed.recipe.models import IMAGE_TOKENS
from dreamr_testbed.recipe.places import Lookups
from dreamr_testbed.recipe.prompts import Prompt, prompt_about, prompt_of
from dreamr_testbed.recipe.tokens import (
    ASSISTANT,
    DELIMITER,
    END,
    IMAGE,
    JUDGE_QUESTION,
    NEGATIVE,
    POSITIVE,
    USER,
)
from dreamr_testbed.suites import Problem, ReferenceStep
from dreamr_testbed.suites.words import READ

IGNORE = -100  # label of tokens that are not trained


@dataclass(frozen=True, slots=True)
class Piece:
    """A text of the main path.

    Attributes:
        text: The text.
        trained_from: Index of the first trained token; None to train on none.
    """

    text: str
    trained_from: int | None = 0


@dataclass(frozen=True, slots=True)
class Example:
    """A training sequence; all lists have one entry per token.

    Attributes:
        images: The images, (SIDE, SIDE, 3) each, in the order of their tokens.
        ids: Token ids.
        positions: Positions for the rotary embedding.
        labels: Token to predict at each index, so already shifted; IGNORE for none.
        weights: Weight of each label in the loss.
        segments: 0 on the main path, then the number of the branch.
        cuts: Length of the main path that a branch attends to; 0 on the main path.
        marks: In examples with branches, whether a step is right up to this token (1) or becomes
            wrong with it (0); IGNORE after that and outside steps.
    """

    images: tuple[npt.NDArray[np.uint8], ...]
    ids: list[int]
    positions: list[int]
    labels: list[int]
    weights: list[float]
    segments: list[int]
    cuts: list[int]
    marks: list[int]

    def __len__(self) -> int:
        return len(self.ids)


class ExampleMaker:
    """Maker of examples, which tokenizes texts step by step and caches the result.

    Attributes:
        tokenizer: The tokenizer.
        verdict_ids: Token ids of the positive and the negative verdict.
        score_ids: Token ids of the digits 0 to 9.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}
        self._end = self.ids(END)
        self.verdict_ids = [self.ids(POSITIVE)[0], self.ids(NEGATIVE)[0]]
        self.score_ids = [self.ids(digit)[0] for digit in DIGITS]
        self._rivals = self._find_rivals()

    def _find_rivals(self) -> dict[int, list[int]]:
        """Return the other tokens of its family for each token that is a fact by itself."""
        rivals: dict[int, list[int]] = {}
        for family in (*FAMILIES, DIGITS):
            for before in ("", " "):
                spelled = [self.ids(before + word) for word in family]
                alone = [ids[0] for ids in spelled if len(ids) == 1]
                rivals |= {one: [other for other in alone if other != one] for one in alone}
        return {one: others for one, others in rivals.items() if others}

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text, without special tokens around it."""
        if text not in self._cache:
            if len(self._cache) > 200_000:
                self._cache.clear()
            self._cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._cache[text]

    def prompt(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt, up to the assistant's first token."""
        ids = list(self.ids(USER))
        for lead in prompt.leads:
            ids += self.ids(lead) + self.ids(IMAGE) * IMAGE_TOKENS
        return [*ids, *self.ids(prompt.question), *self.ids(ASSISTANT)]

    def reading(self, problem: Problem) -> Example:
        """Make an example that transcribes the images of a problem."""
        prompt = prompt_about(READ, problem.images, problem.scene.medium, problem.file)
        return self._assemble(prompt, [Piece(problem.scene.transcript)])

    def lookups(self, lookups: Lookups) -> Example:
        """Make an example that reads lines of several images by their places."""
        texts = [Piece(text, 0 if trained else None) for text, trained in lookups.pieces]
        prompt = prompt_about(lookups.question, lookups.images, lookups.medium)
        return self._assemble(prompt, [*texts, Piece("")])

    def drill(self, drill: Drill) -> Example:
        """Make an example from a drill, without image tokens."""
        question, pieces = drill
        texts = [Piece(text, 0 if trained else None) for text, trained in pieces]
        return self._assemble(Prompt(question), [*texts, Piece("")])

    def judged_drill(self, drill: JudgedDrill, mix: DataMix) -> Example:
        """Make an example from a judging drill, with verdicts on each step and its wrong variant.

        Args:
            drill: The drill.
            mix: Data mix with the weight of a verdict.
        """
        question, steps = drill
        texts = [Piece(right + DELIMITER) for right, _ in steps]
        branches: list[Branch] = [
            verdict(at, text) for at, (_, wrong) in enumerate(steps) for text in (wrong, None)
        ]
        return self._assemble(
            Prompt(question),
            [*texts, Piece("")],
            branches=branches,
            verdict_weight=mix.verdict_weight,
        )

    def judged(
        self, problem: Problem, steps: Sequence[str], questions: Sequence[str] | None = None
    ) -> Example:
        """Make an example for inference with a judge prompt after each of several steps.

        Args:
            problem: The problem.
            steps: Steps from the beginning of a solution.
            questions: Judge prompt for each step; by default the verdict.
        """
        texts = [Piece(step + DELIMITER, None) for step in steps]
        asked = questions or [JUDGE_QUESTION] * len(steps)
        branches = [Branch(at, None, question) for at, question in enumerate(asked)]
        return self._assemble(prompt_of(problem), [*texts, Piece("", None)], branches=branches)

    def mistaken(
        self, problem: Problem, styles: Sequence[str], wrong: str, mix: DataMix, rng: Random
    ) -> Example:
        """Make an example around a wrong step that a draft wrote after right ones.

        The branches judge the wrong step, the right step in the same style, and some steps before
        it. The reasoning after it is terse.

        Args:
            problem: The problem.
            styles: Styles of the right steps before the wrong one.
            wrong: Text of the wrong step.
            mix: Data mix.
            rng: Source of randomness.
        """
        at, steps = len(styles), problem.steps
        style = "wordy" if wrong.split()[:1] == steps[at].wordy.split()[:1] else "terse"
        given = [*styles, style, *["terse"] * (len(steps) - at - 1)]
        branches = [
            verdict(at, wrong),
            verdict(at, None),
            *verdicts(problem, styles, mix.branches - 2, rng),
        ]
        if mix.others:
            branches += [score(at, wrong), score(at, None)]
            branches.append(Branch(at, wrong, same_question(steps[at].terse), NEGATIVE))
            branches += other_questions(problem, given[: at + 1], mix.others - 2, rng)
        return self._solved(problem, given, branches, mix, rng)

    def solution(self, problem: Problem, mix: DataMix, rng: Random) -> Example:
        """Make an example from the reference solution, with judge prompts in branches.

        Args:
            problem: The problem.
            mix: Data mix.
            rng: Source of randomness.
        """
        styles = mix.styles(problem.steps, rng)
        branches = verdicts(problem, styles, mix.branches, rng)
        branches += other_questions(problem, styles, mix.others, rng)
        if rng.random() < mix.answers:
            wrong = wrong_answer(problem, rng) if rng.random() < 0.5 else None
            branches.append(verdict(len(problem.steps), wrong))
        return self._solved(problem, styles, branches, mix, rng)

    def _solved(
        self,
        problem: Problem,
        styles: Sequence[str],
        branches: Sequence[Branch],
        mix: DataMix,
        rng: Random,
    ) -> Example:
        texts = [
            Piece(
                _rendered(step, style) + DELIMITER,
                trained_from=0 if mix.begins_wordy or style == "terse" else 1,
            )
            for step, style in zip(problem.steps, styles, strict=True)
        ]
        example = self._assemble(
            prompt_of(problem),
            [*texts, Piece(problem.final)],
            branches=branches,
            verdict_weight=mix.verdict_weight,
        )
        self._add_slips(example, mix.slips, rng)
        return example

    def _add_slips(self, example: Example, count: int, rng: Random) -> None:
        """Add branches of one token each, which replace a fact by another of its family.

        A branch with a wrong step takes about 30 tokens to show one error, a slip takes one.
        """
        facts = [
            at
            for at, (token, mark) in enumerate(zip(example.ids, example.marks, strict=True))
            if mark == 1 and example.segments[at] == 0 and token in self._rivals
        ]
        first = example.segments[-1] + 1
        for number, at in enumerate(rng.sample(facts, min(count, len(facts))), first):
            example.ids.append(rng.choice(self._rivals[example.ids[at]]))
            example.positions.append(at)
            example.labels.append(IGNORE)
            example.weights.append(0.0)
            example.segments.append(number)
            example.cuts.append(at)
            example.marks.append(0)

    def _assemble(
        self,
        prompt: Prompt,
        pieces: Sequence[Piece],
        *,
        branches: Sequence[Branch] = (),
        verdict_weight: float = 1.0,
    ) -> Example:
        """Assemble an example from a main path and its branches.

        Args:
            prompt: Images and text of the user.
            pieces: Texts of the assistant; the last is the final answer, without a delimiter.
            branches: Branches of the pieces.
            verdict_weight: Weight of the answer of a branch, relative to a token of reasoning.
        """
        example, starts = self._main_path(prompt, pieces)
        if branches:
            example.marks[starts[0] : starts[-1]] = [1] * (starts[-1] - starts[0])
        for number, branch in enumerate(branches, 1):
            self._add_branch(example, branch, number, starts, verdict_weight)
        return example

    def _main_path(self, prompt: Prompt, pieces: Sequence[Piece]) -> tuple[Example, list[int]]:
        """Return an example without branches, and the start of each piece and end of the last."""
        ids = self.prompt(prompt)
        starts, learn = [len(ids)], [False] * len(ids)
        for piece in pieces:
            tokens = self.ids(piece.text)
            first = len(tokens) if piece.trained_from is None else piece.trained_from
            ids += tokens
            learn += [False] * first + [True] * (len(tokens) - first)
            starts.append(len(ids))
        ids += self._end
        learn.append(pieces[-1].trained_from is not None)
        return _example(prompt.images, ids, learn), starts

    def _add_branch(
        self,
        example: Example,
        branch: Branch,
        number: int,
        starts: Sequence[int],
        verdict_weight: float,
    ) -> None:
        """Append a branch as segment `number`, given the starts of the pieces and the final end."""
        at, wrong = branch.at, branch.text
        cut = starts[at] if wrong is not None else starts[at + 1]
        is_final = at == len(starts) - 2
        step = self.ids(wrong + ("" if is_final else DELIMITER)) if wrong is not None else []
        tail = step + self.ids(f"{END}{USER}{branch.question}{ASSISTANT}")
        unlabeled = len(tail) - 1
        marks = _marks(step, example.ids[starts[at] : starts[at + 1]])
        example.ids.extend(tail)
        example.positions.extend(range(cut, cut + len(tail)))
        example.labels.extend([*[IGNORE] * unlabeled, self.ids(branch.answer)[0]])
        example.weights.extend([*[0.0] * unlabeled, verdict_weight])
        example.segments.extend([number] * len(tail))
        example.cuts.extend([cut] * len(tail))
        example.marks.extend([*marks, *[IGNORE] * (len(tail) - len(marks))])


def _example(
    images: tuple[npt.NDArray[np.uint8], ...], ids: list[int], learn: list[bool]
) -> Example:
    """Return an example without branches; `learn` tells which tokens are trained."""
    pairs = zip(ids[1:], learn[1:], strict=True)
    labels = [*(token if trained else IGNORE for token, trained in pairs), IGNORE]
    size = len(ids)
    zeros = [0] * size
    return Example(
        images, list(ids), list(range(size)), labels, [1.0] * size, list(zeros), list(zeros),
        [IGNORE] * size,
    )  # fmt: skip


def _marks(step: Sequence[int], right: Sequence[int]) -> list[int]:
    """Return 1 for each token up to the first that differs from the right step, and 0 for that."""
    same = 0
    while same < min(len(step), len(right)) and step[same] == right[same]:
        same += 1
    return [1] * same + [0] * (same < len(step))


def _rendered(step: ReferenceStep, style: str) -> str:
    return step.wordy if style == "wordy" else step.terse
