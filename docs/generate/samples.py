"""Draw sheets of sample problems with their reasoning: docs/images/samples-SUITE.png.

    python docs/generate/samples.py [SUITE ...]

Each sheet has twenty problems of the training split, with levels 1 to 3 in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from dreamr_testbed.suites import EXTRA_SUITES, SIDE, Problem, make_problem
from dreamr_testbed.suites.canvas import COLORS, font_file
from dreamr_testbed.suites.spoken import Spoken
from PIL import Image, ImageDraw, ImageFont

COUNT = 20
WIDTH, GAP = 1290, 4
LEFT = 4 * (SIDE + GAP) + 12  # of the text: four images side by side
LINE = 15
GRAYS = (255, 205, 160, 110, 60, 20)
PLAIN = ImageFont.truetype(font_file("DejaVuSans"), 12)
BOLD = ImageFont.truetype(font_file("DejaVuSans-Bold"), 12)
HALVES = [tuple((part + 255) // 2 for part in color) for color in COLORS.values()]
IMAGES = Path(__file__).parents[1] / "images"


def palette() -> Image.Image:
    """Return an image with the few colors of the sheets, which keep the files small."""
    colors = [*((gray,) * 3 for gray in GRAYS), *COLORS.values(), *HALVES]
    image = Image.new("P", (1, 1))
    image.putpalette([part for color in colors for part in color])
    return image


def lines(problem: Problem) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a problem's text, and whether they are bold."""
    head = f"{problem.kind}, level {problem.level}: {problem.question}"
    yield from ((line, True) for line in wrap(head, 80))
    if isinstance(problem.scene, Spoken):
        yield from ((line, False) for line in wrap(f"(said: {problem.scene.scene.question})", 90))
    for step in problem.steps:
        yield from ((line, False) for line in wrap(step.terse, 96, subsequent_indent="    "))
    yield problem.final, True


def row(problem: Problem) -> Image.Image:
    """Return the images of a problem beside its text."""
    text = list(lines(problem))
    rows = -(-len(problem.images) // 4)
    height = max(rows * (SIDE + GAP), len(text) * LINE) + 14
    sheet = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.fontmode = "1"  # without gray edges
    for number, image in enumerate(problem.images):
        place = (number % 4) * (SIDE + GAP), (number // 4) * (SIDE + GAP)
        sheet.paste(image, place)
        draw.rectangle((*place, place[0] + SIDE, place[1] + SIDE), outline=(190, 190, 190))
    for number, (line, bold) in enumerate(text):
        draw.text((LEFT, number * LINE), line, font=BOLD if bold else PLAIN, fill=(20, 20, 20))
    draw.line((0, height - 5, WIDTH, height - 5), fill=(190, 190, 190))
    return sheet


def sheet(suite: str) -> Image.Image:
    """Return the sheet of a suite."""
    rows = [row(make_problem(suite, "train", number, 1 + number % 3)) for number in range(COUNT)]
    whole = Image.new("RGB", (WIDTH, sum(one.height for one in rows)), "white")
    top = 0
    for one in rows:
        whole.paste(one, (0, top))
        top += one.height
    return whole.quantize(palette=palette(), dither=Image.Dither.NONE)


def main() -> None:
    """Draw the sheets of the given suites, or of all that have one."""
    for suite in sys.argv[1:] or [name for name in EXTRA_SUITES if name != "gap"]:
        sheet(suite).save(IMAGES / f"samples-{suite}.png", optimize=True)


if __name__ == "__main__":
    main()
