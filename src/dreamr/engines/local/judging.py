"""Judging several consecutive steps in one forward pass.

    rows      rest of prefix | c1 | c2 | c3 | Q Q Q | Q Q Q | Q Q Q
    sees      everything before it           prefix and c1 .. ci, and its own question
    position  goes on counting               each question stands right behind its own step

A row predicts the token behind it. So the pass also shows what the model itself would write in
the place of a step: the step's own tokens up to the first that it would not have chosen, and that
choice. A greedy stream from there begins with these (`Node.foreseen`) and does not compute them; a
sampling one draws from the same rows (`Node.shown`).

Rows of questions lie behind those of the steps, so they are forgotten by not keeping them, while
the steps' keys and values stay: an accepted step has already been read. Where nothing is asked
about a step, its own rows are all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain, pairwise

import torch
from torch.nn import functional

from dreamr.engines.local.forward_pass import Part, Passes, alone
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.prompt import label_tokens
from dreamr.engines.local.sampling import foreseen
from dreamr.engines.local.session import CacheBranch, Session
from dreamr.engines.local.steps import Node, Shown
from dreamr.engines.prompts import Questions
from dreamr.errors import EngineError
from dreamr.gate import VERDICT, Asks, Evidence, Labels, Query

_MUCH_DOUBT = 0.5  # of the calls: more that leave a step to be asked about, and one pass is quicker
_DOUBT_SMOOTH = 0.05  # how much the newest call counts
_JOINT = 64  # more missing prefix than this is read by itself, without a mask for every row


class Judging:
    """How one model judges: its questions and the tokens of its answers.

    Raises:
        EngineError: the tokenizer cannot tell the labels apart.
    """

    def __init__(self, loaded: Loaded, questions: Questions, labels: Labels, prefill: int) -> None:
        self._model = loaded.model
        self._prompter = loaded.prompter
        self._prefill = prefill
        self._questions = questions
        self._fixed: dict[Asks, list[int]] = {
            "verdict": loaded.prompter.question(questions.verdict),
            "score": loaded.prompter.question(questions.score),
        }
        words = self._tokens((labels.positive, labels.negative))
        self._answers: dict[Asks, list[torch.Tensor]] = {"verdict": words, "same": words}
        self._doubt = 0.0  # share of the latest calls that leave a step to be asked about

    def judge(
        self,
        session: Session,
        prefix: Sequence[str],
        candidates: Sequence[str],
        query: Query = VERDICT,
    ) -> tuple[Evidence, ...]:
        """Evidence for each candidate, after the prefix and the candidates before it."""
        return alone(self.passes(session, prefix, candidates, query), self._model.run)

    def passes(
        self,
        session: Session,
        prefix: Sequence[str],
        candidates: Sequence[str],
        query: Query = VERDICT,
    ) -> Passes[tuple[Evidence, ...]]:
        """The same as a call whose passes somebody else runs."""
        if not candidates:
            return ()
        nodes = session.walk([*prefix, *candidates])
        before, steps = nodes[: len(prefix)], nodes[len(prefix) :]
        base = session.tokens(before)
        asked = self._asked(query, candidates)
        session.check_room(len(session.tokens(nodes)) + max(map(len, asked)))
        branch = session.acquire("judge", base)
        try:
            yield from self._catch_up(session, branch, base)
            places = [before[-1] if before else session.root, *steps]
            judged = self._in_one_pass if self._model.rewinds else self._one_by_one
            return (yield from judged(session, branch, base, places, query, asked))
        finally:
            session.release(branch)

    def _tokens(self, labels: Sequence[Sequence[str]]) -> list[torch.Tensor]:
        found = label_tokens(self._prompter, labels)
        return [torch.tensor(tokens, device=self._model.device) for tokens in found]

    def _asked(self, query: Query, candidates: Sequence[str]) -> list[list[int]]:
        """The tokens of the question behind each candidate, none where nothing is asked."""
        others, count = query.others, len(candidates)
        if query.asks == "same" and len(others) < count:
            raise EngineError(f"{len(others)} steps to compare with, for {count} candidates")
        return [
            self._question(query, place) if query.concerns(candidate) else []
            for place, candidate in enumerate(candidates)
        ]

    def _question(self, query: Query, place: int) -> list[int]:
        """The tokens of the question about the candidate at this place."""
        if query.asks == "same":
            return self._prompter.question(self._questions.about(query.others[place]))
        return self._fixed[query.asks]

    def _catch_up(self, session: Session, branch: CacheBranch, base: list[int]) -> Passes[None]:
        """Read most of a prefix that is new to the branch."""
        if self._model.rewinds and len(base) - len(branch.ids) <= _JOINT:
            return
        while not (yield from session.approach(branch, base, self._prefill)):
            pass

    def _in_one_pass(
        self,
        session: Session,
        branch: CacheBranch,
        base: list[int],
        nodes: list[Node],
        query: Query,
        asked: Sequence[Sequence[int]],
    ) -> Passes[tuple[Evidence, ...]]:
        """In one; or, where mostly nothing need be asked, in one without questions and one with.

        nodes: the place where the steps begin, and that after each of them.
        """
        late = query.target_confidence is not None and self._doubt < _MUCH_DOUBT
        steps = [node.ids for node in nodes[1:]]
        layout = _Layout(base, len(branch.ids), steps, [[]] * len(asked) if late else asked)
        hidden = yield layout.part(session, branch)
        session.keep(branch, layout.tail)
        found = self._read(session, layout, hidden, nodes, query)
        if query.target_confidence is None:
            return tuple(found)
        unsure = [i for i, one in enumerate(found) if asked[i] and not _sure(one, query)]
        self._doubt += _DOUBT_SMOOTH * (bool(unsure) - self._doubt)
        if late and unsure:
            ends = [layout.start + layout.bounds[i + 1] for i in unsure]
            questions = [asked[i] for i in unsure]
            masses = yield from self._ask_late(session, branch, ends, query, questions)
            for i, mass in zip(unsure, masses, strict=True):
                found[i] = _answered(found[i], mass)
        return tuple(found)

    def _read(
        self,
        session: Session,
        layout: _Layout,
        hidden: torch.Tensor,
        nodes: Sequence[Node],
        query: Query,
    ) -> list[Evidence]:
        """The evidence that a pass's rows hold; they are shown at the places of the steps."""
        answers = iter(self._masses(hidden[layout.answer_rows], query.asks))
        # The row before a token's own is the one that predicts it.
        first = layout.bounds[0] - 1
        logprobs = self._model.logits(hidden[first : len(layout.tail)]).log_softmax(-1)
        found = []
        session.show_nothing()
        for number, (place, node) in enumerate(pairwise(nodes)):
            begin, end = layout.bounds[number] - 1, layout.bounds[number + 1]
            rows = logprobs[begin - first : end - first]
            place.foreseen = foreseen(rows, node.ids)
            # A copy: a part would keep the rows of the whole pass in memory.
            session.show(place, Shown(node.ids, hidden[begin:end].clone()))
            masses = next(answers) if layout.asked[number] else []
            before = layout.before(number)
            found.append(self._evidence(masses, rows, node, place.foreseen, before))
        return found

    def _ask_late(
        self,
        session: Session,
        branch: CacheBranch,
        ends: Sequence[int],
        query: Query,
        asked: Sequence[Sequence[int]],
    ) -> Passes[list[list[float]]]:
        """The masses of the answers to questions about steps that the branch holds by now.

        ends: how many of the branch's tokens there are up to each step's end.
        """
        size = len(branch.ids)
        sizes = [len(question) for question in asked]
        places = [session.positions(end, end + n) for end, n in zip(ends, sizes, strict=True)]
        hidden = yield session.part(
            branch,
            [token for question in asked for token in question],
            torch.cat(places, -1),
            block_mask(size, 0, [end - size for end in ends], sizes),
        )
        return self._masses(hidden[[end - 1 for end in accumulate(sizes)]], query.asks)

    def _one_by_one(
        self,
        session: Session,
        branch: CacheBranch,
        base: list[int],
        nodes: list[Node],
        query: Query,
        asked: Sequence[list[int]],
    ) -> Passes[tuple[Evidence, ...]]:
        """For models whose state cannot be masked: ask, go back, read on."""
        found = []
        session.show_nothing()
        ids = list(base)
        row = yield from session.feed(branch, ids, len(ids), last=True)
        for (place, node), question in zip(pairwise(nodes), asked, strict=True):
            ids = [*ids, *node.ids]
            hidden = row
            if node.ids:
                own = yield from session.feed(branch, ids, len(node.ids))
                hidden = torch.cat([row, own])
            logprobs = self._model.logits(hidden).log_softmax(-1)
            place.foreseen = foreseen(logprobs, node.ids)
            session.show(place, Shown(node.ids, hidden))
            before = ids[: len(ids) - len(node.ids)]
            evidence = self._evidence([], logprobs, node, place.foreseen, before)
            if not _sure(evidence, query):
                masses = yield from self._ask(session, branch, ids, question, query.asks)
                evidence = _answered(evidence, masses)
            found.append(evidence)
            row = hidden[-1:]
        return tuple(found)

    def _ask(
        self, session: Session, branch: CacheBranch, ids: list[int], question: list[int], asks: Asks
    ) -> Passes[list[float]]:
        """The masses of the answers to a question behind these tokens; the branch ends there."""
        if not question:
            return []
        branch.store.mark()
        answer = yield from session.feed(branch, [*ids, *question], len(question), last=True)
        branch.cut(len(ids))
        return self._masses(answer, asks)[0]

    def _masses(self, hidden: torch.Tensor, asks: Asks) -> list[list[float]]:
        """For each row (rows, width) the probability of each answer."""
        if not len(hidden):
            return []
        if asks not in self._answers:  # not before it is needed: not every model has digits
            self._answers[asks] = self._tokens([(digit, f" {digit}") for digit in "0123456789"])
        shares = self._model.logits(hidden).softmax(-1)
        sums = [shares[:, tokens].sum(-1) for tokens in self._answers[asks]]
        masses: list[list[float]] = torch.stack(sums, -1).tolist()
        return masses

    def _evidence(
        self,
        masses: Sequence[float],
        logprobs: torch.Tensor,
        step: Node,
        own: Sequence[tuple[int, float]],
        before: list[int],
    ) -> Evidence:
        """masses: of the labels, of the digits, or none. logprobs, own: see `foreseen`."""
        text = self._prompter.texts.start(before)
        begun = "".join(text.push(token) for token, _ in own)
        positive, negative, scores = _answer(masses)
        known = Evidence(positive, negative, None, len(step.ids), len(own) - 1, scores, begun)
        return _with_confidence(known, logprobs[:-1], step.ids) if step.ids else known


class _Layout:
    """The rows of a judging pass: what is missing of the prefix, the steps, their questions.

    start: tokens in the branch. tail: rows that stay, of prefix and steps. bounds: where in the
    tail the first step begins, and where each ends. asked: the question after each step, which may
    be empty.
    """

    def __init__(
        self,
        base: list[int],
        start: int,
        steps: Sequence[list[int]],
        asked: Sequence[Sequence[int]],
    ) -> None:
        self.start, self.asked = start, asked
        self.tail = [*base[start:], *chain.from_iterable(steps)]
        self.bounds = list(accumulate(map(len, steps), initial=len(base) - start))
        self._read = base[:start]

    @property
    def answer_rows(self) -> list[int]:
        """The last row of each question that is asked."""
        ends = accumulate(map(len, self.asked))
        rows = [len(self.tail) - 1 + end for end in ends]
        return [row for row, question in zip(rows, self.asked, strict=True) if question]

    def before(self, number: int) -> list[int]:
        """All tokens before a step."""
        return [*self._read, *self.tail[: self.bounds[number]]]

    def part(self, session: Session, branch: CacheBranch) -> Part:
        """The pass."""
        start, sizes = self.start, list(map(len, self.asked))
        ends = self.bounds[1:]
        places = [session.positions(start, start + len(self.tail))]
        places += [
            session.positions(start + end, start + end + size)
            for end, size in zip(ends, sizes, strict=True)
            if size
        ]
        return session.part(
            branch,
            [*self.tail, *chain.from_iterable(self.asked)],
            torch.cat(places, -1),
            block_mask(start, len(self.tail), ends, sizes),
        )


def block_mask(start: int, tail: int, ends: Sequence[int], asked: Sequence[int]) -> torch.Tensor:
    """What each row of a judging pass sees: (1, 1, rows, start + rows), True where it may look.

    start: rows in the store. tail: rows that stay. ends: for each question, how many of the tail's
    rows it sees. asked: how many tokens it has.
    """
    rows = tail + sum(asked)
    mask = torch.zeros((rows, start + rows), dtype=torch.bool)
    mask[:tail, : start + tail] = torch.ones((tail, start + tail), dtype=torch.bool).tril_(start)
    first = tail
    for end, size in zip(ends, asked, strict=True):
        block = mask[first : first + size]
        block[:, : start + end] = True
        block[:, start + first : start + first + size].fill_(True).tril_()
        first += size
    return mask[None, None]


def _sure(evidence: Evidence, query: Query) -> bool:
    """Whether nothing need be asked about a step."""
    return (
        query.target_confidence is not None
        and evidence.min_margin is not None
        and evidence.min_margin >= query.target_confidence
    )


def _answer(masses: Sequence[float]) -> tuple[float, float, tuple[float, ...]]:
    """What the masses of a question's answers are: of the labels, of the digits, or of nothing."""
    if len(masses) == 2:
        return masses[0], masses[1], ()
    return 0.0, 0.0, tuple(masses)


def _answered(evidence: Evidence, masses: Sequence[float]) -> Evidence:
    positive, negative, scores = _answer(masses)
    return replace(evidence, positive=positive, negative=negative, scores=scores)


def _with_confidence(evidence: Evidence, logprobs: torch.Tensor, ids: list[int]) -> Evidence:
    """The same with how sure the model is of the tokens, given the rows that predict them."""
    tokens = torch.tensor(ids, device=logprobs.device)[:, None]
    own = logprobs.gather(1, tokens)[:, 0]
    best = logprobs.topk(2, 1)
    # The best other token: the second where the step's own is the first.
    other = best.values[:, 0].where(best.indices[:, 0] != tokens[:, 0], best.values[:, 1])
    ratios = functional.logsigmoid(own - other)
    figures = torch.stack([own.mean(), own.min(), ratios.mean().exp(), ratios.min().exp()])
    mean, least, mean_margin, min_margin = figures.tolist()
    return replace(
        evidence, logprob=mean, min_logprob=least, mean_margin=mean_margin, min_margin=min_margin
    )
