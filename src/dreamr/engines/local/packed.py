"""One pass of transformers' modules over the next rows of several sequences.

    hidden rows   a a a | b | c c        one line of rows through norms, projections, experts
    attention     a a a : store of a     each sequence over its own keys and values
                  b     : store of b
                  c c   : store of c

transformers looks attention up by name and hands it the keyword arguments of the pass. So the
parts of a pass reach a function of ours, which attends for each part by itself: without padding,
without a mask that spans several sequences, without copying keys together. A pass over a single
sequence goes to transformers' own attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from dreamr.engines.local.forward_pass import Interrupted, Part

ATTENTION = "dreamr_packed"


class PassCache(Cache):  # type: ignore[misc]
    """What transformers' modules write keys and values to: the stores of a pass's parts.

    Made for one pass. Kept longer, a store and its cache would hold each other in memory until a
    full garbage collection, which a worker hardly ever sees.
    """

    is_compileable = False

    def __init__(self, parts: Sequence[Part], interrupted: Callable[[], bool]) -> None:
        super().__init__(layers=[])
        self._stores: list[Any] = [part.store for part in parts]
        self._sizes = [part.rows for part in parts]
        self._interrupted = interrupted if sum(self._sizes) > 1 else None

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's rows; returns all keys and values of one sequence, the rows of several.

        Raises:
            Interrupted: the pass has become useless.
        """
        if self._interrupted is not None and self._interrupted():
            raise Interrupted
        if len(self._stores) == 1:
            found: tuple[torch.Tensor, torch.Tensor]
            found = self._stores[0].write(key_states, value_states, layer_idx)
            return found
        keys, values = key_states.split(self._sizes, 2), value_states.split(self._sizes, 2)
        for store, key, value in zip(self._stores, keys, values, strict=True):
            store.write(key, value, layer_idx)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return int(self._stores[0].length)

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return int(self._stores[0].length)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return int(self._stores[0].length) + query_length, 0


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part's rows in a pass. end: rows of its store that they see. mask: see `_lines_mask`."""

    store: Any
    rows: int
    end: int
    mask: torch.Tensor | None


class PackedPass:
    """The parts of a pass, for its attention."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._segments = [
            _Segment(part.store, part.rows, part.store.length + part.rows, _lines_mask(part))
            for part in parts
        ]
        self._sizes = [part.rows for part in parts]

    def attend(self, query: torch.Tensor, layer: int, scaling: float | None) -> torch.Tensor:
        """Each part over its own store: query (1, heads, rows, size) to (1, rows, heads, size)."""
        found = []
        for segment, part in zip(self._segments, query.split(self._sizes, 2), strict=True):
            keys = segment.store.keys[layer].narrow(2, 0, segment.end)
            values = segment.store.values[layer].narrow(2, 0, segment.end)
            found.append(_attend(part, keys, values, segment.mask, scaling))
        return torch.cat(found, 2).transpose(1, 2).contiguous()


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    packed: PackedPass | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention as transformers calls it; `packed` is there in passes over several sequences."""
    if packed is not None:
        return packed.attend(query, int(module.layer_idx), scaling), None  # type: ignore[arg-type]
    found: tuple[torch.Tensor, torch.Tensor | None]
    found = sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **options
    )
    return found


AttentionInterface.register(ATTENTION, packed_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def _attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    """One sequence: query (1, heads, rows, size), keys and values (1, kv heads, end, size)."""
    rows, kv_heads = query.shape[2], keys.shape[1]
    if mask is None and rows > 1:  # causal, on a store that was empty
        return functional.scaled_dot_product_attention(
            query, keys, values, is_causal=True, scale=scaling, enable_gqa=True
        )
    # The heads that share a key lie one under the other, as rows of one query.
    lines = query.reshape(1, kv_heads, -1, query.shape[3])
    if mask is not None:
        mask = mask.expand(-1, -1, lines.shape[2] // rows, -1, -1).flatten(2, 3)
    found = functional.scaled_dot_product_attention(
        lines, keys, values, attn_mask=mask, scale=scaling
    )
    return found.reshape(*query.shape[:3], -1)


def _lines_mask(part: Part) -> torch.Tensor | None:
    """A part's mask as what is added to scores, (1, 1, 1, rows, end); None means causal."""
    if part.mask is None:
        return None
    added = torch.zeros(part.mask.shape, dtype=part.embeds.dtype, device=part.embeds.device)
    return added.masked_fill_(part.mask.logical_not(), -math.inf).unsqueeze(2)
