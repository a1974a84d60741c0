"""Forward passes of transformers' modules over the next rows of several sequences.

    hidden rows   a a a | b | c c        all rows together in norms, projections, experts
    attention     a a a : store of a     each sequence over its own keys and values
                  b     : store of b
                  c c   : store of c

transformers looks up attention by name and passes it the keyword arguments of the forward pass. In
this way, the parts of a pass reach `packed_attention`, which attends for each part separately:
without padding, without a mask across sequences and without copying keys together. A pass over a
single sequence uses transformers' own attention.
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
    """Cache that transformers' modules write to: the stores of the parts of one pass.

    Create one for each pass. A longer-lived cache and its store would form a reference cycle and
    stay in memory until a full garbage collection, which is rare in a worker.

    Args:
        parts: Parts of the pass.
        interrupted: Whether to abort the pass; called before each layer if there are several rows.
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
        """Write a layer's rows and return the keys and values that the module attends to.

        These are all rows of the sequence if the pass has one part. If it has several, they are the
        new rows, and `PackedPass` reads the stores instead.

        Raises:
            Interrupted: If no call waits for the pass.
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
        """Return the number of rows in the store of the first part."""
        return int(self._stores[0].length)

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Return the position of the first new row of the first part."""
        return int(self._stores[0].length)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Return the number of keys of the first part, and their offset."""
        return int(self._stores[0].length) + query_length, 0


@dataclass(frozen=True, slots=True)
class _Segment:
    """The rows of one part in a pass.

    Attributes:
        store: Store of the part.
        rows: Number of rows.
        end: Rows of the store that they attend to.
        mask: See `_lines_mask`.
    """

    store: Any
    rows: int
    end: int
    mask: torch.Tensor | None


class PackedPass:
    """The parts of a pass, as needed by its attention."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._segments = [
            _Segment(part.store, part.rows, part.store.length + part.rows, _lines_mask(part))
            for part in parts
        ]
        self._sizes = [part.rows for part in parts]

    def attend(self, query: torch.Tensor, layer: int, scaling: float | None) -> torch.Tensor:
        """Attend for each part over its own store.

        Args:
            query: (1, heads, rows, size).
            layer: Index of the layer.
            scaling: Factor of the attention scores; None means torch's default.

        Returns:
            (1, rows, heads, size).
        """
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
    """Compute attention with the signature that transformers expects.

    `packed` is set in passes over several sequences.
    """
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
    """Attend in one sequence.

    Args:
        query: (1, heads, rows, size).
        keys: (1, kv heads, end, size).
        values: (1, kv heads, end, size).
        mask: See `_lines_mask`.
        scaling: Factor of the attention scores; None means torch's default.

    Returns:
        (1, heads, rows, size).
    """
    rows, kv_heads = query.shape[2], keys.shape[1]
    if mask is None and rows > 1:  # causal, on an empty store
        return functional.scaled_dot_product_attention(
            query, keys, values, is_causal=True, scale=scaling, enable_gqa=True
        )
    # Stack the heads that share a key as rows of one query.
    lines = query.reshape(1, kv_heads, -1, query.shape[3])
    if mask is not None:
        mask = mask.expand(-1, -1, lines.shape[2] // rows, -1, -1).flatten(2, 3)
    found = functional.scaled_dot_product_attention(
        lines, keys, values, attn_mask=mask, scale=scaling
    )
    return found.reshape(*query.shape[:3], -1)


def _lines_mask(part: Part) -> torch.Tensor | None:
    """Convert a part's mask to an additive one, (1, 1, 1, rows, end); None means causal."""
    if part.mask is None:
        return None
    added = torch.zeros(part.mask.shape, dtype=part.embeds.dtype, device=part.embeds.device)
    return added.masked_fill_(part.mask.logical_not(), -math.inf).unsqueeze(2)
