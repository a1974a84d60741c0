"""One stream in the worker: reads its prefix, then one token for each call of `advance`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import torch

from dreamr.engines.local.forward_pass import Passes, alone
from dreamr.engines.local.ipc import Piece
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.sampling import choose, foreseen, guess
from dreamr.engines.local.session import Session, causal
from dreamr.engines.local.steps import Generation, Node
from dreamr.engines.protocol import SamplingParams


class StreamTask:
    """Continues a prefix.

    call: goes into each piece. session: of its conversation. credit: tokens that may still be sent
    before the consumer takes some; the worker advances only streams with credit.

    Raises:
        ContextTooLong: conversation and prefix leave no room for a token.
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
    ) -> None:
        self.call = call
        self.credit = credit
        self.session = session
        self._sampling, self._loaded = sampling, loaded
        self._prefill = prefill
        nodes = session.walk(prefix)
        self._ids = session.tokens(nodes)
        session.check_room(len(self._ids) + 1)
        self._texts = loaded.prompter.texts.start(self._ids)
        self._generation = Generation()
        place = nodes[-1] if nodes else session.root
        place.remember(self._generation)
        self._foreseen = deque(self._known_at(place) if sampling.token_reuse else ())
        checks = loaded.model.rewinds and sampling.temperature <= 0
        self._guesses = sampling.lookup if checks else 0
        given = checks and sampling.token_reuse and not self._foreseen and sampling.guess
        self._given = loaded.prompter.step(sampling.guess)[: self._room] if given else []
        self._made = 0
        self._held: Piece | None = None
        self._sent = 0.0  # when the last piece left
        known = [*self._ids, *(token for token, _ in self._foreseen)]
        self._branch = session.acquire("stream", known)

    def _known_at(self, place: Node) -> Sequence[tuple[int, float | None]]:
        """What is written here, as far as a judging pass over a drafted step has shown it.

        A draw needs the noise of its position and the distribution there. The pass has the
        distribution of each position behind the step's tokens before it; so draws are right up to
        the first that is another token than the step's, that one included. The text for a seed is
        what it would be without (up to rounding), and its distribution unchanged. A drafted token
        is kept with the target's probability of it, as by the rule of speculative sampling
        (arXiv 2211.17192) for a draft that writes greedily; a draft that samples with the same seed
        shares the noise, and agrees more often.
        """
        if self._sampling.temperature <= 0:
            return place.foreseen
        if place.shown is None:
            return ()
        ids, start = place.shown.ids, len(self._ids) - len(self.session.prompt)
        drawn: list[tuple[int, float | None]] = []
        for place_in_step, logits in enumerate(self._loaded.model.logits(place.shown.rows)):
            drawn.append(choose(logits, self._sampling, start + place_in_step))
            if place_in_step == len(ids) or drawn[-1][0] != ids[place_in_step]:
                break
        return drawn

    def advance(self) -> Piece | None:
        """The next piece; None while the prefix is still being read."""
        return alone(self.passes(), self._loaded.model.run)

    def passes(self) -> Passes[Piece | None]:
        """The same as a call whose pass, if it needs one, somebody else runs."""
        if self._sampling.max_tokens < 1:
            return Piece(self.call, "", 0, "length", None, None)
        if self._foreseen:
            return self._known()
        branch, ids = self._branch, self._ids
        if not self._loaded.model.rewinds and len(branch.ids) < len(ids) - 1:
            yield from self.session.approach(branch, ids, self._prefill)
            return None
        missing = len(ids) - len(branch.ids)
        if (guessed := self._guess(missing)) and missing + len(guessed) <= self._prefill:
            yield from self._check(guessed)
            return self._known()
        ends = missing <= self._prefill
        rows = yield from self.session.feed(branch, ids, self._prefill, last=True, head=ends)
        return self._next(rows[0]) if ends else None

    def gather(self, piece: Piece, seconds: float) -> Piece | None:
        """What is to be sent after this piece: all since the last, or nothing yet.

        A message for each token costs its reader more than a small model needs to make one. The
        end of a line, or of the credit, is never held back: somebody waits for it.
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
        """Give the branch back; what it has read stays."""
        self.session.release(self._branch)

    @property
    def _room(self) -> int:
        """How many tokens fit behind the last."""
        return self._loaded.model.context - len(self._ids)

    def _known(self) -> Piece:
        """The next of the tokens that a pass has shown."""
        token, logprob = self._foreseen.popleft()
        return self._piece(token, logprob if self._sampling.logprobs else None)

    def _guess(self, missing: int) -> list[int]:
        """Tokens that may follow, if it is time to guess: what was given, once, or a lookup."""
        if given := self._given:
            self._given = []
            return given
        if self._guesses and missing == 1:
            return guess(self._ids, min(self._guesses, self._room))
        return []

    def _check(self, guessed: list[int]) -> Passes[None]:
        """See what the model writes here: of the guessed tokens those it would choose, and one."""
        session, branch, start = self.session, self._branch, len(self._branch.ids)
        missing = self._ids[start:]
        rows = [*missing, *guessed]
        positions = session.positions(start, start + len(rows))
        mask = causal(start, len(rows)) if start else None
        hidden = yield session.part(branch, rows, positions, mask)
        logits = self._loaded.model.logits(hidden[len(missing) - 1 :])
        own = foreseen(logits.log_softmax(-1), guessed)
        session.keep(branch, rows[: len(missing) + len(own) - 1])
        self._foreseen.extend(own)

    def _next(self, logits: torch.Tensor) -> Piece:
        place = len(self._ids) - len(self.session.prompt)
        return self._piece(*choose(logits, self._sampling, place))

    def _piece(self, token: int, logprob: float | None) -> Piece:
        self._made += 1
        if token in self._loaded.ends:
            return Piece(self.call, "", 1, "stop", logprob, logprob)
        text = self._texts.push(token)
        self._generation.push(token, text, whole=not self._texts.pending)
        self._ids.append(token)
        return Piece(self.call, text, 1, "length" if self._full() else None, logprob, logprob)

    def _full(self) -> bool:
        spent = self._made >= self._sampling.max_tokens
        return spent or len(self._ids) >= self._loaded.model.context
