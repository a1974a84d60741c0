"""One conversation in the worker: its prompt, its pictures, and its branches of keys and values.

Calls of one conversation share their beginning and then part: a stream goes on where a judging
pass stands beside it. Each has a branch, that is a sequence of tokens with its store. A call takes
the branch that its kind used last, keeps the longest common prefix, and adopts from its siblings
the rows that they have and it lacks: one copy of a few rows per step, none per token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from dreamr.conversation import Conversation, to_pillow
from dreamr.engines.local.forward_pass import Part, Passes
from dreamr.engines.local.kv_cache import Store
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.model import Features
from dreamr.engines.local.steps import Node, Shown, walk
from dreamr.errors import ContextTooLong, EngineError

Kind = Literal["stream", "judge"]


class CacheBranch:
    """Tokens and their keys and values; `busy` while a call works on it."""

    def __init__(self, store: Store, kind: Kind) -> None:
        self.ids: list[int] = []
        self.store = store
        self.kind = kind
        self.busy = False

    def cut(self, length: int) -> None:
        """Keep the first `length` tokens."""
        self.store.rewind(length)
        del self.ids[length:]

    def common(self, ids: list[int], limit: int) -> int:
        """How many of the first `limit` tokens of `ids` this branch can give."""
        size = min(len(ids), len(self.ids), limit)
        if self.ids[:size] != ids[:size]:
            size = next(i for i in range(size) if self.ids[i] != ids[i])
        return self.store.usable(size)


class Session:
    """A conversation and everything computed for it.

    Raises:
        Unsupported: it holds what the model cannot take.
        ContextTooLong: it does not fit into the model's context.
    """

    def __init__(self, loaded: Loaded, conversation: Conversation) -> None:
        self._loaded = loaded
        self._model = loaded.model
        self._pictures = loaded.prompter.pictures(conversation)
        opening = loaded.prompter.opening(conversation)
        self._features: Features | None = None
        self._embeds: torch.Tensor | None = None
        if self._pictures:
            opening = self._expand(opening, self._look().counts)
        self.root = Node(opening)
        self.prompt = opening
        self._check_prompt()
        self._places = self._model.places(opening, self._features)
        self._shift = 0
        if self._places is not None:
            self._shift = int(self._places.max()) + 1 - len(opening)
        self._seen = [token == self._model.image_token for token in opening]
        self.branches: list[CacheBranch] = []
        self._showing: list[Node] = []  # the places that the last judging pass has shown

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values, picture features and what a judging pass has shown."""
        features = 0 if self._features is None else self._features.nbytes
        embeds = 0 if self._embeds is None else self._embeds.nbytes
        shown = sum(int(place.shown.rows.nbytes) for place in self._showing if place.shown)
        return features + embeds + shown + sum(branch.store.nbytes for branch in self.branches)

    def shrink(self) -> int:
        """Drop what no call is working on; the bytes that this freed."""
        before = self.nbytes
        self.branches = [branch for branch in self.branches if branch.busy]
        if not self.branches:
            # Pictures are looked at again when they are needed.
            self._features = self._embeds = None
            self.show_nothing()
        return before - self.nbytes

    def walk(self, steps: Sequence[str]) -> list[Node]:
        """The places after each of these steps."""
        return walk(self.root, steps, self._loaded.prompter.step)

    def tokens(self, nodes: Sequence[Node]) -> list[int]:
        """The prompt's tokens and those of the steps up to these places."""
        return [*self.prompt, *(token for node in nodes for token in node.ids)]

    def show(self, place: Node, shown: Shown) -> None:
        """Keep what a judging pass has shown at a place."""
        if place.shown is None:
            self._showing.append(place)
        place.shown = shown

    def show_nothing(self) -> None:
        """Drop it everywhere: another pass begins, and its rows take memory."""
        for place in self._showing:
            place.shown = None
        self._showing.clear()

    def check_room(self, tokens: int) -> None:
        """See that so many tokens fit.

        Raises:
            ContextTooLong: they do not.
        """
        if tokens > self._model.context:
            raise ContextTooLong(
                f"question and reasoning need {tokens} tokens ({len(self.prompt)} of them the "
                f"question), the model's context holds {self._model.context}"
            )

    def acquire(self, kind: Kind, ids: list[int]) -> CacheBranch:
        """A branch that holds as much as possible of `ids` before the last token.

        The last token is always left to be run again: its output is what the caller is after.
        """
        limit = len(ids) - 1
        branch = self._idle(kind)
        own = branch.common(ids, limit)
        siblings = [other for other in self.branches if other is not branch]
        best = max(siblings, key=lambda other: other.common(ids, limit), default=None)
        shared = best.common(ids, limit) if best is not None else 0
        branch.cut(own)
        if best is not None and shared > own:
            branch.store.adopt(best.store, shared)
            branch.ids = ids[:shared]
        branch.store.reserve(len(ids))
        branch.busy = True
        return branch

    def release(self, branch: CacheBranch) -> None:
        """The call is over; the branch stays as a cache, in place of the last of its kind."""
        branch.busy = False
        self.branches = [
            other
            for other in self.branches
            if other.busy or other.kind != branch.kind or other is branch
        ]

    def feed(
        self,
        branch: CacheBranch,
        ids: list[int],
        most: int,
        *,
        last: bool = False,
        head: bool = False,
    ) -> Passes[torch.Tensor]:
        """Run up to `most` of the tokens of `ids` that the branch lacks.

        Their hidden rows, or that of the last alone; or, with `head`, its logits.
        """
        start = len(branch.ids)
        fresh = ids[start : start + most]
        mask = None
        if start and len(fresh) > 1 and self._model.rewinds:
            # The other models' modules know themselves what a row sees in their own caches.
            mask = causal(start, len(fresh))
        place = self.positions(start, start + len(fresh))
        rows = yield self.part(branch, fresh, place, mask, last=last or head, head=head)
        self.keep(branch, fresh)
        return rows

    def approach(self, branch: CacheBranch, ids: list[int], most: int) -> Passes[bool]:
        """Read on, up to `most` tokens; True once the last of `ids` is all that the branch lacks.

        Marks the end of the prompt and the place before the last token: stores that cannot go back
        anywhere can go back to these, which is where later calls of the conversation begin.
        """
        for stop in (len(self.prompt) - 1, len(ids) - 1):
            if len(branch.ids) < stop:
                yield from self.feed(branch, ids[:stop], most, last=True)
                if len(branch.ids) == stop:
                    branch.store.mark()
                break
        return len(branch.ids) == len(ids) - 1

    def part(
        self,
        branch: CacheBranch,
        fresh: list[int],
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        *,
        last: bool = False,
        head: bool = False,
    ) -> Part:
        """Rows behind the branch's tokens, for a pass; nothing is kept of it yet.

        last: only the last row is wanted. head: as logits.
        """
        start = len(branch.ids)
        branch.store.reserve(start + len(fresh))
        embeds, extra = self._rows(start, fresh)
        if mask is not None:
            mask = mask.to(self._model.device)
        return Part(embeds, positions, branch.store, mask, extra, last, head)

    def keep(self, branch: CacheBranch, tokens: list[int]) -> None:
        """The first rows of the last pass stay: they are these tokens."""
        branch.store.advance(len(tokens))
        branch.ids += tokens

    def positions(self, start: int, stop: int) -> torch.Tensor:
        """Positions of the tokens start .. stop of a branch."""
        if self._places is None:
            return self._model.line(start, stop)
        size = len(self.prompt)
        behind = self._model.line(max(start, size) + self._shift, max(stop, size) + self._shift)
        if start >= size:
            return behind
        return torch.cat([self._places[..., start:stop], behind], -1)

    def _idle(self, kind: Kind) -> CacheBranch:
        for branch in self.branches:
            if branch.kind == kind and not branch.busy:
                return branch
        branch = CacheBranch(self._model.new_store(), kind)
        self.branches.append(branch)
        return branch

    def _rows(self, start: int, fresh: list[int]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Embedding rows of tokens that begin at `start`, and what else the decoder takes."""
        inside = max(0, min(len(self.prompt) - start, len(fresh)))
        if not self._pictures or not inside:
            return self._model.tokens(fresh), {}
        rows = self._prompt_rows()[:, start : start + inside]
        if inside < len(fresh):
            rows = torch.cat([rows, self._model.tokens(fresh[inside:])], 1)
        return rows, self._deep(start, start + inside, len(fresh))

    def _deep(self, start: int, stop: int, rows: int) -> dict[str, Any]:
        features = self._look()
        seen = self._seen[start:stop]
        if not features.deep or not any(seen):
            return {}
        first = sum(self._seen[:start])
        marks = torch.zeros((1, rows), dtype=torch.bool, device=self._model.device)
        marks[0, : len(seen)] = torch.tensor(seen, device=self._model.device)
        deep = [layer[first : first + sum(seen)] for layer in features.deep]
        return {"visual_pos_masks": marks, "deepstack_visual_embeds": deep}

    def _prompt_rows(self) -> torch.Tensor:
        if self._embeds is None:
            rows = self._model.tokens(self.prompt)
            seen = torch.tensor(self._seen, device=self._model.device)
            rows[0, seen] = self._look().rows.to(rows.dtype)
            self._embeds = rows
        return self._embeds

    def _look(self) -> Features:
        if self._features is None:
            self._features = self._model.look([to_pillow(image) for image in self._pictures])
        return self._features

    def _expand(self, ids: list[int], counts: list[int]) -> list[int]:
        """One placeholder for each picture becomes one for each row of its features."""
        token = self._model.image_token
        if ids.count(token) != len(counts):
            raise EngineError(
                f"the chat template left {ids.count(token)} places for {len(counts)} pictures"
            )
        sizes = iter(counts)
        return [i for i in ids for _ in range(next(sizes) if i == token else 1)]

    def _check_prompt(self) -> None:
        if len(self.prompt) >= self._model.context:
            raise ContextTooLong(
                f"the question needs {len(self.prompt)} tokens, the model's context holds "
                f"{self._model.context}: shorten it or use fewer pictures"
            )


def causal(start: int, rows: int) -> torch.Tensor:
    """Each row sees everything before it: (1, 1, rows, start + rows)."""
    mask = torch.ones((rows, start + rows), dtype=torch.bool).tril_(start)
    return mask[None, None]
