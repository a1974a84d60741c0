"""Decoder that runs transformers' modules: any device, any dtype, any kind of cache.

The decoder module is called directly, with explicit positions, a prepared mask (none where causal
attention is enough) and our own store as its cache. If its cache is the keys and values of all
tokens and its attention can be looked up by name, parts of several sequences share a pass
(`packed`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from dreamr.engines.local.cuda_graph import GraphStep
from dreamr.engines.local.decoder import never
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.local.kv_cache import KVCache, Shape
from dreamr.engines.local.packed import ATTENTION, PackedPass, PassCache

Line: TypeAlias = Callable[[int, int], torch.Tensor]

_EXACT, _ROUNDED = 1e-3, 5e-2  # largest error relative to the rows: float32, shorter dtypes


class TorchDecoder:
    """`Decoder` of transformers' modules.

    Args:
        model: A transformers model with a decoder, an embedding and a head.
    """

    def __init__(self, model: Any) -> None:
        self._module = model.get_decoder()
        self._embed = model.get_input_embeddings()
        self._head = model.get_output_embeddings()
        self._device: torch.device = model.device
        self._uniform = False  # whether stores are `KVCache`
        self._packs = False
        self._interrupted = never
        self._graph: GraphStep | None = None

    @property
    def packs(self) -> bool:
        """Whether parts of several sequences can share a forward pass."""
        return self._packs

    @property
    def dtype(self) -> str:
        """Type of the module, such as 'bfloat16', in which all passes multiply."""
        return str(self._module.dtype).removeprefix("torch.")

    def watch(self, interrupted: Callable[[], bool]) -> None:
        """Register a function that can abort forward passes; see `Decoder.watch`."""
        self._interrupted = interrupted

    def use_kv_cache(self, shape: Shape, line: Line) -> None:
        """Expect stores of type `KVCache` from now on, and share passes if a trial succeeds.

        Args:
            shape: Shape of the stores.
            line: Returns the positions from one number to another, as the module takes them.
        """
        self._uniform = True
        before = self._module.config._attn_implementation
        self._module.set_attn_implementation(ATTENTION)
        self._packs = self._try_sharing(shape, line)
        if not self._packs:
            self._module.set_attn_implementation(before)
        if self._device.type == "cuda":
            self._graph = GraphStep(self._module, shape)

    def __call__(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """Run parts, in one pass if they can share it; see `Decoder`."""
        if len(parts) > 1 and self._packs:
            return self._together(parts)
        return [self._alone(part) for part in parts]

    def embed(self, ids: list[int]) -> torch.Tensor:
        """Return the embeddings of tokens, (1, tokens, width)."""
        rows: torch.Tensor = self._embed(torch.tensor([ids], device=self._device))
        return rows

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary) in float32, of hidden rows, (rows, width)."""
        logits: torch.Tensor = self._head(hidden)
        return logits.float()

    def _alone(self, part: Part) -> torch.Tensor:
        if self._graph is not None and part.is_step:
            try:
                return self._graph(part)
            except torch.OutOfMemoryError as error:  # other calls free memory: try again later
                warnings.warn(f"a step without a CUDA graph: {error}", RuntimeWarning, 2)
            except RuntimeError as error:  # not capturable: run the module directly
                self._graph = None
                warnings.warn(f"decoding without a CUDA graph: {error}", RuntimeWarning, 2)
        store: Any = part.store
        cache = PassCache([part], self._interrupted) if self._uniform else store.cache
        hidden = self._run(part.embeds, part.positions, cache, part.mask, **part.extra)
        return hidden[-1:] if part.last else hidden

    def _together(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        hidden = self._run(
            torch.cat([part.embeds for part in parts], 1),
            torch.cat([part.positions for part in parts], -1),
            PassCache(parts, self._interrupted),
            # Accepted as a finished mask, so the module makes none; `PackedPass` has its own.
            torch.ones((1, 1, 1, 1), dtype=torch.bool, device=self._device),
            packed=PackedPass(parts),
            **_joint_extra(parts),
        )
        found = hidden.split([part.rows for part in parts])
        return [rows[-1:] if part.last else rows for part, rows in zip(parts, found, strict=True)]

    def _run(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        cache: Any,
        mask: torch.Tensor | None,
        **options: Any,
    ) -> torch.Tensor:
        out = self._module(
            inputs_embeds=embeds,
            position_ids=positions,
            cache=cache,
            attention_mask=mask,
            use_cache=True,
            **options,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    def _try_sharing(self, shape: Shape, line: Line) -> bool:
        """Return whether sequences get the same rows in a shared pass as in separate ones."""
        rows = _noise(self._embed.weight, 6)
        expected = _two_sequences(lambda parts: list(map(self._alone, parts)), rows, shape, line)
        try:
            seen = _two_sequences(self._together, rows, shape, line)
        except (RuntimeError, TypeError, ValueError):  # arguments or mask are not accepted
            return False
        bound = _EXACT if rows.dtype == torch.float32 else _ROUNDED
        return bool((seen - expected).norm() <= bound * expected.norm())


def _two_sequences(
    run: Callable[[list[Part]], list[torch.Tensor]], rows: torch.Tensor, shape: Shape, line: Line
) -> torch.Tensor:
    """Return the hidden rows of two sequences: several rows of each, then one more of each."""
    stores = [KVCache(shape), KVCache(shape)]
    found: list[torch.Tensor] = []
    for bounds in (((0, 5), (0, 3)), ((5, 6), (3, 4))):
        parts = [
            Part(rows[:, start:stop], line(start, stop), store, None)
            for (start, stop), store in zip(bounds, stores, strict=True)
        ]
        found += run(parts)
        for part in parts:
            part.store.advance(part.rows)
    return torch.cat(found).float()


def _noise(like: torch.Tensor, rows: int) -> torch.Tensor:
    """Return rows like embeddings, the same on each call: (1, rows, width)."""
    drawn = torch.randn((1, rows, like.shape[1]), generator=torch.Generator().manual_seed(0))
    return (drawn.to(like.device) * like.float().std()).to(like.dtype)


def _joint_extra(parts: Sequence[Part]) -> dict[str, Any]:
    """Join the additional arguments of parts (DeepStack) into those of a shared pass."""
    carrying = [part.extra for part in parts if part.extra]
    if not carrying:
        return {}
    marks = [
        part.extra["visual_pos_masks"]
        if part.extra
        else torch.zeros((1, part.rows), dtype=torch.bool, device=part.embeds.device)
        for part in parts
    ]
    layers = zip(*(extra["deepstack_visual_embeds"] for extra in carrying), strict=True)
    return {
        "visual_pos_masks": torch.cat(marks, 1),
        "deepstack_visual_embeds": [torch.cat(rows) for rows in layers],
    }
