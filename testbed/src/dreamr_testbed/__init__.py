"""Test bed of dreamr: a pair of small models, the problems they solve and their recipe."""

from pathlib import Path
from typing import Literal

__all__ = ["PAIR", "RECEIPT", "embedded", "embedded_before_sapo"]

PAIR = Path(__file__).parent / "pair"
RECEIPT = Path(__file__).parent / "media" / "receipt.png"


def embedded(role: Literal["target", "draft"]) -> Path:
    """Return the folder of a model of the bundled pair."""
    return PAIR / role


def embedded_before_sapo(role: Literal["target", "draft"]) -> Path:
    """Return the folder of a model of the bundled pair, with the draft before SAPO."""
    return PAIR / ("draft-before-sapo" if role == "draft" else role)
