"""Judging several consecutive steps in one forward pass.

    rows      rest of prefix | c1 | c2 | c3 | Q Q Q | Q Q Q | Q Q Q
    sees      everything before it           prefix and c1 .. ci, and its own question
    position  goes on counting               each question stands right behind its own step

A row predicts the token behind it. So the pass also shows what the model itself would write in
the place of a step: the step's own tokens up to the first that it would not have chosen, and that
choice. A greedy stream from there begins with these (`Node.foreseen`) and does not compute them.

Rows of questions lie behind those of the steps, so they are forgotten by not keeping them, while
the steps' keys and values stay: an accepted step has already been read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch

from dreamr.engines.local._load import Loaded
from dreamr.engines.local._prompt import label_tokens
from dreamr.engines.local._session import Branch, Session
from dreamr.engines.local._steps import Node
from dreamr.gate import Evidence, Labels

_JOINT = 64  # more missing prefix than this is read by itself, without a mask for every row


class Judging:
    """How one model judges: its question and the tokens of its labels.

    Raises:
        EngineError: the tokenizer cannot tell the labels apart.
    """

    def __init__(self, loaded: Loaded, question: str, labels: Labels, prefill: int) -> None:
        self._model = loaded.model
        self._prefill = prefill
        self.question = loaded.prompter.question(question)
        positive, negative = label_tokens(loaded.prompter, labels)
        self._positive = torch.tensor(positive, device=self._model.device)
        self._negative = torch.tensor(negative, device=self._model.device)

    def judge(
        self, session: Session, prefix: Sequence[str], candidates: Sequence[str]
    ) -> tuple[Evidence, ...]:
        """Evidence for each candidate, after the prefix and the candidates before it."""
        if not candidates:
            return ()
        nodes = session.walk([*prefix, *candidates])
        before, steps = nodes[: len(prefix)], nodes[len(prefix) :]
        base = session.tokens(before)
        session.check_room(len(session.tokens(nodes)) + len(self.question))
        branch = session.acquire("judge", base)
        try:
            self._catch_up(session, branch, base)
            if self._model.rewinds:
                place = before[-1] if before else session.root
                return self._in_one_pass(session, branch, base, [place, *steps])
            return self._one_by_one(session, branch, base, steps)
        finally:
            session.release(branch)

    def _catch_up(self, session: Session, branch: Branch, base: list[int]) -> None:
        """Read most of a prefix that is new to the branch."""
        if self._model.rewinds and len(base) - len(branch.ids) <= _JOINT:
            return
        while not session.approach(branch, base, self._prefill):
            pass

    def _in_one_pass(
        self, session: Session, branch: Branch, base: list[int], nodes: list[Node]
    ) -> tuple[Evidence, ...]:
        """nodes: the place where the steps begin, and that behind each of them."""
        steps = nodes[1:]
        start = len(branch.ids)
        tail = [*base[start:], *(token for node in steps for token in node.ids)]
        bounds = list(accumulate((len(node.ids) for node in steps), initial=len(base) - start))
        asked = len(self.question)
        places = [session.positions(start, start + len(tail))]
        places += [session.positions(start + end, start + end + asked) for end in bounds[1:]]
        hidden = session.run(
            branch,
            [*tail, *self.question * len(steps)],
            torch.cat(places, -1),
            block_mask(start, len(tail), bounds[1:], asked),
        )
        session.keep(branch, tail)
        verdicts = hidden[len(tail) + asked - 1 :: asked]
        masses = self._masses(verdicts)
        # The row before a token's own is the one that predicts it.
        first = bounds[0] - 1
        logprobs = self._model.logits(hidden[first : len(tail)]).log_softmax(-1)
        found = []
        for mass, place, node, (a, b) in zip(masses, nodes, steps, pairwise(bounds), strict=False):
            rows = logprobs[a - 1 - first : b - first]
            place.foreseen = _foreseen(rows, node.ids)
            found.append(_evidence(mass, _mean(rows[:-1], node.ids), len(node.ids)))
        return tuple(found)

    def _one_by_one(
        self, session: Session, branch: Branch, base: list[int], steps: list[Node]
    ) -> tuple[Evidence, ...]:
        """For models whose state cannot be masked: ask, go back, read on."""
        found = []
        ids = list(base)
        row = session.feed(branch, ids, len(ids), last=True)
        for node in steps:
            ids = [*ids, *node.ids]
            hidden = row
            if node.ids:
                hidden = torch.cat([row, session.feed(branch, ids, len(node.ids))])
            branch.store.mark()
            answer = session.feed(branch, [*ids, *self.question], len(self.question), last=True)
            branch.cut(len(ids))
            mass = self._masses(answer)[0]
            logprobs = self._model.logits(hidden[:-1]).log_softmax(-1)
            found.append(_evidence(mass, _mean(logprobs, node.ids), len(node.ids)))
            row = hidden[-1:]
        return tuple(found)

    def _masses(self, hidden: torch.Tensor) -> list[tuple[float, float]]:
        shares = self._model.logits(hidden).softmax(-1)
        positive = shares[:, self._positive].sum(-1).tolist()
        negative = shares[:, self._negative].sum(-1).tolist()
        return list(zip(positive, negative, strict=True))


def block_mask(start: int, tail: int, ends: Sequence[int], asked: int) -> torch.Tensor:
    """What each row of a judging pass sees: (1, 1, rows, start + rows), True where it may look.

    start: rows in the store. tail: rows that stay. ends: for each question, how many of the tail's
    rows it sees. asked: tokens of a question.
    """
    rows = tail + asked * len(ends)
    mask = torch.zeros((rows, start + rows), dtype=torch.bool)
    mask[:tail, : start + tail] = torch.ones((tail, start + tail), dtype=torch.bool).tril_(start)
    own = torch.ones((asked, asked), dtype=torch.bool).tril_()
    for place, end in enumerate(ends):
        first = tail + asked * place
        block = mask[first : first + asked]
        block[:, : start + end] = True
        block[:, start + first : start + first + asked] = own
    return mask[None, None]


def _mean(logprobs: torch.Tensor, ids: list[int]) -> float | None:
    """Mean log-probability (nats) of tokens, given the rows that predict them."""
    if not ids:
        return None
    tokens = torch.tensor(ids, device=logprobs.device)
    return float(logprobs.gather(1, tokens[:, None]).mean())


def _foreseen(logprobs: torch.Tensor, ids: list[int]) -> list[tuple[int, float]]:
    """What the model itself would write: `ids` as far as it would choose them, and one more.

    logprobs: of the row before the first of them, and of each.
    """
    chosen, tokens = logprobs.max(-1)
    own = list(zip(tokens.tolist(), chosen.tolist(), strict=True))
    same = next(
        (i for i, (given, (token, _)) in enumerate(zip(ids, own, strict=False)) if given != token),
        len(ids),
    )
    return own[: same + 1]


def _evidence(mass: tuple[float, float], logprob: float | None, tokens: int) -> Evidence:
    return Evidence(mass[0], mass[1], logprob, tokens)
