"""Training examples: token sequences with branches.

One sequence holds a whole solution on its main path and, branching off it, judging questions
and wrong steps with theirs. A branch sees the main path up to its cut and itself, never another
branch, exactly as in the judging pass at inference:

    index      0 ........ main ........ n | Q after step 2 | wrong step 4, Q | ...
    sees       main before it             | main < cut, own part before it   |
    position   its index                  | cut, cut + 1, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerFast

from dreamr.evaluation.tasks import SIDE, Problem, ReferenceStep
from dreamr_testbed.recipe.corrupt import DIGITS, FAMILIES, misread, wrong_answer, wrong_step
from dreamr_testbed.recipe.drills import Drill, JudgedDrill
from dreamr_testbed.recipe.models import IMAGE_TOKENS
from dreamr_testbed.recipe.tokens import (
    ASSISTANT,
    DELIMITER,
    END,
    IMAGE,
    JUDGE_QUESTION,
    NEGATIVE,
    POSITIVE,
    SAME_QUESTION,
    SCORE_QUESTION,
    USER,
)

READ = "Read the picture."
IGNORE = -100
_BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)

Piece = tuple[str, int | None]  # text of the main path; its first token to be learnt, None: none


@dataclass(frozen=True, slots=True)
class Branch:
    """A step that is asked about, and the answer.

    at: which step of the main path. text: another, wrong one in its place, or None.
    """

    at: int
    text: str | None = None
    question: str = JUDGE_QUESTION
    answer: str = POSITIVE


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence. All arrays have the sequence's length.

    labels: the token to predict AT each index (already shifted), IGNORE for none.
    segments: 0 on the main path, then one number a branch; cuts: for a branch, how much of the
    main path it sees. marks: in examples with branches, for every token of a step whether the
    step is right so far (1) or goes wrong with it (0); what follows in a wrong step has no mark.
    """

    image: npt.NDArray[np.uint8]  # (SIDE, SIDE, 3)
    ids: list[int]
    positions: list[int]
    labels: list[int]
    weights: list[float]
    segments: list[int]
    cuts: list[int]
    marks: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class DataMix:
    """What examples are made of.

    ends, between: chance of the wordy style for the first and the last step of a solution, and
    for each step between them.
    most: a step that has so many words more in the wordy style is never wordy; None: no bound.
    begins_wordy: whether the model learns to begin a wordy step, or only to go on with one. A
    model that does not writes tersely, and yet knows what to expect in wordy steps that it judges.
    branches: how many judging questions a solution gets; half of them after a wrong step.
    others: how many of each of the questions that the judges of other methods ask.
    answers: chance of one question more, behind the final answer, which half of the time is wrong.
    slips: how many tokens of a solution get a wrong one beside them, for the head for doubt.
    verdict_weight: what one verdict counts in the loss, in tokens of reasoning.
    """

    ends: float
    between: float
    begins_wordy: bool
    branches: int
    answers: float = 0.0
    slips: int = 0
    verdict_weight: float = 4.0
    most: int | None = None
    others: int = 0

    def styles(self, steps: Sequence[ReferenceStep], rng: Random) -> list[str]:
        """A style for each step of a solution."""
        last = len(steps) - 1
        shares = [self.ends if at in (0, last) else self.between for at in range(last + 1)]
        return [
            "wordy" if rng.random() < share and not self._too_many(step) else "terse"
            for step, share in zip(steps, shares, strict=True)
        ]

    def _too_many(self, step: ReferenceStep) -> bool:
        more = len(step.wordy.split()) - len(step.terse.split())
        return self.most is not None and more > self.most


DATA_MIXES = {
    "target": DataMix(ends=0.5, between=0.5, begins_wordy=False, branches=8, answers=0.5, slips=24),
    "draft": DataMix(ends=0.7, between=0.1, begins_wordy=True, branches=0, most=11),
}


class ExampleMaker:
    """Turns problems into examples with one tokenizer, texts tokenized step by step and cached."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}
        self._end = self.ids(END)
        self.verdict_ids = [self.ids(POSITIVE)[0], self.ids(NEGATIVE)[0]]
        self.score_ids = [self.ids(digit)[0] for digit in DIGITS]
        self._rivals = self._find_rivals()

    def _find_rivals(self) -> dict[int, list[int]]:
        """For each token that is a fact by itself, those of its family."""
        rivals: dict[int, list[int]] = {}
        for family in (*FAMILIES, DIGITS):
            for before in ("", " "):
                spelled = [self.ids(before + word) for word in family]
                alone = [ids[0] for ids in spelled if len(ids) == 1]
                rivals |= {one: [other for other in alone if other != one] for one in alone}
        return {one: others for one, others in rivals.items() if others}

    def ids(self, text: str) -> list[int]:
        """The tokens of a text on its own."""
        if text not in self._cache:
            if len(self._cache) > 200_000:
                self._cache.clear()
            self._cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._cache[text]

    def prompt(self, question: str) -> list[int]:
        """The tokens up to the assistant's first, image tokens expanded."""
        images = self.ids(IMAGE) * IMAGE_TOKENS
        return [*self.ids(USER), *images, *self.ids(question), *self.ids(ASSISTANT)]

    def _plain_prompt(self, question: str) -> list[int]:
        return [*self.ids(USER), *self.ids(question), *self.ids(ASSISTANT)]

    def reading(self, problem: Problem) -> Example:
        """The picture read out."""
        return self._assemble(problem, READ, [(problem.scene.transcript, 0)])

    def drill(self, drill: Drill) -> Example:
        """A drill; its picture is black and no token looks at it."""
        question, pieces = drill
        texts: list[Piece] = [(text, 0 if learnt else None) for text, learnt in pieces]
        return self._assemble(None, question, [*texts, ("", 0)])

    def judged_drill(self, drill: JudgedDrill, diet: DataMix) -> Example:
        """A drill of judging: each of its steps is judged, and the wrong one in its place."""
        question, steps = drill
        texts: list[Piece] = [(right + DELIMITER, 0) for right, _ in steps]
        branches: list[Branch] = [
            _verdict(at, text) for at, (_, wrong) in enumerate(steps) for text in (wrong, None)
        ]
        return self._assemble(None, question, [*texts, ("", 0)], branches, diet.verdict_weight)

    def judged(
        self, problem: Problem, steps: Sequence[str], questions: Sequence[str] | None = None
    ) -> Example:
        """Given steps on the main path, and the judging question, or another, after each."""
        texts: list[Piece] = [(step + DELIMITER, None) for step in steps]
        asked = questions or [JUDGE_QUESTION] * len(steps)
        branches = [Branch(at, None, question) for at, question in enumerate(asked)]
        return self._assemble(problem, problem.question, [*texts, ("", None)], branches)

    def mistaken(
        self, problem: Problem, styles: Sequence[str], wrong: str, diet: DataMix, rng: Random
    ) -> Example:
        """A right beginning in given styles, and a wrong step that somebody wrote after it.

        Judged are that step, the right one in its place and style, and the beginning as in any
        solution. Behind it the reasoning is terse.
        """
        at, steps = len(styles), problem.steps
        style = "wordy" if wrong.split()[:1] == steps[at].wordy.split()[:1] else "terse"
        given = [*styles, style, *["terse"] * (len(steps) - at - 1)]
        branches = [
            _verdict(at, wrong),
            _verdict(at, None),
            *_verdicts(problem, styles, diet.branches - 2, rng),
        ]
        if diet.others:
            branches += [_score(at, wrong), _score(at, None)]
            branches.append(Branch(at, wrong, same_question(steps[at].terse), NEGATIVE))
            branches += _others(problem, given[: at + 1], diet.others - 2, rng)
        return self._solved(problem, given, branches, diet, rng)

    def solution(self, problem: Problem, diet: DataMix, rng: Random) -> Example:
        """The reference reasoning and answer, with judging branches."""
        styles = diet.styles(problem.steps, rng)
        branches = _verdicts(problem, styles, diet.branches, rng)
        branches += _others(problem, styles, diet.others, rng)
        if rng.random() < diet.answers:
            wrong = wrong_answer(problem, rng) if rng.random() < 0.5 else None
            branches.append(_verdict(len(problem.steps), wrong))
        return self._solved(problem, styles, branches, diet, rng)

    def _solved(
        self,
        problem: Problem,
        styles: Sequence[str],
        branches: Sequence[Branch],
        diet: DataMix,
        rng: Random,
    ) -> Example:
        texts: list[Piece] = [
            (_rendered(step, style) + DELIMITER, 0 if diet.begins_wordy or style == "terse" else 1)
            for step, style in zip(problem.steps, styles, strict=True)
        ]
        texts.append((problem.final, 0))
        example = self._assemble(problem, problem.question, texts, branches, diet.verdict_weight)
        self._add_slips(example, diet.slips, rng)
        return example

    def _add_slips(self, example: Example, count: int, rng: Random) -> None:
        """Branches of one token: another word of its family in the place of a right fact.

        A wrong step costs some thirty tokens and shows one error; these cost a token each.
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
        problem: Problem | None,
        question: str,
        texts: Sequence[Piece],
        branches: Sequence[Branch] = (),
        verdict_weight: float = 1.0,
    ) -> Example:
        """A main path and its branches; without a problem there is no picture.

        The last text is the final answer, behind which there is no delimiter.
        """
        ids = self.prompt(question) if problem else self._plain_prompt(question)
        begin, starts = len(ids), []
        learn = [False] * len(ids)
        for text, first in texts:
            starts.append(len(ids))
            ids += self.ids(text)
            size = len(ids) - len(learn)
            unlearnt = size if first is None else first
            learn += [False] * unlearnt + [True] * (size - unlearnt)
        starts.append(len(ids))
        ids, learn = ids + self._end, [*learn, texts[-1][1] is not None]
        image = np.asarray(problem.image) if problem else _BLACK
        example = _example(image, ids, learn)
        if branches:
            example.marks[begin : starts[-1]] = [1] * (starts[-1] - begin)
        for number, branch in enumerate(branches, 1):
            at, wrong = branch.at, branch.text
            cut = starts[at] if wrong is not None else starts[at + 1]
            end = DELIMITER if at < len(texts) - 1 else ""  # the answer has none
            step = self.ids(wrong + end) if wrong is not None else []
            tail = step + self.ids(f"{END}{USER}{branch.question}{ASSISTANT}")
            example.ids.extend(tail)
            example.positions.extend(range(cut, cut + len(tail)))
            example.labels.extend([*[IGNORE] * (len(tail) - 1), self.ids(branch.answer)[0]])
            example.weights.extend([*[0.0] * (len(tail) - 1), verdict_weight])
            example.segments.extend([number] * len(tail))
            example.cuts.extend([cut] * len(tail))
            marks = _marks(step, ids[starts[at] : starts[at + 1]])
            example.marks.extend([*marks, *[IGNORE] * (len(tail) - len(marks))])
        return example


def _example(image: npt.NDArray[np.uint8], ids: list[int], learn: list[bool]) -> Example:
    """A main path alone; learn: which tokens are to be predicted."""
    pairs = zip(ids[1:], learn[1:], strict=True)
    labels = [*(token if learnt else IGNORE for token, learnt in pairs), IGNORE]
    size = len(ids)
    zeros = [0] * size
    return Example(
        image, list(ids), list(range(size)), labels, [1.0] * size, list(zeros), list(zeros),
        [IGNORE] * size,
    )  # fmt: skip


def _marks(step: Sequence[int], right: Sequence[int]) -> list[int]:
    """1 for each token that agrees with the right step, 0 for the first that does not."""
    same = 0
    while same < min(len(step), len(right)) and step[same] == right[same]:
        same += 1
    return [1] * same + [0] * (same < len(step))


def _rendered(step: ReferenceStep, style: str) -> str:
    return step.wordy if style == "wordy" else step.terse


def _verdict(at: int, wrong: str | None) -> Branch:
    return Branch(at, wrong, answer=POSITIVE if wrong is None else NEGATIVE)


def _score(at: int, wrong: str | None) -> Branch:
    return Branch(at, wrong, SCORE_QUESTION, "9" if wrong is None else "0")


def same_question(step: str) -> str:
    """Whether a step says the same as this one."""
    return SAME_QUESTION.format(step=step)


def _verdicts(problem: Problem, styles: Sequence[str], count: int, rng: Random) -> list[Branch]:
    """At most `count` judged steps of a beginning in given styles, right and wrong ones alike."""
    return [_verdict(at, wrong) for at, wrong in _samples(problem, styles, count, rng)]


def _samples(
    problem: Problem, styles: Sequence[str], count: int, rng: Random
) -> list[tuple[int, str | None]]:
    """Steps of a beginning: as they are (None), and wrong ones in the place of some."""
    steps = range(len(styles))
    right = (max(0, count) + rng.randint(0, 1)) // 2
    samples: list[tuple[int, str | None]] = [
        (at, None) for at in rng.sample(steps, min(right, len(steps)))
    ]
    for at in rng.sample(steps, min(max(0, count - right), len(steps))):
        # The style of the path, as right steps have it: a verdict must not be told by style.
        wrong = wrong_step(problem, at, styles[at], rng)
        if wrong is not None:
            samples.append((at, wrong))
    return samples


def _others(problem: Problem, styles: Sequence[str], count: int, rng: Random) -> list[Branch]:
    """What the judges of other methods ask: `count` scores, and `count` comparisons."""
    scores = [_score(at, wrong) for at, wrong in _samples(problem, styles, count, rng)]
    places = rng.choices(range(len(styles)), k=max(0, count))
    return scores + [_comparison(problem, at, styles[at], rng) for at in places]


def _comparison(problem: Problem, at: int, style: str, rng: Random) -> Branch:
    """A step, and one that the target wrote in its place, which is mostly right and terse.

    Now and then it is the target that is wrong, alone or with the same error: to compare is not to
    judge.
    """
    right = problem.steps[at]
    draw = rng.random()
    if draw < 0.06:
        pair = misread(problem, at, rng)
        if pair is not None and pair.terse not in right.renderings:
            one, other = rng.sample(pair.renderings, 2)
            return Branch(at, one, same_question(other), POSITIVE)
    if draw < 0.14 and (own := wrong_step(problem, at, "terse", rng)) is not None:
        return Branch(at, None, same_question(own), NEGATIVE)
    if draw < 0.55 and (wrong := wrong_step(problem, at, style, rng)) is not None:
        return Branch(at, wrong, same_question(right.terse), NEGATIVE)
    return Branch(
        at, None, same_question(right.wordy if style == "terse" else right.terse), POSITIVE
    )


def normalized(images: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
    """Pictures (H, W, 3) as the tower takes them: (B, 3, H, W) between -1 and 1."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1.0).contiguous()


def collate(examples: Sequence[Example], pad: int) -> dict[str, torch.Tensor]:
    """Tensors of a batch: pixels (B, 3, H, W), the rest (B, T), mask (B, 1, T, T), True = sees."""
    size = max(len(example) for example in examples)

    def stack(name: str, fill: float, dtype: torch.dtype) -> torch.Tensor:
        rows = [[*getattr(e, name), *[fill] * (size - len(e))] for e in examples]
        return torch.tensor(rows, dtype=dtype)

    segments = stack("segments", -1, torch.long)
    return {
        "pixels": normalized([example.image for example in examples]),
        "ids": stack("ids", pad, torch.long),
        "positions": stack("positions", 0, torch.long),
        "labels": stack("labels", IGNORE, torch.long),
        "weights": stack("weights", 0.0, torch.float32),
        "segments": segments,
        "marks": stack("marks", IGNORE, torch.long),
        "mask": _mask(segments, stack("cuts", 0, torch.long)),
    }


def _mask(segments: torch.Tensor, cuts: torch.Tensor) -> torch.Tensor:
    size = segments.shape[1]
    index = torch.arange(size)
    own = (segments[:, :, None] == segments[:, None, :]) & (index[None, :] <= index[:, None])
    trunk = (segments == 0)[:, None, :] & (index[None, None, :] < cuts[:, :, None])
    return (own | trunk)[:, None]
