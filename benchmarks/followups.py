"""Measure how soon the answer to a follow-up question about a PDF file starts.

    python benchmarks/followups.py                            # the bundled pair
    python benchmarks/followups.py --target http://gpu:8000/v1 --draft http://gpu:8001/v1

Each round draws a new PDF file of documents and asks about it: a first question, further ones in
the same conversation, further ones in new conversations, and one about the first half of its pages.
The time is that from the question, with the bytes of the file at hand, to the first token of
whichever model is first, and to the first token of the target. It includes the reading of the file.

The bundled pair was trained with one image. For this benchmark it reads more, so its times mean
something and its answers do not. Other models are folders or URLs, which must take several images.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image
from dreamr_testbed import embedded
from dreamr_testbed.suites import load_docmath

from dreamr import Reasoner, RunOptions
from dreamr.conversation import (
    Attachment,
    AttachmentCache,
    Conversation,
    MediaOptions,
    Text,
    Turn,
    to_pillow,
)
from dreamr.tooling import provenance
from dreamr.trace import Event, LaneClosed, LaneOpened, RunStarted

FIRST = "What do tea and milk cost together?"
LATER = ("What is the total?", "Which line is the largest?", "How many lines are there?")
INCHES = 8.0  # width of a page
WARM_UP = -1  # number of the round before the first


@dataclass
class Times:
    """Seconds from a question to the first token.

    Attributes:
        any: Of whichever model is first.
        target: Of the target.
    """

    any: list[float] = field(default_factory=list)
    target: list[float] = field(default_factory=list)

    def to_json(self, first: Times) -> dict[str, Any]:
        """Return medians, and their relation to those of the first question."""
        found: dict[str, Any] = {}
        for name in ("any", "target"):
            mine, other = getattr(self, name), getattr(first, name)
            if mine and other:
                median = statistics.median(mine)
                found[f"first token, {name}, s"] = round(median, 4)
                found[f"first token, {name}, share"] = round(median / statistics.median(other), 3)
                found[f"first token, {name}, all, s"] = [round(one, 4) for one in mine]
        return found


class Asking:
    """Asks questions about PDF files as a client does, who has the bytes of a file.

    Args:
        reasoner: An open Reasoner.
    """

    def __init__(self, reasoner: Reasoner) -> None:
        self._reasoner = reasoner
        self._read = AttachmentCache()
        self.times: dict[str, Times] = {}

    def document(self, file: bytes, pages: str) -> Attachment:
        """Return a file as it is read, or was read before."""
        return self._read.read(file, MediaOptions(pages=pages, pdf_text="off"))

    async def ask(self, name: str, conversation: Callable[[], Conversation]) -> str:
        """Ask a question, note its times under a name, and return the answer."""
        began = time.perf_counter()
        events: list[Event] = []
        before = 0.0

        def on_event(event: Event) -> None:
            nonlocal before
            if isinstance(event, RunStarted):
                before = time.perf_counter() - began - event.time
            events.append(event)

        talk = await asyncio.to_thread(conversation)
        result = await self._reasoner.reason(talk, on_event=on_event)
        roles = {event.lane: event.role for event in events if isinstance(event, LaneOpened)}
        lanes = [event for event in events if isinstance(event, LaneClosed)]
        starts = [(before + one.began, roles[one.lane]) for one in lanes if one.began is not None]
        times = self.times.setdefault(name, Times())
        times.any.append(min(seconds for seconds, _ in starts))
        if target := [seconds for seconds, role in starts if role == "target"]:
            times.target.append(min(target))
        return result.answer or "I cannot tell."


async def measure(options: RunOptions, rounds: int, pages: int) -> dict[str, Any]:
    """Return the times of first questions and of follow-ups."""
    async with Reasoner(options) as reasoner:
        asking = Asking(reasoner)
        for number in (WARM_UP, *range(rounds)):
            await one_round(asking, draw(1 + number, pages), pages)
            if number == WARM_UP:
                asking.times.clear()
    first = asking.times["first question"]
    return {name: times.to_json(first) for name, times in asking.times.items()}


async def one_round(asking: Asking, file: bytes, pages: int) -> None:
    """Ask all questions about one file."""
    everything = f"1-{pages}"

    def about(question: str, chosen: str = everything, *before: Turn) -> Conversation:
        document = asking.document(file, chosen)
        if not before:
            return Conversation((Turn("user", (document, Text(question))),))
        opened = Turn("user", (document, Text(FIRST)))
        return Conversation((opened, *before, Turn("user", (Text(question),))))

    answer = await asking.ask("first question", lambda: about(FIRST))
    before: tuple[Turn, ...] = (Turn("assistant", (Text(answer),)),)
    for question in LATER:
        answer = await asking.ask(
            "same conversation",
            lambda: about(question, everything, *before),  # noqa: B023
        )
        before += (Turn("user", (Text(question),)), Turn("assistant", (Text(answer),)))
    for question in LATER:
        await asking.ask("new conversation", lambda: about(question))  # noqa: B023
    if pages > 1:
        await asking.ask("half of the pages", lambda: about(LATER[0], f"1-{pages // 2}"))


def draw(number: int, pages: int) -> bytes:
    """Return a PDF file of drawn documents, another one for each number."""
    items = load_docmath(pages, 1000 * number, "test")
    images = [to_pillow(item.conversation.images[0]) for item in items]
    side = int(INCHES * 100)
    first, *others = [one.resize((side, side), PIL.Image.Resampling.NEAREST) for one in images]
    file = io.BytesIO()
    first.save(file, "PDF", save_all=True, append_images=others, resolution=100, quality=90)
    return file.getvalue()


def unlimited(role: Any, folder: Path) -> str:
    """Copy a model of the bundled pair without its limit of one image; return the copy."""
    copy = folder / role
    shutil.copytree(embedded(role), copy)
    hints = json.loads((copy / "dreamr.json").read_text())
    hints.pop("max_images", None)
    (copy / "dreamr.json").write_text(json.dumps(hints))
    return str(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", help="folder or URL; by default the bundled target")
    parser.add_argument("--draft", help="folder or URL; by default the bundled draft")
    parser.add_argument("--pages", type=int, default=8, help="pages of a file")
    parser.add_argument("--rounds", type=int, default=5, help="files")
    parser.add_argument("--method", default="fpsr", help="method of the runs")
    parser.add_argument("--tokens", type=int, default=48, help="most tokens of an answer")
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = RunOptions(
            method=given.method,
            target=given.target or unlimited("target", folder),
            draft=given.draft or unlimited("draft", folder),
            max_tokens=given.tokens,
        )
        figures = asyncio.run(measure(options, given.rounds, given.pages))
    print(json.dumps(figures, indent=2))
    if given.out:
        chosen = {"pages": given.pages, "rounds": given.rounds, "method": given.method}
        content = {"provenance": provenance(), "options": chosen, "figures": figures}
        given.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
