"""Sizing of a pair: what models need, where they go, and what they gain there."""

from dreamr.sizing.architecture import Architecture, CachedLayers
from dreamr.sizing.choice import Choice, choose
from dreamr.sizing.configuration import BadConfiguration, read_architecture
from dreamr.sizing.detection import cpu_device, detect_gpus
from dreamr.sizing.devices import Device, described, parse_devices, parse_nvidia_smi
from dreamr.sizing.expectation import Expectation, expect, verdict
from dreamr.sizing.known import known_architecture, known_models
from dreamr.sizing.layout import Layout, Pair, Part, TooLarge, layouts
from dreamr.sizing.memory import Demand, demand
from dreamr.sizing.reading import find_architecture

__all__ = [
    "Architecture",
    "BadConfiguration",
    "CachedLayers",
    "Choice",
    "Demand",
    "Device",
    "Expectation",
    "Layout",
    "Pair",
    "Part",
    "TooLarge",
    "choose",
    "cpu_device",
    "demand",
    "described",
    "detect_gpus",
    "expect",
    "find_architecture",
    "known_architecture",
    "known_models",
    "layouts",
    "parse_devices",
    "parse_nvidia_smi",
    "read_architecture",
    "verdict",
]
