"""The layers of Qwen- and Llama-like decoders in our own loop, over the modules' own weights.

At a width of a few hundred, half of the time of a decoded token on a CPU goes into module calls and
small operations, and most of the rest into reading weights in an order that suits many rows better
than one. Here a token of a layer is four matrix products, one attention and some twenty small
operations, and matrices that widen are kept column by column (same numbers, same module, other
strides: a row times such a matrix reads memory twice as fast).

Only for CPUs in float32, and only where a probe gives what the modules give. Parts that carry more
than rows (DeepStack) go to the modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dreamr.engines.local.cpu.decode_step import DecodeStep, turns
from dreamr.engines.local.cpu.forward import Block, ForwardPass
from dreamr.engines.local.decoder import Decoder, never
from dreamr.engines.local.forward_pass import Part

_TYPES = {
    "Qwen3Model",
    "Qwen3VLTextModel",
    "Qwen2Model",
    "Qwen2_5_VLTextModel",
    "LlamaModel",
}
_FIXED_ROPE = {"default", "linear", "llama3", "yarn"}  # the others change with the length


def is_known(module: Any) -> bool:
    """Whether this decoder module is one that `NumpyDecoder` can stand in for."""
    if type(module).__name__ not in _TYPES:
        return False
    layers = getattr(module.config, "layer_types", None) or ["full_attention"]
    return (
        module.rotary_emb.rope_type in _FIXED_ROPE
        and set(layers) == {"full_attention"}
        and module.config.hidden_act == "silu"
        and module.device.type == "cpu"
        and module.dtype == torch.float32
    )


class NumpyDecoder:
    """A `Decoder` in NumPy, with torch's attention where a sequence has several rows.

    model: a transformers model whose decoder `is_known`. Its weights get another layout in memory
    and stay the modules': both ways compute with them. modules: takes what this cannot do.
    """

    packs = True

    def __init__(self, model: Any, modules: Decoder) -> None:
        module = model.get_decoder()
        self._modules = modules
        self._rotary = module.rotary_emb
        self._axes = 3 if "VL" in type(module).__name__ else 1
        arena = _Arena(sum(map(_matrix_size, module.layers)))
        self._layers = [_Layer(layer, arena) for layer in module.layers]
        self._norm = _Norm(module.norm)
        factors = turns(self._layers)
        self._row = DecodeStep(self._layers, self._norm, factors)
        self._rows = ForwardPass(self._layers, self._norm, factors)
        self._group = self._layers[0].heads // self._layers[0].kv_heads
        self._table = torch.empty(2, 0, self._layers[0].size).numpy()
        self._interrupted: Callable[[], bool] = never
        self._tables = _tables(model)

    def watch(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted
        self._modules.watch(interrupted)

    def __call__(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """See `Decoder`.

        From a pass over several parts the numbers differ in their last places from those of each
        alone: sums are taken in another order (float32: some 1e-6 of their size). A greedy choice
        changes only between two tokens whose logits are as close as that.
        """
        plain = [part for part in parts if not part.extra]
        if len(plain) < len(parts):
            shared = iter(self(plain) if plain else ())
            return [self._modules([part])[0] if part.extra else next(shared) for part in parts]
        if len(parts) == 1 and parts[0].is_step:
            return [self._one(parts[0])]
        return self._together(parts)

    def embed(self, ids: list[int]) -> torch.Tensor:
        if self._tables is not None and len(ids) == 1:
            return torch.from_numpy(self._tables[0][None, ids[0] : ids[0] + 1])
        return self._modules.embed(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._tables is not None and len(hidden) == 1:
            return torch.from_numpy(self._tables[1] @ hidden[0].numpy())[None]
        return self._modules.logits(hidden)

    def _together(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        blocks, start = [], 0
        for part in parts:
            blocks.append(self._block(part, start))
            start += part.rows
        cos, sin = self._angles(torch.cat([part.positions for part in parts], -1))
        x = torch.cat([part.embeds[0] for part in parts])
        hidden = torch.from_numpy(self._rows(x.numpy(), cos, sin, blocks, self._interrupted))
        return list(hidden.split([block.stop - block.first for block in blocks]))

    def _block(self, part: Any, start: int) -> Block:
        stop, mask, rows = start + part.rows, part.mask, part.store.array
        if mask is not None:
            # The heads that share a key lie one under the other, as rows of one query.
            mask = _additive(mask).repeat(1, 1, self._group, 1)
        pairs = rows.reshape(2, -1, *rows.shape[1:])
        first = stop - 1 if part.last else start
        return Block(pairs, part.store.length, start, stop, mask, first)

    def _one(self, part: Part) -> torch.Tensor:
        """One token after everything that is in the store."""
        store: Any = part.store
        positions = part.positions
        cos, sin = self._at(int(positions[(0,) * positions.ndim]))
        row = self._row(part.embeds[0, 0].numpy(), cos, sin, store.array, store.length)
        return torch.from_numpy(row[None].copy())

    def _angles(self, positions: torch.Tensor) -> Any:
        """Cosines and sines of positions, (2, rows, size)."""
        if self._axes == 1:
            self._at(int(positions.max()))
            return self._table[:, positions[0].numpy()]
        cos, sin = self._rotary(torch.empty(0), positions)
        return cos[0].numpy(), sin[0].numpy()

    def _at(self, position: int) -> Any:
        """Cosines and sines of one position, (2, size); the same on all axes."""
        if position >= self._table.shape[1]:
            line = torch.arange(max(256, 2 * position)).expand(self._axes, 1, -1)
            cos, sin = self._rotary(torch.empty(0), line if self._axes == 3 else line[0])
            self._table = torch.stack([cos[0], sin[0]]).numpy()
        return self._table[:, position]


class _Norm:
    """A root-mean-square norm's weights."""

    def __init__(self, module: Any) -> None:
        self.weight = module.weight
        self.eps = float(module.variance_epsilon)
        self.size = self.weight.shape[0]


class _Layer:
    """One decoder layer's matrices and numbers."""

    def __init__(self, module: Any, arena: _Arena) -> None:
        attention, mlp = module.self_attn, module.mlp
        self.size = int(attention.head_dim)
        self.heads = attention.q_proj.out_features // self.size
        self.kv_heads = attention.k_proj.out_features // self.size
        self.scaling = float(attention.scaling)
        self.before, self.after = (
            _Norm(module.input_layernorm),
            _Norm(module.post_attention_layernorm),
        )
        self.qkv, self.bias = arena.fuse([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = arena.keep(attention.o_proj)
        self.gates, _ = arena.fuse([mlp.gate_proj, mlp.up_proj])
        self.down = arena.keep(mlp.down_proj)
        self.normed = hasattr(attention, "q_norm")
        self.head_scale = self._head_scale(attention)
        self.head_eps = float(attention.q_norm.variance_epsilon) if self.normed else None

    def _head_scale(self, attention: Any) -> torch.Tensor:
        """The weights of the norms of queries and keys: (heads + kv heads, size)."""
        if not self.normed:
            return torch.ones(self.heads + self.kv_heads, self.size)
        query = attention.q_norm.weight.expand(self.heads, -1)
        return torch.cat([query, attention.k_norm.weight.expand(self.kv_heads, -1)])


class _Arena:
    """One piece of memory for all matrices, in the order in which a token needs them.

    One large allocation can sit on huge pages (the worker asks torch for them), and then streams
    from memory faster than many small ones. The modules' weights become views of it.
    """

    def __init__(self, size: int) -> None:
        self._room = torch.empty(size)
        self._used = 0

    def fuse(self, linears: list[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One matrix (in, all outs) for linear modules of the same input, and their bias.

        Stored input by input: that is how one row reads a widening matrix fastest.
        """
        outs = [linear.out_features for linear in linears]
        joint = self._take(linears[0].in_features, sum(outs))
        for linear, part in zip(linears, joint.split(outs, 1), strict=True):
            part.copy_(linear.weight.t())
            _set_weight(linear, part.t())
        biases = [linear.bias for linear in linears if linear.bias is not None]
        return joint, torch.cat(biases) if biases else None

    def keep(self, linear: Any) -> torch.Tensor:
        """The matrix (in, out) of a module, stored output by output as it was."""
        rows = self._take(linear.out_features, linear.in_features)
        rows.copy_(linear.weight)
        _set_weight(linear, rows)
        return rows.t()

    def _take(self, rows: int, columns: int) -> torch.Tensor:
        start, self._used = self._used, self._used + rows * columns
        return self._room[start : self._used].view(rows, columns)


def _matrix_size(layer: Any) -> int:
    """Numbers in the matrices of a decoder layer."""
    modules = (*layer.self_attn.children(), *layer.mlp.children())
    return sum(module.weight.numel() for module in modules if hasattr(module, "in_features"))


def _set_weight(linear: Any, weight: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)


def _tables(model: Any) -> tuple[Any, Any] | None:
    """Embedding and head in NumPy, where the head is no more than a matrix.

    A call of a module costs more than a row of a small model's table.
    """
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        return None
    embedding = model.get_input_embeddings().weight.detach()
    return embedding.numpy(), head.weight.detach().numpy()


def _additive(mask: torch.Tensor) -> torch.Tensor:
    """A mask of True and False as what is added to attention scores."""
    added = torch.zeros(mask.shape)
    return added.masked_fill_(mask.logical_not(), -math.inf)
