"""Engines: the protocol through which models are called, and its implementations."""

from dreamr.engines.named import model_names
from dreamr.engines.open import Model, ModelSource, OpenModel, api_key, is_served, open_model
from dreamr.engines.protocol import (
    MAX_IMAGE_PIXELS,
    NEUTRAL,
    AnswersInForm,
    Candidates,
    Capabilities,
    Chunk,
    Context,
    Engine,
    SamplingParams,
)
from dreamr.engines.scripted import Failure, ScriptedEngine, words
from dreamr.engines.scripted_answers import AnsweringEngine

__all__ = [
    "MAX_IMAGE_PIXELS",
    "NEUTRAL",
    "AnsweringEngine",
    "AnswersInForm",
    "Candidates",
    "Capabilities",
    "Chunk",
    "Context",
    "Engine",
    "Failure",
    "Model",
    "ModelSource",
    "OpenModel",
    "SamplingParams",
    "ScriptedEngine",
    "api_key",
    "is_served",
    "model_names",
    "open_model",
    "words",
]
