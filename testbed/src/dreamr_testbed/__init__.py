"""Test bed of dreamr: a pair of small models, the problems they solve and their recipe."""

from pathlib import Path
from typing import Literal

__all__ = [
    "CLIP",
    "FAMILIES",
    "INVOICE",
    "PAIR",
    "RECEIPT",
    "embedded",
    "embedded_before_sapo",
    "embedded_multi_image",
]

PAIR = Path(__file__).parent / "pair"
FAMILIES = Path(__file__).parent / "families.toml"
_MEDIA = Path(__file__).parent / "media"
RECEIPT = _MEDIA / "receipt.png"
INVOICE = _MEDIA / "invoice.pdf"
CLIP = _MEDIA / "clip.mp4"


def embedded(role: Literal["target", "draft"]) -> Path:
    """Return the folder of a model of the bundled pair."""
    return PAIR / role


def embedded_before_sapo(role: Literal["target", "draft"]) -> Path:
    """Return the folder of a model of the bundled pair, with the draft before SAPO."""
    return PAIR / ("draft-before-sapo" if role == "draft" else role)


def embedded_multi_image(role: Literal["target", "draft"]) -> Path:
    """Return the folder of a model of the bundled pair that reads several images."""
    return PAIR / f"{role}-multi-image"
