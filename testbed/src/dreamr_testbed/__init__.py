"""The test bed of dreamr: a pair of small models and the problems that they solve."""

from pathlib import Path

__all__ = ["PAIR", "RECEIPT", "embedded", "embedded_before_sapo"]

PAIR = Path(__file__).parent / "pair"
RECEIPT = Path(__file__).parent / "media" / "receipt.png"


def embedded(role: str) -> Path:
    """The folder of the pair's model for a role, 'target' or 'draft'."""
    return PAIR / role


def embedded_before_sapo(role: str) -> Path:
    """The same with the draft as it was before reinforcement learning."""
    return PAIR / ("draft-before-sapo" if role == "draft" else role)
