"""The parts of a model that decide about memory and speed."""

from __future__ import annotations

from dataclasses import dataclass

BFLOAT16 = 2  # bytes
_SCALES = 0.25  # bits per weight for the scales of weights with few bits


@dataclass(frozen=True, slots=True)
class CachedLayers:
    """Layers of one kind, and the KV cache that a token takes in each of them.

    Attributes:
        count: Number of layers that store keys and values of their own.
        heads: Heads of keys and values.
        values: Stored values per token and head: keys and values together.
        window: Longest distance in tokens that the layers look back. None: the whole text.
    """

    count: int
    heads: int
    values: int
    window: int | None = None

    def bytes(self, tokens: int, shards: int = 1, beside: int = 0) -> int:
        """Return the bytes of a text of this length on one of the devices that share the model.

        With more devices than heads, heads are stored several times.

        Args:
            tokens: Length of the text.
            shards: Devices that share the model.
            beside: Tokens that the engine keeps beside those of a window.
        """
        heads = -(-self.heads // shards)
        kept = tokens if self.window is None else min(tokens, self.window + beside)
        return self.count * heads * self.values * kept * BFLOAT16


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The parts of a model that decide about memory and speed.

    Attributes:
        name: Hub id or folder.
        model_type: `model_type` of its configuration.
        parameters: Number of all parameters, those of the vision tower included.
        active: Parameters that the decoding of one token reads.
        whole: Parameters that stay at 16 bits if the others have fewer: embeddings, vision tower.
        bits: Bits per weight of the other parameters.
        layers: Number of layers of the language model.
        caches: Layers with a KV cache.
        state: Bytes of recurrent layers for each conversation; above 0 for hybrids.
        heads: Attention heads of the language model.
        hidden: Width of the language model.
        inner: Width of its widest feed-forward layer that a token passes.
        vocabulary: Number of tokens in the vocabulary.
        context: Longest context in tokens.
        vision_width: Width of the vision tower, 0 without one.
        pixels_per_token: Pixels of an image for each token of the prompt, 0 if their number does
            not depend on the pixels.
        image_tokens: Most tokens of an image if their number does not depend on the pixels; else 0.
        draft_layers: Layers for multi-token prediction that the checkpoint contains.
        source: Source of the values.
        assumed: What is assumed and not read from a configuration.
    """

    name: str
    model_type: str
    parameters: int
    active: int
    whole: int
    bits: int
    layers: int
    caches: tuple[CachedLayers, ...]
    state: int
    heads: int
    hidden: int
    inner: int
    vocabulary: int
    context: int
    vision_width: int
    pixels_per_token: int
    image_tokens: int
    draft_layers: int
    source: str
    assumed: tuple[str, ...] = ()

    @property
    def hybrid(self) -> bool:
        """Whether the model has recurrent layers beside attention."""
        return self.state > 0

    @property
    def sees(self) -> bool:
        """Whether the model takes images."""
        return self.vision_width > 0

    @property
    def experts(self) -> bool:
        """Whether a token reads only a part of the language model: a mixture of experts."""
        return self.active < 0.6 * (self.parameters - self.whole)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        bits = self.bits if self.bits > 8 else self.bits + _SCALES
        return int(self.whole * BFLOAT16 + (self.parameters - self.whole) * bits / 8)

    def tokens_of_image(self, pixels: int) -> int:
        """Return the most tokens of an image of this size in the prompt."""
        if not self.sees:
            return 0
        return self.image_tokens or -(-pixels // self.pixels_per_token)

    def conversation_bytes(self, tokens: int, shards: int = 1, beside: int = 0) -> int:
        """Return the bytes that a conversation of this length keeps on each device.

        Args:
            tokens: Length of the conversation.
            shards: Devices that share the model.
            beside: Tokens that the engine keeps beside those of a window.
        """
        return self.state // shards + sum(one.bytes(tokens, shards, beside) for one in self.caches)

    def divides(self, shards: int) -> bool:
        """Whether the model can be split among this number of devices."""
        return self.heads % shards == 0
