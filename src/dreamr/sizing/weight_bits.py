"""Bits per weight of a model, by its configuration or else by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

FROM_NAME, UNKNOWN = "bits per weight, from the name", "bits per weight, of unknown weights"
_FIELDS = ("bits", "weight_bits", "w_bit", "num_bits", "nbits")
_COUNTS = (1, 2, 3, 4, 5, 6, 8, 16)
_METHODS = {"awq": 4, "gptq": 4, "bitsandbytes": 4, "mxfp4": 4, "nvfp4": 4, "fp8": 8, "eetq": 8}
_UNQUANTIZED = 16
# The first that is found counts, so what names the weights alone comes before what may name
# activations or the arithmetic too.
_MARKS = (
    (r"(?<![a-z0-9])w(\d)a", None),  # weights and activations: W4A16
    (r"(?<![a-z0-9])(?:i?q|tq)([1-8])(?![0-9])", None),  # llama.cpp: Q4_K_M, IQ3_M
    (r"int([1-8])_?weight", None),
    (r"(?<![a-z])u?int([1-8])(?![0-9])", None),
    (r"(?<![a-z0-9.])([1-8])-?bit", None),
    (r"(?:fp|float)8|f8_?e[45]m", 8),
    (r"(?:fp|nf|float)4(?![0-9])", 4),
    (r"awq|gptq", 4),
    (r"(?<![a-z0-9])(?:bf|fp?|float|bfloat)16(?![0-9])", 16),
    (r"(?<![a-z0-9])(?:fp?|float)32(?![0-9])", 32),
    (r"gguf", 4),
)


def weight_bits(name: str, config: Mapping[str, Any]) -> tuple[int, str | None]:
    """Return the bits per weight, and what is assumed; None if the configuration says it.

    Args:
        name: Hub id, folder or file of the model.
        config: Content of config.json.
    """
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    quantization = _quantization(config)
    if quantization is None:
        found = _marked(last)
        return (_UNQUANTIZED, None) if found is None else (found, FROM_NAME)
    if (found := _stated(quantization)) is not None:
        return found, None
    if (found := _marked(last)) is not None:
        return found, FROM_NAME
    return 8, UNKNOWN  # rather too large than too small


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a configuration says about quantization; that of its text model counts too."""
    for part in (config, config.get("text_config")):
        for key in ("quantization_config", "compression_config"):
            if isinstance(part, Mapping) and isinstance(value := part.get(key), Mapping) and value:
                return value
    return None


def _stated(quantization: Mapping[str, Any]) -> int | None:
    """Return the bits that a quantization states; the most of several parts."""
    if found := [bits for bits in _numbers(quantization) if bits in _COUNTS]:
        return max(found)
    for bits in (8, 4):
        if any(quantization.get(f"{mark}load_in_{bits}bit") is True for mark in ("", "_")):
            return bits
    marked = [_marked(text) for text in _algorithms(quantization)]
    if known := [bits for bits in marked if bits is not None]:
        return max(known)
    method = str(quantization.get("quant_method", "")).lower()
    return _METHODS.get(method, _marked(method))


def _numbers(quantization: Mapping[str, Any]) -> Iterator[int]:
    """Yield numbers of bits of weights; those of activations and caches are other keys."""
    parts: list[Any] = [quantization]
    for group in _values(quantization.get("config_groups")):
        parts += [group.get("weights")] if isinstance(group, Mapping) else []
    parts += _values(quantization.get("quant_config"))  # of HQQ
    for part in parts:
        for field in _FIELDS if isinstance(part, Mapping) else ():
            value = part.get(field)
            if isinstance(value, int) and not isinstance(value, bool):
                yield value


def _algorithms(quantization: Mapping[str, Any]) -> Iterator[str]:
    """Yield names of formats of weights."""
    yield str(quantization.get("quant_algo", ""))
    for layer in _values(quantization.get("quantized_layers")):
        yield str(layer.get("quant_algo", "")) if isinstance(layer, Mapping) else ""
    groups = quantization.get("config_groups")
    yield from map(str, groups if isinstance(groups, Mapping) else ())
    whole = quantization.get("global_quant_config")  # of Quark
    weight = whole.get("weight") if isinstance(whole, Mapping) else None
    yield str(weight.get("dtype", "")) if isinstance(weight, Mapping) else ""
    yield str(quantization.get("quant_type", ""))  # of torchao
    yield str(quantization.get("format", ""))


def _values(part: Any) -> list[Any]:
    return list(part.values()) if isinstance(part, Mapping) else []


def _marked(text: str) -> int | None:
    """Return the bits that a name of a model or of a format says, None if it says none."""
    for pattern, bits in _MARKS:
        if (match := re.search(pattern, text.lower())) is not None:
            return bits or int(match[1])
    return None
