"""Many methods on the same problems over the same two engines, and what comes of it."""

from dreamr.bench._sample import Sample, Span

__all__ = ["Sample", "Span"]
