"""Models behind one narrow protocol."""

from dreamr.engines.protocol import Candidates, Capabilities, Chunk, Context, Engine, SamplingParams
from dreamr.engines.scripted import Failure, ScriptedEngine, words

__all__ = [
    "Candidates",
    "Capabilities",
    "Chunk",
    "Context",
    "Engine",
    "Failure",
    "SamplingParams",
    "ScriptedEngine",
    "words",
]
