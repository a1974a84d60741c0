"""The test bed of dreamr: a pair of small models and the problems that they solve."""

from pathlib import Path

__all__ = ["PAIR", "RECEIPT"]

PAIR = Path(__file__).parent / "pair"
RECEIPT = Path(__file__).parent / "media" / "receipt.png"
