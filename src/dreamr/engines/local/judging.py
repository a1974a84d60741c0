"""Judging of several consecutive steps in one forward pass.

    rows          rest of prefix | c1 | c2 | c3 | Q Q Q | Q Q Q | Q Q Q
    attention to  everything before it           prefix and c1 .. ci, and its own question
    position      consecutive                    each question directly follows its own step

A row predicts the next token. The pass therefore also shows what the model itself would have
written instead of a step: the step's tokens up to the first that the model would not have chosen,
and the model's choice there. A greedy stream from that place begins with these tokens
(`Node.greedy`) and does not compute them; a stream that samples draws from the same rows
(`Node.judged`).

The rows of the questions come last. They are discarded by not advancing the store over them, while
the keys and values of the steps are kept, so an accepted step need not be read again. If nothing is
asked about a step, only its own rows are run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

import torch

from dreamr._messages import first_line
from dreamr.engines.local.evidence import (
    NO_ANSWER,
    Answer,
    answered,
    read_answers,
    with_confidence,
)
from dreamr.engines.local.forward_pass import Part, Passes, alone
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.prompt import label_tokens
from dreamr.engines.local.sampling import greedy_prefix
from dreamr.engines.local.session import CacheBranch, Session
from dreamr.engines.local.steps import JudgedRows, Node
from dreamr.engines.prompts import Questions
from dreamr.errors import EngineError
from dreamr.gate import VERDICT, Evidence, Labels, Query, QueryKind

_MAX_UNCERTAIN = 0.5  # share of calls with an uncertain step above which one pass is faster
_SMOOTHING = 0.05  # weight of the newest call
_JOINT_PREFIX = 64  # tokens; a longer missing prefix gets its own pass, without a large mask


class Judging:
    """Judging with one model.

    Args:
        loaded: The model.
        questions: Judge prompts.
        labels: Spellings of the two verdicts.
        prefill: Most tokens per forward pass while reading a prefix.

    Raises:
        EngineError: If the tokenizer cannot distinguish the labels.
    """

    def __init__(self, loaded: Loaded, questions: Questions, labels: Labels, prefill: int) -> None:
        self._model = loaded.model
        self._prompter = loaded.prompter
        self._prefill = prefill
        self._questions = questions
        self._fixed: dict[QueryKind, list[int]] = {
            "verdict": loaded.prompter.question(questions.verdict),
            "word": loaded.prompter.question(questions.verdict),
            "seen": loaded.prompter.question(questions.seen),
            "follows": loaded.prompter.question(questions.follows),
            "score": loaded.prompter.question(questions.score),
        }
        words = self._tokens((labels.positive, labels.negative))
        of_labels: tuple[QueryKind, ...] = ("verdict", "word", "seen", "follows", "same")
        self._answers: dict[QueryKind, list[torch.Tensor]] = dict.fromkeys(of_labels, words)
        self._uncertain = 0.0  # share of the latest calls with an uncertain step

    def judge(
        self,
        session: Session,
        prefix: Sequence[str],
        candidates: Sequence[str],
        query: Query = VERDICT,
    ) -> tuple[Evidence, ...]:
        """Return evidence for each candidate, after the prefix and the candidates before it."""
        return alone(self.passes(session, prefix, candidates, query), self._model.run)

    def passes(
        self,
        session: Session,
        prefix: Sequence[str],
        candidates: Sequence[str],
        query: Query = VERDICT,
    ) -> Passes[tuple[Evidence, ...]]:
        """Yield the forward passes of `judge`, for a caller that runs them; return its result."""
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
        """Return the question tokens after each candidate; empty if nothing is asked."""
        others, count = query.others, len(candidates)
        if query.kind == "same" and len(others) < count:
            raise EngineError(f"{count} candidates, but only {len(others)} steps to compare with")
        return [
            self._question(query, place) if query.concerns(candidate) else []
            for place, candidate in enumerate(candidates)
        ]

    def _question(self, query: Query, place: int) -> list[int]:
        """Return the question tokens about the candidate at this index."""
        if query.kind == "same":
            return self._prompter.question(self._questions.about(query.others[place]))
        return self._fixed[query.kind]

    def _catch_up(self, session: Session, branch: CacheBranch, base: list[int]) -> Passes[None]:
        """Prefill the part of the prefix that the branch lacks, unless it is short."""
        if self._model.rewinds and len(base) - len(branch.ids) <= _JOINT_PREFIX:
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
        """Judge in one pass, or in a pass without questions and a second one for uncertain steps.

        The second way is faster if few calls have steps that are uncertain by `target_confidence`.
        `nodes` holds the node where the steps begin, then the node after each step.
        """
        ask_late = query.target_confidence is not None and self._uncertain < _MAX_UNCERTAIN
        steps = [node.ids for node in nodes[1:]]
        layout = _Layout(base, len(branch.ids), steps, [[]] * len(asked) if ask_late else asked)
        hidden = yield layout.part(session, branch)
        session.keep(branch, layout.tail)
        found = self._read(session, layout, hidden, nodes, query)
        if query.target_confidence is None:
            return tuple(found)
        uncertain = [i for i, one in enumerate(found) if asked[i] and not query.skips(one)]
        self._uncertain += _SMOOTHING * (bool(uncertain) - self._uncertain)
        if ask_late and uncertain:
            ends = [layout.start + layout.bounds[i + 1] for i in uncertain]
            questions = [asked[i] for i in uncertain]
            answers = yield from self._ask_late(session, branch, ends, query, questions)
            for i, answer in zip(uncertain, answers, strict=True):
                found[i] = answered(found[i], answer)
        return tuple(found)

    def _read(
        self,
        session: Session,
        layout: _Layout,
        hidden: torch.Tensor,
        nodes: Sequence[Node],
        query: Query,
    ) -> list[Evidence]:
        """Return the evidence from the rows of a pass, and keep the rows at their nodes."""
        answers = iter(self._read_answers(hidden[layout.answer_rows], query.kind))
        # Row i predicts token i + 1.
        first = layout.bounds[0] - 1
        logprobs = self._model.logits(hidden[first : len(layout.tail)]).log_softmax(-1)
        found = []
        session.drop_judged()
        for number, (place, node) in enumerate(pairwise(nodes)):
            begin, end = layout.bounds[number] - 1, layout.bounds[number + 1]
            rows = logprobs[begin - first : end - first]
            place.greedy = greedy_prefix(rows, node.ids)
            # Cloned, because a view would keep the rows of the whole pass in memory.
            session.keep_judged(place, JudgedRows(node.ids, hidden[begin:end].clone()))
            answer = next(answers) if layout.asked[number] else NO_ANSWER
            before = layout.before(number)
            found.append(self._evidence(answer, rows, node, place.greedy, before))
        return found

    def _ask_late(
        self,
        session: Session,
        branch: CacheBranch,
        ends: Sequence[int],
        query: Query,
        asked: Sequence[Sequence[int]],
    ) -> Passes[list[Answer]]:
        """Ask about steps that the branch already holds; return the answers.

        `ends` holds, for each step, the number of tokens of the branch up to its end.
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
        return self._read_answers(hidden[[end - 1 for end in accumulate(sizes)]], query.kind)

    def _one_by_one(
        self,
        session: Session,
        branch: CacheBranch,
        base: list[int],
        nodes: list[Node],
        query: Query,
        asked: Sequence[list[int]],
    ) -> Passes[tuple[Evidence, ...]]:
        """Judge step by step: ask, rewind, read on. For models whose state cannot be masked."""
        found = []
        session.drop_judged()
        ids = list(base)
        row = yield from session.feed(branch, ids, len(ids), last=True)
        for (place, node), question in zip(pairwise(nodes), asked, strict=True):
            ids = [*ids, *node.ids]
            hidden = row
            if node.ids:
                own = yield from session.feed(branch, ids, len(node.ids))
                hidden = torch.cat([row, own])
            logprobs = self._model.logits(hidden).log_softmax(-1)
            place.greedy = greedy_prefix(logprobs, node.ids)
            session.keep_judged(place, JudgedRows(node.ids, hidden))
            before = ids[: len(ids) - len(node.ids)]
            evidence = self._evidence(NO_ANSWER, logprobs, node, place.greedy, before)
            if not query.skips(evidence):
                answer = yield from self._ask(session, branch, ids, question, query.kind)
                evidence = answered(evidence, answer)
            found.append(evidence)
            row = hidden[-1:]
        return tuple(found)

    def _ask(
        self,
        session: Session,
        branch: CacheBranch,
        ids: list[int],
        question: list[int],
        kind: QueryKind,
    ) -> Passes[Answer]:
        """Return the answer to a question after these tokens; rewind to their end."""
        if not question:
            return NO_ANSWER
        branch.store.mark()
        row = yield from session.feed(branch, [*ids, *question], len(question), last=True)
        branch.cut(len(ids))
        return self._read_answers(row, kind)[0]

    def _read_answers(self, hidden: torch.Tensor, kind: QueryKind) -> list[Answer]:
        """Return the answer of each hidden row, (rows, width)."""
        if not len(hidden):
            return []
        if kind not in self._answers:  # only when needed: not every model has tokens for digits
            self._answers[kind] = self._tokens([(digit, f" {digit}") for digit in "0123456789"])
        return read_answers(self._model.logits(hidden).softmax(-1), self._answers[kind])

    def _evidence(
        self,
        answer: Answer,
        logprobs: torch.Tensor,
        step: Node,
        own: Sequence[tuple[int, float]],
        before: list[int],
    ) -> Evidence:
        """Return the evidence for a step.

        `logprobs` and `own` are argument and result of
        `greedy_prefix`. `before` holds the tokens before the step.
        """
        text = self._prompter.texts.start(before)
        begun = "".join(text.push(token) for token, _ in own)
        known = Evidence(
            0.0, 0.0, tokens=len(step.ids), matched_tokens=len(own) - 1, target_prefix=begun
        )
        known = answered(known, answer)
        return with_confidence(known, logprobs[:-1], step.ids) if step.ids else known


class _Layout:
    """Rows of a judging pass: missing prefix, steps, questions.

    Attributes:
        start: Number of tokens in the branch.
        tail: Tokens of prefix and steps, whose rows are kept.
        bounds: Index in the tail where the first step begins, then where each step ends.
        asked: Question tokens after each step; may be empty.
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
        """Last row of each question."""
        ends = accumulate(map(len, self.asked))
        rows = [len(self.tail) - 1 + end for end in ends]
        return [row for row, question in zip(rows, self.asked, strict=True) if question]

    def before(self, number: int) -> list[int]:
        """Return all tokens before a step."""
        return [*self._read, *self.tail[: self.bounds[number]]]

    def part(self, session: Session, branch: CacheBranch) -> Part:
        """Return the part to run."""
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
    """Return the attention mask of a judging pass.

    Args:
        start: Rows in the store.
        tail: Rows of prefix and steps.
        ends: For each question, the number of tail rows that it attends to.
        asked: For each question, its number of tokens.

    Returns:
        (1, 1, rows, start + rows), True where attention is allowed; rows is tail + sum(asked).
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


def judging_or_reason(loaded: Loaded, questions: Questions, options: LocalOptions) -> Judging | str:
    """Return the judging of a model, or why it cannot judge, which a draft need not be able to."""
    try:
        return Judging(loaded, questions, options.labels, options.prefill)
    except EngineError as error:
        return first_line(error)
