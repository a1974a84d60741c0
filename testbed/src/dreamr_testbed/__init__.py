"""The test bed of dreamr: a pair of small models and the problems that they solve."""

from pathlib import Path
from typing import Literal

__all__ = ["PAIR", "RECEIPT", "embedded", "embedded_before_sapo"]

PAIR = Path(__file__).parent / "pair"
RECEIPT = Path(__file__).parent / "media" / "receipt.png"


def embedded(role: Literal["target", "draft"]) -> Path:
    """The folder of a model of the embedded pair."""
    return PAIR / role


def embedded_before_sapo(role: Literal["target", "draft"]) -> Path:
    """The same pair with the draft from before SAPO."""
    return PAIR / ("draft-before-sapo" if role == "draft" else role)
