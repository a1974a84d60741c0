"""Chains of reasoning drawn from a seed: what an emulated server writes, and how it judges."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from dreamr.conversation import Conversation
from dreamr.evaluation.tasks import Item, Items, Split, extract_answer
from dreamr.steps import Role

_PROBLEM = re.compile(r"Emulated problem (\d+)\.")
_WORDS = ("the", "value", "of", "this", "row", "is", "carried", "over", "and", "added", "to", "it")


def split_tokens(text: str) -> list[str]:
    """Split a text into tokens: words with the space before them, and runs of line breaks.

    The concatenation of the tokens is the text. A text that is cut between two tokens has the
    tokens of its parts.
    """
    return re.findall(r"\n+| ?\S+|\s", text)


@dataclass(frozen=True, slots=True)
class Chains:
    """What all chains of a server have in common.

    Attributes:
        acceptance: Probability that a drafted step is right, in [0, 1].
        resampled: Probability that another version of a wrong step is right. The default is about
            the measured share (`benchmarks/results/resamples.json`).
        steps: Smallest and largest number of steps.
        draft_tokens: Tokens of a drafted step.
        target_tokens: Tokens of a step of the target.
        doubt: Probability that the draft is unsure of a wrong step.
    """

    acceptance: float = 0.8
    resampled: float = 0.2
    steps: tuple[int, int] = (6, 14)
    draft_tokens: int = 28
    target_tokens: int = 40
    doubt: float = 0.7

    def of(self, text: str) -> Chain:
        """Return the chain of the problem that a prompt names; problem 0 if it names none."""
        found = _PROBLEM.search(text)
        return Chain(int(found[1]) if found else 0, self)


@dataclass(frozen=True, slots=True)
class Chain:
    """The reasoning about one problem, a pure function of its number.

    Attributes:
        problem: Number of the problem.
        common: What all chains have in common.
    """

    problem: int
    common: Chains

    @property
    def length(self) -> int:
        """Number of steps before the answer."""
        return Random(f"length/{self.problem}").randint(*self.common.steps)

    @property
    def answer(self) -> str:
        """The right answer."""
        return str(self._value(self.length - 1))

    def step(self, role: Role, position: int, seed: int = 0) -> str:
        """Return the text of a step with its delimiter, or of the answer.

        Args:
            role: The model that writes.
            position: Position of the step, from 0.
            seed: Selects one of the draft's versions; 0 for its greedy one.
        """
        if position >= self.length:
            return self._answer(right=True)
        right = role == "target" or self._draft_is_right(position, seed)
        value = self._value(position) if right else self._value(position) + 1
        count = self.common.target_tokens if role == "target" else self.common.draft_tokens
        words = Random(f"words/{self.problem}/{position}/{role}/{seed}").choices(
            _WORDS, k=count - 4
        )
        return f"Step {position + 1}: {' '.join(words)} makes {value}\n\n"

    def continuation(self, role: Role, prefix: str, seed: int = 0) -> str:
        """Return everything that a model writes after a prefix of whole and partial steps."""
        whole, partial = self._read(prefix)
        steps = [self.step(role, n, seed) for n in range(len(whole), self.length)]
        known = [*whole, *steps]
        right = all(self.is_right(n, step) for n, step in enumerate(known[: self.length]))
        first, *later = [*steps, self._answer(right=right)]
        rest = first[len(partial) :] if first.startswith(partial) else _after(first, partial)
        return rest + "".join(later)

    def judge(self, prefix: str) -> float:
        """Return the probability of "positive" for the last whole step of a prefix."""
        whole, partial = self._read(prefix)
        steps = [*whole, partial] if partial.strip() else whole
        if not steps:
            return 0.5
        return 0.97 if self.is_right(len(steps) - 1, steps[-1]) else 0.03

    def is_right(self, position: int, text: str) -> bool:
        """Check a step, given that all steps before it are right."""
        if position >= self.length:
            return extract_answer(text) == self.answer
        return text.strip().endswith(f" {self._value(position)}")

    def token_probability(self, role: Role, position: int, seed: int = 0) -> float:
        """Return the probability of the least probable token of a step."""
        unsure = Random(f"doubt/{self.problem}/{position}").random() < self.common.doubt
        wrong = (
            role == "draft" and position < self.length and not self._draft_is_right(position, seed)
        )
        return 0.4 if wrong and unsure else 0.98

    def position_after(self, prefix: str) -> int:
        """Return the position of the step that a prefix is in."""
        return len(self._read(prefix)[0])

    def _answer(self, *, right: bool) -> str:
        return f"Answer: {self.answer if right else int(self.answer) + 1}"

    def _draft_is_right(self, position: int, seed: int) -> bool:
        draw = Random(f"draft/{self.problem}/{position}/{seed}").random()
        return draw < (self.common.acceptance if not seed else self.common.resampled)

    def _value(self, position: int) -> int:
        return Random(f"value/{self.problem}/{position}").randint(100, 899)

    @staticmethod
    def _read(prefix: str) -> tuple[list[str], str]:
        """Return the whole steps, and the beginning of the next one."""
        *whole, partial = prefix.split("\n\n")
        return [step for step in whole if step.strip()], partial


def _after(step: str, partial: str) -> str:
    """Return the words of a step after as many as another text has."""
    return "".join(split_tokens(step)[len(split_tokens(partial)) :])


@lru_cache(maxsize=4096)
def _chain(problem: int, common: Chains) -> Chain:
    return Chain(problem, common)


def load_chains(common: Chains, limit: int, seed: int, split: Split) -> Items:
    """Return problems about chains, as the loader of a task.

    Args:
        common: As given to the servers.
        limit: Number of problems.
        seed: Selects them.
        split: Selects other numbers for 'train' than for 'test'.
    """
    start = 1_000_000 * seed + (500_000 if split == "train" else 1)
    return Items(range(start, start + limit), lambda number: _item(number, _chain(number, common)))


def _item(number: int, chain: Chain) -> Item:
    filler = " ".join(Random(f"prompt/{number}").choices(_WORDS, k=200))
    return Item(
        task="chains",
        index=number,
        id=str(number),
        kind="chains",
        unit=str(number),
        conversation=Conversation.from_prompt(f"Emulated problem {number}. {filler}"),
        read=extract_answer,
        right=lambda text: extract_answer(text) == chain.answer,
        check=lambda position, text: chain.is_right(position, text),
    )
