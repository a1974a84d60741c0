"""Families of small models by their names."""

from __future__ import annotations

from collections.abc import Callable

from tiny_families.gemma import gemma3, gemma4, gemma4_audio
from tiny_families.images import glm4v, idefics3, internvl, llava_onevision, mistral3
from tiny_families.qwen import qwen2_5_vl, qwen2_audio, qwen3_5, qwen3_vl
from tiny_families.vocabulary import Built

__all__ = ["FAMILIES"]

FAMILIES: dict[str, Callable[[str], Built]] = {
    "gemma3": gemma3,
    "gemma4": gemma4,
    "gemma4_audio": gemma4_audio,
    "glm4v": glm4v,
    "idefics3": idefics3,
    "internvl": internvl,
    "llava_onevision": llava_onevision,
    "mistral3": mistral3,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_audio": qwen2_audio,
    "qwen3_vl_instruct": qwen3_vl,
    "qwen3_vl_thinking": qwen3_vl,
    "qwen3_5": qwen3_5,
}
