"""Reads the configuration of a model (config.json) into an `Architecture`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from dreamr.errors import DreamrError
from dreamr.sizing.architecture import Architecture, CachedLayers
from dreamr.sizing.weight_bits import weight_bits

Config: TypeAlias = Mapping[str, Any]

_LINEAR, _SLIDING = ("linear_attention", "mamba", "recurrent"), ("sliding_attention",)
_FLOAT32 = 4  # bytes of a value of a recurrent state
_CONTEXT = 8192  # tokens, where the configuration does not say
_PATCH, _MERGED = 14, 2  # pixels of a patch, patches of a token in each direction, if not said
# Kinds that cut images into tiles: pixels of a side, if not said, and the most tiles.
_TILED = {
    "internvl": (448, 12), "internvl_chat": (448, 12), "idefics3": (364, 16), "smolvlm": (512, 16),
}  # fmt: skip
# Numbers outside these bounds are mistakes, and would take memory and time here.
_POSITIVE = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
_MOST, _MOST_OF = 10**9, {"num_hidden_layers": 10**4}


class BadConfiguration(DreamrError):
    """The configuration of a model does not say how large the model is."""


def read_architecture(
    name: str,
    config: Config,
    *,
    source: str,
    parameters: int | None = None,
    assumed: tuple[str, ...] = (),
) -> Architecture:
    """Return the parts of a configuration that decide about memory and speed.

    Args:
        name: Hub id or folder of the model, for messages.
        config: Content of config.json.
        source: Source of the values.
        parameters: Number of all parameters, if it is known better than by computation.
        assumed: Values that are assumed.

    Raises:
        BadConfiguration: If a size is missing or is not a number.
    """
    text = _Values(name, _part(config, "text_config", "llm_config", "language_config") or config)
    vision = _part(config, "vision_config", "vision_tower_config")
    bits, unsure = weight_bits(name, config)
    language = _language_parameters(text)
    tower = _vision_parameters(name, vision, text.number("hidden_size")) if vision else 0
    computed = language.all + tower
    found = parameters or computed
    pixels, image_tokens, guessed = _image(config, vision)
    guesses = (*assumed, *((unsure,) if unsure else ()), *guessed)
    return Architecture(
        name=name,
        model_type=str(config.get("model_type", "")),
        parameters=found,
        active=min(language.active, found),
        whole=min(language.embeddings + tower, found),
        bits=bits,
        layers=text.number("num_hidden_layers"),
        caches=_caches(text),
        state=_state(text),
        heads=text.number("num_attention_heads"),
        hidden=text.number("hidden_size"),
        inner=_inner(text),
        vocabulary=text.number("vocab_size"),
        context=text.number("max_position_embeddings", default=_CONTEXT),
        vision_width=_Values(name, vision).number("hidden_size") if vision else 0,
        pixels_per_token=pixels,
        image_tokens=image_tokens,
        draft_layers=text.number("mtp_num_hidden_layers", "num_nextn_predict_layers", default=0),
        source=source,
        assumed=guesses,
    )


class _Values:
    """Numbers of a configuration."""

    def __init__(self, name: str, config: Config) -> None:
        self._name, self.config = name, config

    def number(self, *names: str, default: int | None = None) -> int:
        """Return the first of these fields that has a value."""
        for name in names:
            value = self.config.get(name)
            if value is None:
                continue
            least, most = int(name in _POSITIVE), _MOST_OF.get(name, _MOST)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise BadConfiguration(
                    f"{self._name}: {name} in config.json must be a whole number from {least} to "
                    f"{most:,}"
                )
            return value
        if default is None:
            raise BadConfiguration(
                f"{self._name}: config.json has no {names[0]}, so its memory cannot be computed; "
                "name another model, or write the pair file by hand"
            )
        return default

    @property
    def head(self) -> int:
        """Width of an attention head."""
        heads = max(self.number("num_attention_heads"), 1)
        return self.number("head_dim", default=self.number("hidden_size") // heads)

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.number("num_key_value_heads", default=self.number("num_attention_heads"))

    def kinds(self) -> list[str]:
        """Return the kind of each layer."""
        layers = self.number("num_hidden_layers")
        given = self.config.get("layer_types")
        if isinstance(given, list) and len(given) == layers:
            return [str(kind) for kind in given]
        if "linear_num_value_heads" in self.config:
            every = self.number("full_attention_interval", default=4) or 1
            return ["full_attention" if (i + 1) % every == 0 else _LINEAR[0] for i in range(layers)]
        every = self.number("sliding_window_pattern", "_sliding_window_pattern", default=0)
        if every and self.config.get("sliding_window"):
            return [
                "full_attention" if (i + 1) % every == 0 else _SLIDING[0] for i in range(layers)
            ]
        return ["full_attention"] * layers


class _Counted:
    """Numbers of parameters of a language model."""

    def __init__(self, every: int, active: int, embeddings: int) -> None:
        self.all, self.active, self.embeddings = every, active, embeddings


def _part(config: Config, *names: str) -> Config | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, Mapping) and value:
            return value
    return None


def _language_parameters(text: _Values) -> _Counted:
    hidden, layers = text.number("hidden_size"), text.number("num_hidden_layers")
    kinds = text.kinds()
    attention = sum(_attention(text, kind) for kind in kinds)
    dense, expert, shared, experts, chosen = _feed_forward(text)
    sparse = _sparse_layers(text) if experts else 0
    every = active = attention + (layers - sparse) * dense
    if text.config.get("enable_moe_block"):  # a dense block beside the experts
        every = active = every + sparse * dense
    every += sparse * (experts * (expert + hidden) + shared)
    active += sparse * (chosen * expert + experts * hidden + shared)
    table = text.number("vocab_size") * hidden
    tied = text.config.get("tie_word_embeddings", False)
    embeddings = table * (1 if tied else 2)
    per_layer = text.number("hidden_size_per_layer_input", default=0)
    if per_layer:
        embeddings += text.number("vocab_size_per_layer_input", "vocab_size") * per_layer * layers
        every += 3 * layers * hidden * per_layer
        active += 3 * layers * hidden * per_layer
    return _Counted(every + embeddings, active + table, embeddings)


def _attention(text: _Values, kind: str) -> int:
    """Return the parameters of the attention of a layer."""
    hidden, heads, head, kv = (
        text.number("hidden_size"),
        text.number("num_attention_heads"),
        text.head,
        text.kv_heads,
    )
    if kind in _LINEAR and "linear_num_value_heads" in text.config:
        keys, values = _linear_widths(text)
        return hidden * (2 * keys + 2 * values + 2 * text.number("linear_num_value_heads")) + (
            values * hidden
        )
    if kind == "full_attention" and text.config.get("global_head_dim"):
        head = text.number("global_head_dim")
        kv = text.number("num_global_key_value_heads", default=kv)
        copies = 1 if text.config.get("attention_k_eq_v") else 2
    else:
        copies = 2
    queries = 2 if text.config.get("attn_output_gate") else 1
    return hidden * head * (heads * (queries + 1) + copies * kv)


def _linear_widths(text: _Values) -> tuple[int, int]:
    keys = text.number("linear_num_key_heads") * text.number("linear_key_head_dim", default=128)
    values = text.number("linear_num_value_heads") * text.number(
        "linear_value_head_dim", default=128
    )
    return keys, values


def _feed_forward(text: _Values) -> tuple[int, int, int, int, int]:
    """Return the parameters of a dense block, an expert and shared experts, and expert counts."""
    hidden = text.number("hidden_size")
    experts = text.number("num_experts", "n_routed_experts", "num_local_experts", default=0)
    inner = text.number("intermediate_size", default=0 if experts else None)
    dense = 3 * hidden * inner
    if not experts:
        return dense, 0, 0, 0, 0
    width = text.number("moe_intermediate_size", "intermediate_size")
    shared = text.number(
        "shared_expert_intermediate_size",
        default=width * text.number("n_shared_experts", default=0),
    )
    chosen = text.number("num_experts_per_tok", "top_k_experts", default=8)
    return dense, 3 * hidden * width, 3 * hidden * shared, experts, chosen


def _sparse_layers(text: _Values) -> int:
    layers = text.number("num_hidden_layers")
    if isinstance(only := text.config.get("mlp_only_layers"), list):
        layers -= len(only)
    return max(0, layers - text.number("first_k_dense_replace", default=0))


def _inner(text: _Values) -> int:
    """Return the width of the widest feed-forward layer that a token passes."""
    dense = text.number("intermediate_size", default=0)
    experts = text.number("moe_intermediate_size", default=0)
    chosen = text.number("num_experts_per_tok", "top_k_experts", default=0)
    return max(dense, experts * chosen, 1)


def _caches(text: _Values) -> tuple[CachedLayers, ...]:
    kinds = text.kinds()
    shared = text.number("num_kv_shared_layers", default=0)
    own = kinds[: len(kinds) - shared] if shared < len(kinds) else kinds
    sliding = sum(kind in _SLIDING for kind in own)
    full = sum(kind not in _SLIDING and kind not in _LINEAR for kind in own)
    found = []
    if rank := text.number("kv_lora_rank", default=0):  # latent attention: one row for all heads
        width = rank + text.number("qk_rope_head_dim", default=64)
        return (CachedLayers(len(own), 1, width),)
    if full:
        head = text.number("global_head_dim", default=text.head) if sliding else text.head
        heads = text.number("num_global_key_value_heads", default=text.kv_heads)
        found.append(CachedLayers(full, heads, 2 * head))
    if sliding:
        window = text.number("sliding_window", default=4096)
        found.append(CachedLayers(sliding, text.kv_heads, 2 * text.head, window))
    return tuple(found)


def _state(text: _Values) -> int:
    """Return the bytes that the recurrent layers keep for each conversation."""
    layers = sum(kind in _LINEAR for kind in text.kinds())
    if not layers or "linear_num_value_heads" not in text.config:
        return layers * text.number("hidden_size") * 128 * _FLOAT32
    keys, values = _linear_widths(text)
    matrix = values * text.number("linear_key_head_dim", default=128) * _FLOAT32
    convolution = (2 * keys + values) * text.number("linear_conv_kernel_dim", default=4) * 2
    return layers * (matrix + convolution)


def _vision_parameters(name: str, vision: Config, hidden: int) -> int:
    tower = _Values(name, vision)
    width = tower.number("hidden_size")
    layers = tower.number("depth", "num_hidden_layers")
    inner = tower.number("intermediate_size", default=4 * width)
    merged = width * tower.number("spatial_merge_size", default=_MERGED) ** 2
    out = tower.number("out_hidden_size", default=hidden)
    extra = vision.get("deepstack_visual_indexes")
    mergers = 1 + (len(extra) if isinstance(extra, list) else 0)
    return layers * (4 * width * width + 2 * width * inner) + mergers * merged * (merged + out)


def _image(config: Config, vision: Config | None) -> tuple[int, int, tuple[str, ...]]:
    """Return pixels per token, or the tokens of an image, and what is assumed."""
    if vision is None:
        return 0, 0, ()
    fixed = config.get("mm_tokens_per_image") or config.get("vision_soft_tokens_per_image")
    if (count := _count(fixed)) is not None:
        return 0, count, ()
    patch = vision.get("patch_size")
    side = _count(_first(patch))
    if (kind := str(config.get("model_type"))) in _TILED:
        return 0, _most_in_tiles(config, vision, side or _PATCH, *_TILED[kind]), ()
    merge = _count(vision.get("spatial_merge_size", config.get("spatial_merge_size")))
    if side is not None and merge is not None and not isinstance(patch, list):
        return (side * merge) ** 2, 0, ()
    if (factor := _count(config.get("scale_factor"))) is not None:  # pixel shuffle
        return ((side or _PATCH) * factor) ** 2, 0, ()
    return ((side or _PATCH) * (merge or _MERGED)) ** 2, 0, ("tokens of an image",)


def _most_in_tiles(config: Config, vision: Config, patch: int, tile: int, tiles: int) -> int:
    """Return the most tokens of an image that is cut into tiles.

    The number of tiles depends on the proportions, because images are fitted to the tiles: 4 to 3
    takes 12 even for a small image. Of several tiles, the whole image is added as another one.
    """
    tile = _count(_first(vision.get("image_size"))) or tile
    tiles = _count(config.get("max_dynamic_patch")) or tiles
    merged = _count(config.get("scale_factor")) or _MERGED
    return (tiles + (tiles > 1)) * max(1, tile // (patch * merged)) ** 2


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _count(value: Any) -> int | None:
    """Return a value if it is a number of things, None if it is anything else."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST
    return value if is_count else None
