"""Memory that a model needs on each device of a server such as vLLM or llama.cpp.

Weights and KV cache follow from the architecture. What a server needs beside them is an estimate:
the constants below are chosen a little above what vLLM reports at its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from dreamr.sizing.architecture import BFLOAT16, Architecture
from dreamr.sizing.devices import GB

USABLE = 0.92  # largest share of a GPU's memory for all servers on it
REASONING = 2048  # tokens of a usual conversation beside its image
_CONTEXT_BYTES = 6 * 10**8  # CUDA context and libraries of a process on a device
_GRAPH_BYTES = 20 * 10**6  # CUDA graphs, for each layer
_LARGE, _BATCH, _SMALL_BATCH = 70 * GB, 8192, 2048  # vLLM's tokens of a pass, by the GPU's memory
_SAMPLED = 256  # vLLM's most sequences, whose logits are sampled in float32
_MERGED = 4  # patches that become one token of the prompt
_VISION_VALUES = 20  # values of a patch that a layer of the tower holds at a time, in its widths
_MOST = 10**6  # conversations, where nothing else limits them
GIB = 2**30
_CPU_CACHE = 4 * GIB  # of a CPU, which vLLM takes at its start; more only for a longer context
_PADDING = 256  # llama.cpp's caches have a multiple of these tokens
_PASS = 512  # llama.cpp's tokens of a pass, which its caches of windows hold beside the window


@dataclass(frozen=True, slots=True)
class Demand:
    """Bytes that a model needs on each of its devices.

    Attributes:
        weights: Weights.
        reserve: Activations, CUDA graphs and the process.
        full: A conversation of the longest context.
        usual: A usual conversation: an image at the pixel budget, and its reasoning.
        unit: The KV cache is a multiple of this.
        enough: Largest KV cache, a multiple of `unit`, unless a conversation of the full context
            needs more. None: all memory that is left.
        slots: Slots of llama.cpp, each with a cache of the full context from the start. None: an
            engine whose conversations take parts of one cache as they grow.
    """

    weights: int
    reserve: int
    full: int
    usual: int
    unit: int = 1
    enough: int | None = None
    slots: int | None = None

    @property
    def fixed(self) -> int:
        """Bytes that do not depend on the number of conversations."""
        return self.weights + self.reserve

    @property
    def least(self) -> int:
        """Bytes without which the server does not start: one full context, or one for each slot."""
        return self.fixed + self._least_cache

    @property
    def _least_cache(self) -> int:
        if self.slots is not None:
            return self.slots * self.full
        return -(-self.full // self.unit) * self.unit

    def cache(self, memory: float) -> int:
        """Return the bytes of the KV cache with this memory, at least 0."""
        if self.slots is not None:
            return self._least_cache if memory >= self.least else 0
        whole = max(0, floor((memory - self.fixed) / self.unit)) * self.unit
        return whole if self.enough is None else min(whole, max(self.enough, self._least_cache))

    def kept(self, memory: float) -> tuple[int, int]:
        """Return how many conversations fit, of the full context and usual ones."""
        return self.conversations(memory, self.full), self.conversations(memory, self.usual)

    def conversations(self, memory: float, each: int) -> int:
        """Return how many conversations of this size fit into this memory, at least 0."""
        if memory < self.fixed:
            return 0
        if self.slots is not None:
            return self.slots if memory >= self.least else 0
        return min(self.cache(memory) // each, _MOST) if each else _MOST


def demand(
    model: Architecture,
    memory: int,
    context: int,
    pixels: int,
    shards: int = 1,
    *,
    cpu: bool = False,
    slots: int | None = None,
) -> Demand:
    """Return what a model needs on each of `shards` devices.

    Args:
        model: The model.
        memory: Memory of a device in bytes, on which the size of a batch depends.
        context: Longest context in tokens.
        pixels: Most pixels of an image.
        shards: Devices that share the model.
        cpu: Whether the device is a CPU, which has no CUDA graphs, and whose KV cache vLLM takes in
            whole GiB.
        slots: Slots of llama.cpp. None: another engine.
    """
    batch = _BATCH if memory >= _LARGE else _SMALL_BATCH
    image = model.tokens_of_image(pixels)
    layer = batch * (4 * model.hidden + 2 * model.inner // shards) * BFLOAT16
    logits = 2 * _SAMPLED * model.vocabulary * 4 // shards
    patches = max(batch, image) * _MERGED
    vision = patches * model.vision_width * _VISION_VALUES * BFLOAT16
    process = 0 if cpu else _CONTEXT_BYTES + _GRAPH_BYTES * model.layers
    usual = min(image + REASONING, context)
    held, beside = context, 0
    if slots is not None:
        held, beside = -(-context // _PADDING) * _PADDING, _PASS + _PADDING
    return Demand(
        weights=_weights(model, shards),
        reserve=layer + logits + vision + process,
        full=model.conversation_bytes(held, shards, beside),
        usual=model.conversation_bytes(usual, shards),
        unit=GIB if cpu else 1,
        enough=_CPU_CACHE if cpu else None,
        slots=slots,
    )


def _weights(model: Architecture, shards: int) -> int:
    """Return the bytes of the weights on each device."""
    return -(-model.weight_bytes // shards)
