"""NumPy implementation of Qwen- and Llama-like decoders, on the memory of the modules' weights.

With a width of a few hundred, half of the time per decoded token on a CPU is spent on module calls
and small operations. Most of the rest is spent on reading weights in a memory order that suits many
rows better than one. Here, a layer needs four matrix products, one attention and about twenty small
operations per token. Matrices that widen are stored column by column (same numbers, same module,
other strides), which doubles the speed at which a row times such a matrix reads memory.

Only for float32 weights on a CPU, and only if a trial gives the same results as the modules. Parts
with additional arguments (DeepStack) go to the modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dreamr.engines.local.cpu.decode_step import DecodeStep, rotation_factors
from dreamr.engines.local.cpu.forward import Block, ForwardPass
from dreamr.engines.local.decoder import Decoder, never
from dreamr.engines.local.forward_pass import Part
from dreamr.engines.protocol import DType

_TYPES = {
    "Qwen3Model",
    "Qwen3VLTextModel",
    "Qwen2Model",
    "Qwen2_5_VLTextModel",
    "LlamaModel",
}
_FIXED_ROPE = {"default", "linear", "llama3", "yarn"}  # other types change with the length


def is_known(module: Any) -> bool:
    """Return whether `NumpyDecoder` supports a decoder module."""
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
    """`Decoder` in NumPy, with torch's attention for sequences of several rows.

    Args:
        model: A transformers model whose decoder `is_known`. The memory layout of its weights
            changes; its modules share the memory and still work.
        modules: Decoder for everything that this one does not support.
        dtype: Type in which passes of many rows multiply; "auto" for the faster one.
    """

    packs = True

    def __init__(self, model: Any, modules: Decoder, dtype: DType = "float32") -> None:
        module = model.get_decoder()
        self._modules = modules
        self._rotary = module.rotary_emb
        self._axes = 3 if "VL" in type(module).__name__ else 1
        arena = _Arena(sum(map(_matrix_size, module.layers)))
        self._layers = [_Layer(layer, arena) for layer in module.layers]
        self._norm = _Norm(module.norm)
        factors = rotation_factors(self._layers)
        self._row = DecodeStep(self._layers, self._norm, factors)
        self._rows = ForwardPass(self._layers, self._norm, factors, dtype)
        self._group = self._layers[0].heads // self._layers[0].kv_heads
        self._table = torch.empty(2, 0, self._layers[0].size).numpy()
        self._interrupted: Callable[[], bool] = never
        self._tables = _tables(model)

    @property
    def dtype(self) -> str:
        """Type in which passes of many rows multiply: 'float32' or 'bfloat16'."""
        return "bfloat16" if self._rows.bfloat16 else "float32"

    def use_float32(self) -> None:
        """Multiply in float32 in all passes."""
        self._rows.use_float32()

    def watch(self, interrupted: Callable[[], bool]) -> None:
        """Register a function that can abort forward passes; see `Decoder.watch`."""
        self._interrupted = interrupted
        self._modules.watch(interrupted)

    def __call__(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """Run parts, in one pass if they can share it; see `Decoder`.

        In a pass over several parts, results differ by rounding from those of separate passes,
        because sums are taken in another order (float32: relative difference of about 1e-6). A
        greedy choice changes only between two tokens whose logits are that close. In bfloat16, the
        difference between passes of few and of many rows is about 1e-2.
        """
        plain = [part for part in parts if not part.extra]
        if len(plain) < len(parts):
            shared = iter(self(plain) if plain else ())
            return [self._modules([part])[0] if part.extra else next(shared) for part in parts]
        if len(parts) == 1 and parts[0].is_step:
            return [self._one(parts[0])]
        return self._together(parts)

    def embed(self, ids: list[int]) -> torch.Tensor:
        """Return the embeddings of tokens, (1, tokens, width)."""
        if self._tables is not None and len(ids) == 1:
            return torch.from_numpy(self._tables[0][None, ids[0] : ids[0] + 1])
        return self._modules.embed(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, vocabulary), of hidden rows, (rows, width)."""
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
            # Repeated, because the heads that share a key are stacked as rows of one query.
            mask = _additive(mask).repeat(1, 1, self._group, 1)
        pairs = rows.reshape(2, -1, *rows.shape[1:])
        first = stop - 1 if part.last else start
        return Block(pairs, part.store.length, start, stop, mask, first)

    def _one(self, part: Part) -> torch.Tensor:
        """Run one row after all rows of its store."""
        store: Any = part.store
        positions = part.positions
        cos, sin = self._at(int(positions[(0,) * positions.ndim]))
        row = self._row(part.embeds[0, 0].numpy(), cos, sin, store.array, store.length)
        return torch.from_numpy(row[None].copy())

    def _angles(self, positions: torch.Tensor) -> Any:
        """Return the cosines and sines of positions, (2, rows, size)."""
        if self._axes == 1:
            self._at(int(positions.max()))
            return self._table[:, positions[0].numpy()]
        cos, sin = self._rotary(torch.empty(0), positions)
        return cos[0].numpy(), sin[0].numpy()

    def _at(self, position: int) -> Any:
        """Return the cosines and sines of one position, the same on all axes: (2, size)."""
        if position >= self._table.shape[1]:
            line = torch.arange(max(256, 2 * position)).expand(self._axes, 1, -1)
            cos, sin = self._rotary(torch.empty(0), line if self._axes == 3 else line[0])
            self._table = torch.stack([cos[0], sin[0]]).numpy()
        return self._table[:, position]


class _Norm:
    """Weights of a root-mean-square norm."""

    def __init__(self, module: Any) -> None:
        self.weight = module.weight
        self.eps = float(module.variance_epsilon)
        self.size = self.weight.shape[0]


class _Layer:
    """Matrices and constants of one decoder layer."""

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
        """Return the weights of the query and key norms, (heads + kv heads, size)."""
        if not self.normed:
            return torch.ones(self.heads + self.kv_heads, self.size)
        query = attention.q_norm.weight.expand(self.heads, -1)
        return torch.cat([query, attention.k_norm.weight.expand(self.kv_heads, -1)])


class _Arena:
    """One allocation for all matrices, in the order in which a token needs them.

    Reading one large allocation on huge pages (which the worker requests from torch) is faster than
    reading many small ones. The modules' weights become views of it.
    """

    def __init__(self, size: int) -> None:
        self._room = torch.empty(size)
        self._used = 0

    def fuse(self, linears: list[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Join linear modules of the same input into one matrix, (in, sum of outs), and one bias.

        The matrix is stored input by input, from which one row times a widening matrix is fastest.
        """
        outs = [linear.out_features for linear in linears]
        joint = self._take(linears[0].in_features, sum(outs))
        for linear, part in zip(linears, joint.split(outs, 1), strict=True):
            part.copy_(linear.weight.t())
            _set_weight(linear, part.t())
        biases = [linear.bias for linear in linears if linear.bias is not None]
        return joint, torch.cat(biases) if biases else None

    def keep(self, linear: Any) -> torch.Tensor:
        """Return the matrix of a module, (in, out), stored output by output as before."""
        rows = self._take(linear.out_features, linear.in_features)
        rows.copy_(linear.weight)
        _set_weight(linear, rows)
        return rows.t()

    def _take(self, rows: int, columns: int) -> torch.Tensor:
        start, self._used = self._used, self._used + rows * columns
        return self._room[start : self._used].view(rows, columns)


def _matrix_size(layer: Any) -> int:
    """Return the number of weights in the matrices of a decoder layer."""
    modules = (*layer.self_attn.children(), *layer.mlp.children())
    return sum(module.weight.numel() for module in modules if hasattr(module, "in_features"))


def _set_weight(linear: Any, weight: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)


def _tables(model: Any) -> tuple[Any, Any] | None:
    """Return embedding and head as arrays; None if the head has a bias.

    Calling a module costs more than using a row of a small model's table.
    """
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        return None
    embedding = model.get_input_embeddings().weight.detach()
    return embedding.numpy(), head.weight.detach().numpy()


def _additive(mask: torch.Tensor) -> torch.Tensor:
    """Convert a boolean mask to one that is added to attention scores."""
    added = torch.zeros(mask.shape)
    return added.masked_fill_(mask.logical_not(), -math.inf)
