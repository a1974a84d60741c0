"""The layers of Qwen- and Llama-like decoders in our own loop, over the modules' own weights.

At a width of a few hundred, half of the time of a decoded token on a CPU goes into module calls and
small operations, and most of the rest into reading weights in an order that suits many rows better
than one. Here a token of a layer is four matrix products, one attention and some twenty small
operations, and matrices that widen are kept column by column (same numbers, same module, other
strides: a row times such a matrix reads memory twice as fast).

Only for CPUs in float32, and only where a probe gives what the modules give; everything else, and
passes that carry more than rows (DeepStack), goes to the modules.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from dreamr.engines.local._keys import RowStore, Store
from dreamr.engines.local._row import RowPass

_TYPES = {
    "Qwen3Model",
    "Qwen3VLTextModel",
    "Qwen2Model",
    "Qwen2_5_VLTextModel",
    "LlamaModel",
}
_FIXED_ROPE = {"default", "linear", "llama3", "yarn"}  # the others change with the length


def is_known(module: Any) -> bool:
    """Whether this decoder module is one that `LeanDecoder` can stand in for."""
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


class LeanDecoder:
    """Stands in for a decoder module; `modules` takes what it cannot do.

    The module's weights are laid out anew and stay the module's: both ways compute with them.
    """

    def __init__(self, module: Any, modules: Any) -> None:
        self._modules = modules
        self._rotary = module.rotary_emb
        self._axes = 3 if "VL" in type(module).__name__ else 1
        arena = _Arena(sum(map(_matrix_size, module.layers)))
        self._layers = [_Layer(layer, arena) for layer in module.layers]
        self._norm = _Norm(module.norm)
        first = self._layers[0]
        self._turns = _Turns(self._layers)
        self._groups = first.heads // first.kv_heads
        self._row = RowPass(self._layers, self._norm, *self._turns.factors())
        self._table = torch.empty(2, 0, first.size).numpy()

    def __call__(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        store: Store,
        mask: torch.Tensor | None,
        extra: dict[str, Any],
        last: bool = False,
    ) -> torch.Tensor:
        if extra or not isinstance(store, RowStore):
            hidden: torch.Tensor = self._modules(embeds, positions, store, mask, extra, last)
            return hidden
        if embeds.shape[1] == 1 and mask is None:
            return self._one(embeds[0], positions, store)
        return self._many(embeds[0], positions, store, mask, last)

    def _one(self, x: torch.Tensor, positions: torch.Tensor, store: RowStore) -> torch.Tensor:
        """One token behind everything that is in the store."""
        cos, sin = self._at(int(positions[(0,) * positions.ndim]))
        row = self._row(x[0].numpy(), cos, sin, store.array, store.length)
        return torch.from_numpy(row[None].copy())

    def _many(
        self,
        x: torch.Tensor,
        positions: torch.Tensor,
        store: RowStore,
        mask: torch.Tensor | None,
        last: bool,
    ) -> torch.Tensor:
        """Several tokens; a mask of None means causal, on an empty store."""
        cos, sin = self._rotary(x[None], positions)
        turns = self._turns.of(cos[0][:, None], sin[0][:, None])
        if mask is not None:
            # The heads that share a key lie one under the other, as rows of one query.
            mask = _additive(mask).repeat(1, 1, self._groups, 1)
        top = len(self._layers) - 1
        for number, (layer, (wide, cross)) in enumerate(zip(self._layers, turns, strict=True)):
            x = layer.many(x, wide, cross, store, number, mask, last and number == top)
        return self._norm.many(x)

    def _at(self, position: int) -> Any:
        """Cosines and sines of one position, (2, size); the same on all axes."""
        if position >= self._table.shape[1]:
            line = torch.arange(max(256, 2 * position)).expand(self._axes, 1, -1)
            cos, sin = self._rotary(torch.empty(0), line if self._axes == 3 else line[0])
            self._table = torch.stack([cos[0], sin[0]]).numpy()
        return self._table[:, position]


class _Turns:
    """Rotations with the layers' query and key norms' weights already in them.

    With halves x1, x2 a rotation is x * cos + (x2, x1) * (-sin, sin); scaling x by w before it is
    the same as scaling cos by w and the crossed sin by w with its halves swapped.
    """

    def __init__(self, layers: list[_Layer]) -> None:
        scale = torch.stack([layer.head_scale for layer in layers])
        half = scale.shape[-1] // 2
        sign = torch.cat([-torch.ones(half), torch.ones(half)])
        self._straight = scale[:, None]
        self._crossed = scale.roll(half, -1)[:, None] * sign

    def factors(self) -> tuple[Any, Any]:
        """What cosines and sines are multiplied with: (layers, heads + kv heads, size) each."""
        return self._straight[:, 0].numpy(), self._crossed[:, 0].numpy()

    def of(self, cos: torch.Tensor, sin: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each layer: what to multiply straight, and crossed; (rows, heads, size) each."""
        straight = (self._straight * cos).unbind(0)
        crossed = (self._crossed * sin).unbind(0)
        return list(zip(straight, crossed, strict=True))


class _Norm:
    """Root-mean-square norm."""

    def __init__(self, module: Any) -> None:
        self.weight = module.weight
        self.eps = float(module.variance_epsilon)
        self.size = self.weight.shape[0]
        self._added = torch.tensor(self.eps)

    def many(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (rows, width). `rms_norm` takes three times as long for a few dozen of them."""
        norm = torch.linalg.vector_norm(x, 2, -1, True)
        scale = torch.addcmul(self._added, norm, norm, value=1.0 / self.size).rsqrt_()
        return torch.mul(x, scale).mul_(self.weight)


class _Layer:
    """One decoder layer. x is (rows, width) throughout."""

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
        self._eps = torch.tensor(self.head_eps or 0.0)
        self._turned = self.heads + self.kv_heads
        self._split = self._turned * self.size
        self._inner = mlp.gate_proj.out_features

    def _head_scale(self, attention: Any) -> torch.Tensor:
        """The weights of the norms of queries and keys: (heads + kv heads, size)."""
        if not self.normed:
            return torch.ones(self.heads + self.kv_heads, self.size)
        query = attention.q_norm.weight.expand(self.heads, -1)
        return torch.cat([query, attention.k_norm.weight.expand(self.kv_heads, -1)])

    def many(
        self,
        x: torch.Tensor,
        straight: torch.Tensor,
        crossed: torch.Tensor,
        store: RowStore,
        number: int,
        mask: torch.Tensor | None,
        last: bool,
    ) -> torch.Tensor:
        """Several rows, written to the store as layer `number`; `last`: only the last goes on."""
        rows = x.shape[0]
        qkv = self._project(self.before.many(x))
        turned = self._turn(
            qkv[:, : self._split].view(rows, self._turned, self.size), straight, crossed
        )
        fresh = qkv[:, self._split :].view(rows, self.kv_heads, self.size)
        keys, values = store.write(
            turned[:, self.heads :].transpose(0, 1)[None], fresh.transpose(0, 1)[None], number
        )
        query = turned[:, : self.heads].transpose(0, 1)[None]
        if last:
            x, query = x[-1:], query[:, :, -1:]
            mask = None if mask is None else mask[:, :, rows - 1 :: rows]
        seen = self._attend(query, keys, values, mask)
        x = torch.addmm(x, seen.transpose(0, 1).reshape(len(x), -1), self.out)
        return torch.addmm(x, self._gate(self.after.many(x)), self.down)

    def _attend(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: Any
    ) -> torch.Tensor:
        """(heads, rows, size) of queries (1, heads, rows, size)."""
        shape = query.shape[1:]
        if mask is None:
            causal = query.shape[2] > 1  # a single row is the last, and sees all
            seen = functional.scaled_dot_product_attention(
                query, keys, values, is_causal=causal, scale=self.scaling, enable_gqa=True
            )
        else:
            packed = query.reshape(1, self.kv_heads, -1, self.size)
            seen = functional.scaled_dot_product_attention(
                packed, keys, values, attn_mask=mask, scale=self.scaling
            )
        return seen.reshape(shape)

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        if self.bias is None:
            return torch.mm(x, self.qkv)
        return torch.addmm(self.bias, x, self.qkv)

    def _turn(
        self, heads: torch.Tensor, straight: torch.Tensor, crossed: torch.Tensor
    ) -> torch.Tensor:
        """Norm and rotate queries and keys: (rows, heads + kv heads, size)."""
        if self.normed:
            norm = torch.linalg.vector_norm(heads, 2, -1, True)
            heads = heads * torch.addcmul(self._eps, norm, norm, value=1 / self.size).rsqrt_()
        return torch.addcmul(heads * straight, heads.roll(self.size // 2, -1), crossed)

    def _gate(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.mm(x, self.gates)
        return functional.silu(both[:, : self._inner]).mul_(both[:, self._inner :])


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


def _additive(mask: torch.Tensor) -> torch.Tensor:
    """A mask of True and False as what is added to attention scores."""
    added = torch.zeros(mask.shape)
    return added.masked_fill_(mask.logical_not(), -math.inf)
