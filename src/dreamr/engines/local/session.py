"""A conversation in the worker: its prompt, its image features and the branches of its KV cache.

The calls of a conversation share a prefix and then diverge: a stream continues while a judge call
runs. Each call has a branch, which is a token sequence with its store. A call takes the idle branch
that the last call of its kind used, keeps the longest common prefix, and copies from other branches
the rows that they have and it lacks. That is one copy of a few rows per step, and none per token.

A new conversation often begins as an earlier one: it is its next question, or another one about the
same document. Its first calls copy the rows of that beginning, and it takes over the features of
the images that both have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal

import torch

from dreamr.conversation import Conversation, Image, to_pillow
from dreamr.engines.local.forward_pass import Part, Passes
from dreamr.engines.local.kv_cache import Store
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.model import Features
from dreamr.engines.local.steps import JudgedRows, Node, walk
from dreamr.errors import ContextTooLong, EngineError

Kind = Literal["stream", "judge"]

_WORTH = 32  # tokens: a shorter beginning is read as fast as it is found and copied
_ENDLESS = (sys.maxsize, "")


class CacheBranch:
    """A token sequence with its keys and values.

    Attributes:
        ids: The tokens.
        store: Their keys and values.
        kind: Kind of the calls that use the branch.
        busy: Whether a call is using it.
        unsettled: Whether a pass has begun whose rows are not kept.
    """

    def __init__(self, store: Store, kind: Kind) -> None:
        self.ids: list[int] = []
        self.store = store
        self.kind = kind
        self.busy = False
        self.unsettled = False

    def cut(self, length: int) -> None:
        """Keep the first `length` tokens."""
        self.store.rewind(length)
        del self.ids[length:]

    def common(self, ids: list[int], limit: int) -> int:
        """Return how many of the first `limit` tokens of `ids` the branch can provide."""
        size = min(len(ids), len(self.ids), limit)
        if self.ids[:size] != ids[:size]:
            size = next(i for i in range(size) if self.ids[i] != ids[i])
        return self.store.usable(size)


class Session:
    """A conversation and everything computed for it.

    Args:
        loaded: The model.
        conversation: The conversation.
        peers: Returns the sessions whose prefixes and image features may be taken over; this one
            can be among them.

    Raises:
        Unsupported: If the model does not accept a part of the conversation.
        ContextTooLong: If the conversation exceeds the model's context length.
    """

    def __init__(
        self,
        loaded: Loaded,
        conversation: Conversation,
        peers: Callable[[], Iterable[Session]] = tuple,
    ) -> None:
        self._loaded, self._peers = loaded, peers
        self._model = loaded.model
        self._images = loaded.prompter.images_in(conversation)
        opening = loaded.prompter.opening(conversation)
        self.features: dict[str, Features] = {}  # of the images, by digest
        self._embeds: torch.Tensor | None = None
        self._deep_rows: list[torch.Tensor] = []
        self._shown: list[tuple[int, str]] = []  # first token and digest of each image
        if self._images:
            opening = self._expand(opening)
        self.root = Node(opening)
        self.prompt = opening
        self._check_prompt()
        self._places = self._model.places(opening, self._look())
        self._shift = 0
        if self._places is not None:
            self._shift = int(self._places.max()) + 1 - len(opening)
        self._seen = [token == self._model.image_token for token in opening]
        self.branches: list[CacheBranch] = []
        self._judged: list[Node] = []  # nodes with rows of the last judge call

    @property
    def nbytes(self) -> int:
        """Memory in bytes of KV caches, image features and judged rows."""
        return self.own_bytes + sum(features.nbytes for features in self.features.values())

    @property
    def own_bytes(self) -> int:
        """Memory in bytes without that of image features, which sessions share."""
        embeds = 0 if self._embeds is None else self._embeds.nbytes
        deep = sum(rows.nbytes for rows in self._deep_rows) if len(self._images) > 1 else 0
        judged = sum(int(place.judged.rows.nbytes) for place in self._judged if place.judged)
        stores = sum(branch.store.nbytes for branch in self.branches)
        return embeds + deep + judged + stores

    def shrink(self) -> None:
        """Free everything that no call is using."""
        self.branches = [branch for branch in self.branches if branch.busy]
        if not self.branches:
            # Image features are computed again when needed.
            self.features, self._embeds, self._deep_rows = {}, None, []
            self.drop_judged()

    def walk(self, steps: Sequence[str]) -> list[Node]:
        """Return the node after each of these steps."""
        return walk(self.root, steps, self._loaded.prompter.step)

    def tokens(self, nodes: Sequence[Node]) -> list[int]:
        """Return the tokens of the prompt and of the steps up to these nodes."""
        return [*self.prompt, *(token for node in nodes for token in node.ids)]

    def keep_judged(self, place: Node, judged: JudgedRows) -> None:
        """Keep the rows over a judged step at the node where the step begins."""
        if place.judged is None:
            self._judged.append(place)
        place.judged = judged

    def drop_judged(self) -> None:
        """Drop the judged rows of all nodes, to make room for those of the next judge call."""
        for place in self._judged:
            place.judged = None
        self._judged.clear()

    def check_room(self, tokens: int) -> None:
        """Check that a number of tokens fits into the context.

        Raises:
            ContextTooLong: If they do not fit.
        """
        if tokens > self._model.context:
            raise ContextTooLong(
                f"prompt and reasoning need {tokens} tokens ({len(self.prompt)} for the prompt), "
                f"but the model's context holds {self._model.context}: shorten the prompt or use "
                "a model with a longer context"
            )

    def acquire(self, kind: Kind, ids: list[int]) -> CacheBranch:
        """Return a branch that holds as much as possible of `ids` except the last token.

        The last token is always run again, because the caller needs its output.
        """
        limit = len(ids) - 1
        branch = self._idle(kind)
        own = branch.common(ids, limit)
        others = [other for other in self.branches if other is not branch]
        found = [(other.common(ids, limit), other.store) for other in others]
        if max([own, *(shared for shared, _ in found)]) < min(limit, len(self.prompt) - 1):
            found += self._beginnings(ids, limit)
        shared, store = max(found, key=lambda one: one[0], default=(0, None))
        branch.cut(own)
        if store is not None and shared > own:
            branch.store.adopt(store, shared)
            branch.ids = ids[:shared]
        branch.store.reserve(len(ids))
        branch.busy = True
        return branch

    def release(self, branch: CacheBranch) -> None:
        """Give a branch back. It replaces the last idle branch of its kind.

        A store that cannot rewind to any length is dropped after a pass that failed: it may hold
        rows of some layers that do not belong to its tokens.
        """
        branch.busy = False
        broken = branch.unsettled and not self._model.rewinds
        self.branches = [
            other
            for other in self.branches
            if other.busy or (not broken if other is branch else other.kind != branch.kind)
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

        Returns:
            Their hidden rows; the last row if `last` is set; the logits of the last row if `head`
            is set.
        """
        start = len(branch.ids)
        fresh = ids[start : start + most]
        mask = None
        if start and len(fresh) > 1 and self._model.rewinds:
            # Without rewinding, transformers' modules make the mask for their own cache.
            mask = causal(start, len(fresh))
        place = self.positions(start, start + len(fresh))
        rows = yield self.part(branch, fresh, place, mask, last=last or head, head=head)
        self.keep(branch, fresh)
        return rows

    def approach(self, branch: CacheBranch, ids: list[int], most: int) -> Passes[bool]:
        """Prefill up to `most` of the tokens that the branch lacks, except the last of `ids`.

        Marks the end of the prompt and the place before the last token, where later calls of the
        conversation begin. Stores that cannot rewind to any length can rewind to these.

        Returns:
            True once the branch lacks only the last token.
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
        """Return the part for rows after the branch's tokens. `keep` decides which of them stay.

        Args:
            branch: Branch to extend.
            fresh: Tokens of the rows.
            positions: Positions of the rows.
            mask: See `Part`.
            last: Whether only the last row is requested.
            head: Whether logits are requested.
        """
        start = len(branch.ids)
        branch.unsettled = True
        branch.store.reserve(start + len(fresh))
        embeds, extra = self._rows(start, fresh)
        if mask is not None:
            mask = mask.to(self._model.device)
        return Part(embeds, positions, branch.store, mask, extra, last, head)

    def keep(self, branch: CacheBranch, tokens: list[int]) -> None:
        """Keep the first rows of the last pass, which are those of these tokens."""
        branch.store.advance(len(tokens))
        branch.ids += tokens
        branch.unsettled = False

    def positions(self, start: int, stop: int) -> torch.Tensor:
        """Return the positions of the tokens start .. stop - 1 of a branch."""
        if self._places is None:
            return self._model.line(start, stop)
        size = len(self.prompt)
        after = self._model.line(max(start, size) + self._shift, max(stop, size) + self._shift)
        if start >= size:
            return after
        return torch.cat([self._places[..., start:stop], after], -1)

    def _beginnings(self, ids: list[int], limit: int) -> Iterator[tuple[int, Store]]:
        """Yield what other conversations can provide: a number of tokens, and a store with them."""
        for peer in (one for one in self._peers() if one is not self):
            most = min(limit, self._alike(peer))
            for branch in peer.branches:
                shared = branch.common(ids, most)
                if shared >= _WORTH and torch.equal(
                    self.positions(0, shared), peer.positions(0, shared)
                ):
                    yield shared, branch.store

    def _alike(self, peer: Session) -> int:
        """Return the number of tokens before the first image that another prompt does not have.

        All images have the same tokens.
        """
        for own, other in zip_longest(self._shown, peer._shown, fillvalue=_ENDLESS):
            if own != other:
                return min(own[0], other[0])
        return sys.maxsize

    def _idle(self, kind: Kind) -> CacheBranch:
        for branch in self.branches:
            if branch.kind == kind and not branch.busy:
                return branch
        branch = CacheBranch(self._model.new_store(), kind)
        self.branches.append(branch)
        return branch

    def _rows(self, start: int, fresh: list[int]) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return the embeddings of tokens from index `start`, and extra decoder arguments."""
        inside = max(0, min(len(self.prompt) - start, len(fresh)))
        if not self._images or not inside:
            return self._model.tokens(fresh), {}
        rows = self._prompt_rows()[:, start : start + inside]
        if inside < len(fresh):
            rows = torch.cat([rows, self._model.tokens(fresh[inside:])], 1)
        return rows, self._deep(start, start + inside, len(fresh))

    def _deep(self, start: int, stop: int, rows: int) -> dict[str, Any]:
        seen = self._seen[start:stop]
        if not any(seen) or not self._look()[0].deep:
            return {}
        if not self._deep_rows:
            layers = zip(*(features.deep for features in self._look()), strict=True)
            self._deep_rows = [_joined(layer) for layer in layers]
        first = sum(self._seen[:start])
        marks = torch.zeros((1, rows), dtype=torch.bool, device=self._model.device)
        marks[0, : len(seen)] = torch.tensor(seen, device=self._model.device)
        deep = [layer[first : first + sum(seen)] for layer in self._deep_rows]
        return {"visual_pos_masks": marks, "deepstack_visual_embeds": deep}

    def _prompt_rows(self) -> torch.Tensor:
        if self._embeds is None:
            rows = self._model.tokens(self.prompt)
            seen = torch.tensor(self._seen, device=self._model.device)
            rows[0, seen] = _joined([one.rows for one in self._look()]).to(rows.dtype)
            self._embeds = rows
        return self._embeds

    def _look(self) -> list[Features]:
        """Return the features of the images, in order.

        They are computed one by one, so that those of an image do not depend on others beside it.
        """
        for image in self._images:
            if image.digest not in self.features:
                self.features[image.digest] = self._features_of(image)
        return [self.features[image.digest] for image in self._images]

    def _features_of(self, image: Image) -> Features:
        known = (peer.features.get(image.digest) for peer in self._peers())
        found = next((features for features in known if features is not None), None)
        return found or self._model.look(to_pillow(image))

    def _expand(self, ids: list[int]) -> list[int]:
        """Repeat the placeholder of each image, once per row of its features."""
        token, places = self._model.image_token, ids.count(self._model.image_token)
        if places != len(self._images):
            raise EngineError(
                f"the model's chat template wrote {places} placeholders for "
                f"{len(self._images)} images"
            )
        features, images, expanded = iter(self._look()), iter(self._images), list[int]()
        for i in ids:
            if i == token:
                self._shown.append((len(expanded), next(images).digest))
                expanded += [token] * len(next(features).rows)
            else:
                expanded.append(i)
        return expanded

    def _check_prompt(self) -> None:
        if len(self.prompt) >= self._model.context:
            raise ContextTooLong(
                f"the prompt needs {len(self.prompt)} tokens, but the model's context holds "
                f"{self._model.context}: shorten it or use fewer images"
            )


def used_bytes(sessions: Iterable[Session]) -> int:
    """Return the memory of sessions in bytes; image features that several have count once."""
    sessions = list(sessions)
    features = {id(one): one.nbytes for each in sessions for one in each.features.values()}
    return sum(session.own_bytes for session in sessions) + sum(features.values())


def _joined(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the rows of several images as one tensor; those of one are not copied."""
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))


def causal(start: int, rows: int) -> torch.Tensor:
    """Return a causal mask, (1, 1, rows, start + rows), for rows after `start` others."""
    mask = torch.ones((rows, start + rows), dtype=torch.bool).tril_(start)
    return mask[None, None]
