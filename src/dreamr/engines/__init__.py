"""Models behind one narrow protocol."""

from dreamr.engines._protocol import Capabilities, Chunk, Context, Engine, Sampling

__all__ = ["Capabilities", "Chunk", "Context", "Engine", "Sampling"]
