"""Single-row decoding as a captured CUDA graph.

Launching the kernels for a single row takes longer than running them. A graph launches all of them
at once. However, a graph reads and writes fixed addresses, and each sequence has its own KV cache.
The graph therefore works on static buffers. When it switches to another sequence, the keys and
values of that sequence are copied into the buffers; for consecutive rows of one sequence, nothing
is copied in. The keys and values of each new row are copied back to the KV cache of the sequence,
which stays authoritative.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from transformers.cache_utils import Cache

from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.kv_cache import KVCache, Shape

_FIRST = 1024  # initial rows of the buffers; doubled, and captured again, for longer sequences
_WARM_UP = 3  # runs before a capture, in which libraries allocate their workspaces


class StaticStep:
    """One row through a decoder module, in static buffers. Runs on any device.

    Args:
        module: Decoder module of a transformers model.
        shape: Shape of the model's KV caches.
        capacity: Longest sequence in rows, the new row included.
        like: Part of a single row, from which the buffers take shapes and dtypes.
    """

    def __init__(self, module: Any, shape: Shape, capacity: int, like: Part) -> None:
        self._module = module
        self.capacity = capacity
        # Zeros, because masked rows are multiplied too, and uninitialized memory may hold NaN.
        self._rows = shape.allocate(capacity).zero_()
        self._embeds = torch.zeros_like(like.embeds)
        self._positions = torch.zeros_like(like.positions)
        self._place = torch.zeros(1, dtype=torch.long, device=shape.device)
        self._line = torch.arange(capacity, device=shape.device)
        self._cache = _StaticCache(self._rows, shape.layers, self._place)
        self._holds: weakref.ref[KVCache] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._hidden = torch.empty(0)

    def __call__(self, part: Part) -> torch.Tensor:
        """Return the hidden row, (1, width); write keys and values to the part's store."""
        store: Any = part.store
        self._take_over(store)
        self._embeds.copy_(part.embeds)
        self._positions.copy_(part.positions)
        self._place.fill_(store.length)
        if self._graph is None:
            self._hidden = self._compute()
        else:
            self._graph.replay()
        store.rows.narrow(3, store.length, 1).copy_(self._rows.narrow(3, store.length, 1))
        store.copied = store.length + 1
        return self._hidden.clone()

    def capture(self) -> None:
        """Capture the step as a graph, which later calls replay. Requires a CUDA device."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                self._compute()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._hidden = self._compute()
        self._graph = graph

    def _take_over(self, store: KVCache) -> None:
        """Copy the rows that the buffers do not hold yet."""
        held = self._holds is not None and self._holds() is store
        start = store.copied if held else 0
        if start < store.length:
            fresh = slice(start, store.length)
            self._rows[:, :, :, fresh] = store.rows[:, :, :, fresh]
        if not held:
            self._holds = weakref.ref(store)

    def _compute(self) -> torch.Tensor:
        out = self._module(
            inputs_embeds=self._embeds,
            position_ids=self._positions,
            cache=self._cache,
            attention_mask=(self._line <= self._place)[None, None, None],
            use_cache=True,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden


class GraphStep:
    """A `StaticStep` captured on first use, and captured again for longer sequences.

    The buffers keep the size of the longest sequence so far. Attention reads all of them.

    Args:
        module: Decoder module of a transformers model.
        shape: Shape of the model's KV caches.
    """

    def __init__(self, module: Any, shape: Shape) -> None:
        self._module, self._shape = module, shape
        self._step: StaticStep | None = None

    def __call__(self, part: Part) -> torch.Tensor:
        """Return the hidden row, (1, width), of a part that is a single step.

        Raises:
            RuntimeError: If the module runs an operation that a graph cannot capture.
        """
        with torch.cuda.device(self._shape.device):
            if self._step is None or self._step.capacity <= part.store.length:
                self._step = None  # free its memory before allocating the next
                self._step = self._captured(part)
            return self._step(part)

    def _captured(self, part: Part) -> StaticStep:
        capacity = _FIRST
        while capacity <= part.store.length:
            capacity *= 2
        step = StaticStep(self._module, self._shape, capacity, part)
        step.capture()
        return step


class _StaticCache(Cache):  # type: ignore[misc]
    """Cache at fixed addresses: `update` writes one row at `place` and returns all rows."""

    is_compileable = False

    def __init__(self, rows: torch.Tensor, layers: int, place: torch.Tensor) -> None:
        super().__init__(layers=[])
        pairs = rows.unbind(0)
        self._keys, self._values = pairs[:layers], pairs[layers:]
        self._place = place
        self._capacity = int(rows.shape[3])

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys.index_copy_(2, self._place, key_states)
        values.index_copy_(2, self._place, value_states)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._capacity - 1

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return self._capacity - 1

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self._capacity, 0
