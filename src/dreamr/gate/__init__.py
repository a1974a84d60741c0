"""The rule that turns evidence into accept or reject."""

from dreamr.gate._evidence import Evidence

__all__ = ["Evidence"]
