"""Measure how a Whisper model hears the questions of the suite spoken.

    python -m dreamr_testbed.suites.spoken.measure --whisper FOLDER --out heard.json

Speaks questions of the training split with every installed voice, transcribes them, and counts what
each word is heard as.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import anyio

from dreamr.speech import open_transcriber
from dreamr.tooling import Output, provenance
from dreamr_testbed.command_line import at_least, errors_in_one_line
from dreamr_testbed.suites import draw_scene
from dreamr_testbed.suites.spoken.hearing import WORD, aligned, counted
from dreamr_testbed.suites.spoken.speaking import Speaker, speakers

LEFT_OUT = {"porn"}  # heard, but no word for a benchmark


def questions(count: int, voice: str) -> Iterator[str]:
    """Yield questions of docmath and pages; each voice speaks others."""
    rng = Random(f"spoken/{voice}")
    for _ in range(count):
        suite = rng.choice(("docmath", "pages"))
        yield draw_scene(suite, "train", rng.getrandbits(40)).question


async def measure(whisper: str, voices: tuple[Speaker, ...], count: int) -> dict[str, Any]:
    """Return for each voice how often a question is heard exactly, and the counts of its words."""
    transcriber = open_transcriber(whisper)
    await transcriber.start()
    rows: dict[str, Any] = {}
    try:
        for voice in voices:
            pairs, exact = [], 0
            for question in questions(count, voice.name):
                text = (await transcriber.transcribe(voice.say(question))).text
                exact += WORD.findall(question.lower()) == WORD.findall(text.lower())
                pairs += [pair for pair in aligned(question, text) if pair[1] not in LEFT_OUT]
            rows[voice.name] = {"questions": count, "exact": exact, "words": counted(pairs)}
            print(f"{voice.name}: {exact} of {count} questions without an error", file=sys.stderr)
    finally:
        await transcriber.aclose()
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--whisper", required=True, help="Whisper model: a folder or a name of faster-whisper.")
    count = "Questions of each voice. Default: %(default)s."
    add("--count", type=at_least(1), default=200, help=count)
    add("--out", type=Path, required=True, help="JSON file to write.")
    options = parser.parse_args(arguments)
    with errors_in_one_line(parser, "nothing was written"), Output(options.out) as file:
        rows = anyio.run(measure, options.whisper, speakers(), options.count)
        found = {"provenance": provenance(), "voices": rows}
        file.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
