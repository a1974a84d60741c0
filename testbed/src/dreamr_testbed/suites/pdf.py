"""Problems of the suites pages as PDF files with text, drawn by reportlab."""

from __future__ import annotations

import io
from random import Random
from typing import Any

from dreamr.errors import Unsupported
from dreamr_testbed.suites.canvas import FONTS, SIDE, Box, Canvas, Color, Corners, font_file
from dreamr_testbed.suites.problem import Problem

SCALE = 2.0  # points per pixel of an image: pages are four inches wide


class PdfCanvas(Canvas):
    """Page of a PDF file; the marks are those of the image, without rotation and noise."""

    def __init__(self, page: Any, rng: Random, style: Random) -> None:
        """Start a page.

        Args:
            page: A reportlab canvas.
            rng: Source of all jitter.
            style: Source of background, font and ink.
        """
        self._page = page
        super().__init__(rng, style)

    def _begin(self) -> None:
        self.draw_box((0, 0, SIDE, SIDE), self.tint)

    def _color(self, color: Color) -> None:
        share = [part / 255 for part in color]
        self._page.setFillColorRGB(*share)
        self._page.setStrokeColorRGB(*share)

    def draw_text(self, x: float, y: float, text: str, size: int) -> None:
        """Write a text from a point at its left end, in the middle of its height (pixels)."""
        self._color(self._ink)
        self._page.setFont(self._font, size * SCALE)
        self._page.drawString(x * SCALE, (SIDE - y - size * 0.35) * SCALE, text)

    def draw_line(self, points: Box, color: Color, width: int = 1) -> None:
        """Draw a line from (x, y) to (x, y), in pixels."""
        x, y, to_x, to_y = points
        self._color(color)
        self._page.setLineWidth(width * SCALE)
        self._page.line(x * SCALE, (SIDE - y) * SCALE, to_x * SCALE, (SIDE - to_y) * SCALE)

    def draw_box(self, box: Box, color: Color) -> None:
        """Draw a filled box (left, top, right, bottom), in pixels."""
        left, top, right, bottom = box
        self.draw_polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def draw_circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """Draw a filled circle, in pixels."""
        self._color(color)
        self._page.circle(x * SCALE, (SIDE - y) * SCALE, radius * SCALE, stroke=0, fill=1)

    def draw_polygon(self, corners: Corners, color: Color) -> None:
        """Draw a filled polygon, in pixels."""
        self._color(color)
        path = self._page.beginPath()
        for number, (x, y) in enumerate(corners):
            (path.lineTo if number else path.moveTo)(x * SCALE, (SIDE - y) * SCALE)
        path.close()
        self._page.drawPath(path, stroke=0, fill=1)


def pdf_of(problem: Problem) -> bytes:
    """Return the images of a problem as the pages of a PDF file; equal problems give equal bytes.

    Raises:
        Unsupported: If reportlab is not installed.
    """
    try:
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFont
        from reportlab.pdfgen.canvas import Canvas as Pages
    except ImportError as error:
        raise Unsupported(
            "writing problems as PDF files needs reportlab: pip install 'dreamr-testbed[files]'"
        ) from error
    for name in FONTS:
        pdfmetrics.registerFont(TTFont(name, font_file(name)))
    file = io.BytesIO()
    # Invariant: without the time of creation.
    pages = Pages(file, pagesize=(SIDE * SCALE, SIDE * SCALE), invariant=1)
    pages.setTitle(f"{problem.suite} {problem.split}/{problem.index}")
    rng = Random(f"pdf/{problem.suite}/{problem.split}/{problem.index}")
    seed = rng.getrandbits(32)
    for paint in problem.scene.views:
        paint(PdfCanvas(pages, rng, Random(seed)))
        pages.showPage()
    pages.save()
    return file.getvalue()
