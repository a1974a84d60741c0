"""Voices that are installed here: piper with the voice of install-speech, and flite."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamr.conversation import Audio, read_attachment
from dreamr.errors import Unsupported

FOLDER = "DREAMR_SPEECH"  # environment variable with the folder of scripts/engines/install-speech
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
_LONGEST = 60.0  # seconds to speak a question


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice and the command that speaks with it.

    Attributes:
        name: Name of the voice.
        command: Command; the words TEXT and FILE stand for the text and the WAV file.
    """

    name: str
    command: Sequence[str]

    def say(self, text: str) -> Audio:
        """Speak a text.

        Raises:
            Unsupported: If the command fails or takes too long.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "said.wav"
            given = {"TEXT": text, "FILE": str(file)}
            command = [given.get(word, word) for word in self.command]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=_LONGEST)
            except (OSError, subprocess.SubprocessError) as error:
                raise Unsupported(f"the voice {self.name} cannot speak: {error}") from error
            sound = read_attachment(file)
        if not isinstance(sound, Audio):
            raise Unsupported(f"the voice {self.name} wrote no sound")
        return sound


def speakers() -> tuple[Speaker, ...]:
    """Return the voices that are installed.

    Raises:
        Unsupported: If there is none; the message says what to install.
    """
    found = []
    folder = Path(os.environ.get(FOLDER, ".speech"))
    python, voice = folder / "venv/bin/python", folder / "voice.onnx"
    if python.is_file() and voice.is_file():
        # Without noise, a text always sounds the same.
        quiet = ("--noise-scale", "0", "--noise-w-scale", "0")
        program = (str(python), "-m", "piper", "--model", str(voice), *quiet)
        found.append(Speaker("piper", (*program, "--output-file", "FILE", "--", "TEXT")))
    if flite := shutil.which("flite"):
        for name in FLITE_VOICES:
            found.append(Speaker(f"flite {name}", (flite, "-voice", name, "-t", "TEXT", "FILE")))
    if not found:
        raise Unsupported(
            "no voice is installed: run scripts/engines/install-speech FOLDER and set "
            f"{FOLDER}=FOLDER, or install flite (apt-get install flite)"
        )
    return tuple(found)
