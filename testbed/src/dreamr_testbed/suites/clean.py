"""Problems as pages of a file look: with smooth edges, and without rotation and noise."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from PIL import Image, ImageDraw

from dreamr_testbed.suites.canvas import SIDE, Box, Canvas, Color, Corners, load_font
from dreamr_testbed.suites.problem import Labels, Problem

SCALE = 7  # of the image that is drawn, as large as a rendered page


class CleanCanvas(Canvas):
    """Canvas that draws a large image and reduces it."""

    def _begin(self) -> None:
        self._image = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), self.tint)
        self._draw = ImageDraw.Draw(self._image)

    def draw_text(self, x: float, y: float, text: str, size: int) -> None:
        """Write a text from a point at its left end, in the middle of its height (pixels)."""
        font = load_font(self._font, size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), text, font=font, fill=self._ink, anchor="lm")

    def draw_line(self, points: Box, color: Color, width: int = 1) -> None:
        """Draw a line from (x, y) to (x, y), in pixels."""
        self._draw.line([SCALE * part for part in points], fill=color, width=width * SCALE)

    def draw_box(self, box: Box, color: Color) -> None:
        """Draw a filled box (left, top, right, bottom), in pixels."""
        self._draw.rectangle([SCALE * part for part in box], fill=color)

    def draw_circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """Draw a filled circle, in pixels."""
        self._draw.ellipse(
            [SCALE * part for part in (x - radius, y - radius, x + radius, y + radius)], fill=color
        )

    def draw_polygon(self, corners: Corners, color: Color) -> None:
        """Draw a filled polygon, in pixels."""
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in corners], fill=color)

    def finish(self) -> tuple[Image.Image, Labels]:
        """Return the reduced image and its labels."""
        return self._image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), tuple(self._labels)


def clean(problem: Problem) -> Problem:
    """Return a problem whose images are drawn again as those of a file."""
    rng = Random(f"clean/{problem.suite}/{problem.split}/{problem.index}")
    seed = rng.getrandbits(32)
    images = []
    for paint in problem.scene.views:
        canvas = CleanCanvas(rng, Random(seed))
        paint(canvas)
        images.append(canvas.finish()[0])
    return replace(problem, images=tuple(images))
