"""A stream in the worker: it reads its prefix, then yields a token on each `advance`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import torch

from dreamr.engines.local.forward_pass import Passes, alone
from dreamr.engines.local.ipc import Piece
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.sampling import choose, entropy_of, greedy_prefix, guess
from dreamr.engines.local.session import Session, causal
from dreamr.engines.local.steps import Generation, Node
from dreamr.engines.local.tool_calls import Wanted
from dreamr.engines.protocol import SamplingParams
from dreamr.steps import Finish


class StreamTask:
    """Continuation of a prefix.

    Args:
        call: Number of the call, which each piece carries.
        session: Session of the conversation.
        prefix: Steps to continue.
        sampling: How to choose tokens.
        loaded: The model.
        credit: Number of tokens that may be sent before the consumer takes some. The scheduler
            advances only streams with credit.
        prefill: Most tokens per forward pass while reading the prefix.
        wanted: What the text must keep to; None for any text.

    Raises:
        ContextTooLong: If conversation and prefix leave no room for a token.
        Unsupported: If the text cannot be kept to what is wanted.
    """

    def __init__(
        self,
        call: int,
        session: Session,
        prefix: tuple[str, ...],
        sampling: SamplingParams,
        *,
        loaded: Loaded,
        credit: int,
        prefill: int,
        wanted: Wanted | None = None,
    ) -> None:
        self.call = call
        self.credit = credit
        self.session = session
        self._sampling, self._loaded = sampling, loaded
        self._constraint = None if wanted is None else loaded.constraints.constraint(wanted)
        self._prefill = prefill
        nodes = session.walk(prefix)
        self._ids = session.tokens(nodes)
        session.check_room(len(self._ids) + 1)
        self._texts = loaded.prompter.texts.start(self._ids)
        self._generation = Generation()
        place = nodes[-1] if nodes else session.root
        place.remember(self._generation)
        # Tokens that are known without their distributions have no entropy.
        free = wanted is None
        reuses = free and sampling.token_reuse and not sampling.entropy
        self._computed = deque(self._reusable(place) if reuses else ())
        greedy = sampling.temperature <= 0 and not sampling.adjusts
        checks = free and loaded.model.rewinds and greedy and not sampling.entropy
        self._lookup = sampling.lookup if checks else 0
        use_hint = checks and reuses and not self._computed and sampling.guess
        self._hint = loaded.prompter.step(sampling.guess)[: self._room] if use_hint else []
        self._made = 0
        self._held: Piece | None = None
        self._sent = 0.0  # time of the last message
        known = [*self._ids, *(token for token, _ in self._computed)]
        self._branch = session.acquire("stream", known)

    def _reusable(self, place: Node) -> Sequence[tuple[int, float | None]]:
        """Return the next tokens, as far as the pass that judged a drafted step has computed them.

        A draw needs the noise of its position and the distribution there. The pass provides the
        distribution after each token of the step. So draws are correct up to the first that differs
        from the step's token, including it. For a given seed, the text is the same as without reuse
        (up to rounding), and its distribution is unchanged. A drafted token is kept with the
        target's probability of it, as in speculative sampling (arXiv 2211.17192) with a greedy
        draft. A draft that samples with the same seed shares the noise and agrees more often.
        """
        if self._sampling.temperature <= 0 and not self._sampling.adjusts:
            return place.greedy
        if place.judged is None:
            return ()
        ids, start = place.judged.ids, len(self._ids) - len(self.session.prompt)
        drawn: list[tuple[int, float | None]] = []
        for place_in_step, logits in enumerate(self._loaded.model.logits(place.judged.rows)):
            known = [*self._ids, *ids[:place_in_step]]
            drawn.append(choose(logits, self._sampling, start + place_in_step, known))
            if place_in_step == len(ids) or drawn[-1][0] != ids[place_in_step]:
                break
        return drawn

    def advance(self) -> Piece | None:
        """Return the next piece; None while the prefix is being read."""
        return alone(self.passes(), self._loaded.model.run)

    def passes(self) -> Passes[Piece | None]:
        """Yield the forward pass of `advance`, if any, for a caller that runs it."""
        if self._sampling.max_tokens < 1:
            return Piece(self.call, "", 0, "length", None, None)
        if self._computed:
            return self._next_computed()
        branch, ids = self._branch, self._ids
        if not self._loaded.model.rewinds and len(branch.ids) < len(ids) - 1:
            yield from self.session.approach(branch, ids, self._prefill)
            return None
        missing = len(ids) - len(branch.ids)
        if (guessed := self._guess(missing)) and missing + len(guessed) <= self._prefill:
            yield from self._check(guessed)
            return self._next_computed()
        ends = missing <= self._prefill
        rows = yield from self.session.feed(branch, ids, self._prefill, last=True, head=ends)
        return self._next(rows[0]) if ends else None

    def gather(self, piece: Piece, seconds: float) -> Piece | None:
        """Return what to send after this piece: everything since the last message, or None to wait.

        Reading a message per token costs the engine more than a small model needs per token. The
        end of a line or of the credit is never held back, because the consumer waits for it.

        Args:
            piece: Latest piece.
            seconds: Shortest time between two messages.
        """
        if self._held is not None:
            piece = self._held.followed_by(piece)
        now = time.monotonic()
        due = now - self._sent >= seconds or self.credit == 0
        if due or piece.finish is not None or "\n" in piece.text:
            self._held, self._sent = None, now
            return piece
        self._held = piece
        return None

    def close(self) -> None:
        """Release the branch, which keeps its tokens."""
        self.session.release(self._branch)

    @property
    def _room(self) -> int:
        """Number of tokens that fit after the last one."""
        return self._loaded.model.context - len(self._ids)

    def _next_computed(self) -> Piece:
        """Return the next of the tokens that are already computed."""
        token, logprob = self._computed.popleft()
        return self._piece(token, logprob if self._sampling.logprobs else None)

    def _guess(self, missing: int) -> list[int]:
        """Return tokens that may follow: the caller's guess once, otherwise a prompt lookup."""
        if hint := self._hint:
            self._hint = []
            return hint
        if self._lookup and missing == 1:
            return guess(self._ids, min(self._lookup, self._room))
        return []

    def _check(self, guessed: list[int]) -> Passes[None]:
        """Check guessed tokens in one pass: keep those the model would choose, and one more."""
        session, branch, start = self.session, self._branch, len(self._branch.ids)
        missing = self._ids[start:]
        rows = [*missing, *guessed]
        positions = session.positions(start, start + len(rows))
        mask = causal(start, len(rows)) if start else None
        hidden = yield session.part(branch, rows, positions, mask)
        logits = self._loaded.model.logits(hidden[len(missing) - 1 :])
        own = greedy_prefix(logits.log_softmax(-1), guessed)
        session.keep(branch, rows[: len(missing) + len(own) - 1])
        self._computed.extend(own)

    def _next(self, logits: torch.Tensor) -> Piece:
        place = len(self._ids) - len(self.session.prompt)
        if self._constraint is not None:
            logits = self._constraint.masked(logits)
        entropy = entropy_of(logits) if self._sampling.entropy else None
        return self._piece(*choose(logits, self._sampling, place, self._ids), entropy)

    def _piece(self, token: int, logprob: float | None, entropy: float | None = None) -> Piece:
        self._made += 1
        if token in self._loaded.ends:
            return Piece(self.call, "", 1, "stop", logprob, logprob, entropy)
        text = self._texts.push(token)
        self._generation.push(token, text, whole=not self._texts.pending)
        self._ids.append(token)
        finish: Finish | None = "length" if self._full() else None
        if self._constraint is not None and self._constraint.push(token):
            finish = "stop"
        return Piece(self.call, text, 1, finish, logprob, logprob, entropy)

    def _full(self) -> bool:
        spent = self._made >= self._sampling.max_tokens
        return spent or len(self._ids) >= self._loaded.model.context
