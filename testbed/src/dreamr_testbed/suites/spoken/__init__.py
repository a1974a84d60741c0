"""Suite spoken: questions of docmath and pages as a Whisper model hears them, errors included.

The images are those of the other suites. What was measured of real voices and a real Whisper model,
in `heard.json`, says which words are heard as which others and how often.
"""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites import docmath, pages
from dreamr_testbed.suites.spoken.hearing import heard
from dreamr_testbed.suites.spoken.scene import Spoken

__all__ = ["Spoken", "generate", "heard"]


def generate(rng: Random, level: int) -> Spoken:
    """Draw a random document of docmath or pages, and how its question is heard."""
    scene = rng.choice((docmath.generate, pages.generate))(rng, level)
    return Spoken(scene, heard(scene.question, rng))
