"""Canvas of 144 x 144 pixels, which the models see as 6 x 6 patches of 24 x 24 pixels.

While drawing, a canvas labels each patch with a pair of words. The vision tower is pretrained on
these labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from random import Random
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

SIDE = 144
PATCH = 24
GRID = SIDE // PATCH
NOTHING = ("", "")

Box: TypeAlias = tuple[float, float, float, float]
Color: TypeAlias = tuple[int, int, int]
Corners: TypeAlias = Sequence[tuple[float, float]]

FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Bold")
COLORS: dict[str, Color] = {
    "red": (214, 40, 40),
    "blue": (38, 84, 210),
    "green": (30, 150, 60),
    "yellow": (235, 190, 20),
    "purple": (140, 50, 170),
    "black": (30, 30, 30),
}


def font_file(name: str) -> str:
    """Return the path of one of `FONTS`."""
    return str(files("dreamr_testbed.suites") / "fonts" / f"{name}.ttf")


@lru_cache(maxsize=64)
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Return one of `FONTS`; the size is in pixels."""
    return ImageFont.truetype(font_file(name), size, layout_engine=ImageFont.Layout.BASIC)


def _rgb(values: Iterable[int]) -> Color:
    red, green, blue = values
    return red, green, blue


class Canvas:
    """Image under construction; all random jitter comes from one seeded generator.

    The methods `draw_*` put marks on the image; subclasses with another medium replace them.
    """

    def __init__(self, rng: Random, style: Random | None = None) -> None:
        """Start an empty image.

        Args:
            rng: Source of all jitter.
            style: Source of background, font and ink, so that several images can share them. By
                default `rng`.
        """
        self.rng = rng
        style = style or rng
        self.tint = _rgb(style.randint(236, 255) for _ in range(3))
        self._labels = [NOTHING] * (GRID * GRID)
        self._font = style.choice(FONTS)
        self._ink = _rgb(style.randint(0, 70) for _ in range(3))
        self._begin()

    def _begin(self) -> None:
        self._image = Image.new("RGB", (SIDE, SIDE), self.tint)
        self._draw = ImageDraw.Draw(self._image)

    def draw_text(self, x: float, y: float, text: str, size: int) -> None:
        """Write a text from a point at its left end, in the middle of its height (pixels)."""
        self._draw.text((x, y), text, font=load_font(self._font, size), fill=self._ink, anchor="lm")

    def draw_line(self, points: Box, color: Color, width: int = 1) -> None:
        """Draw a line from (x, y) to (x, y), in pixels."""
        self._draw.line(points, fill=color, width=width)

    def draw_box(self, box: Box, color: Color) -> None:
        """Draw a filled box (left, top, right, bottom), in pixels."""
        self._draw.rectangle(box, fill=color)

    def draw_circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """Draw a filled circle, in pixels."""
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def draw_polygon(self, corners: Corners, color: Color) -> None:
        """Draw a filled polygon, in pixels."""
        self._draw.polygon(corners, fill=color)

    def label(self, left: int, top: int, width: int, height: int, what: tuple[str, str]) -> None:
        """Label a rectangle of patches; position and size are in patches."""
        for row in range(top, top + height):
            for column in range(left, left + width):
                self._labels[row * GRID + column] = what

    def text(self, left: int, row: int, width: int, text: str, *, name: bool = True) -> None:
        """Write a word or number across `width` patches of one row.

        Args:
            left: First column, in patches.
            row: Row, in patches.
            width: Available width, in patches; long texts get a smaller font.
            text: The word or number.
            name: Whether to label the covered patches with the text.
        """
        size = self.rng.randint(13, 16)
        room = width * PATCH - 4
        while (font := load_font(self._font, size)).getlength(text) > room:
            size -= 1
        slack = room - font.getlength(text)
        x = left * PATCH + 2 + min(slack, self.rng.uniform(0, 6))
        y = row * PATCH + self.rng.uniform(9, 14)
        self.draw_text(x, y, text, size)
        if name:
            covered = max(1, math.ceil((x + font.getlength(text) - 5) / PATCH) - left)
            self.label(left, row, min(width, covered), 1, _pair(text))

    def shape(self, x: float, y: float, radius: float, shape: str, color: str) -> None:
        """Draw a filled shape around a point; coordinates are in pixels."""
        fill = _rgb(min(255, max(0, c + self.rng.randint(-18, 18))) for c in COLORS[color])
        if shape == "circle":
            self.draw_circle(x, y, radius, fill)
            return
        turn = self.rng.uniform(-0.12, 0.12)
        self.draw_polygon([(x + px, y + py) for px, py in _outline(shape, radius, turn)], fill)

    def bar(self, box: Box, color: str) -> None:
        """Draw a filled box (left, top, right, bottom) in a named color, in pixels."""
        self.draw_box(box, COLORS[color])

    def line(self, points: Box, *, light: bool = False) -> None:
        """Draw a line (x, y, x, y), in pixels, in gray or in the color of the ink."""
        self.draw_line(points, (205, 205, 205) if light else self._ink)

    def arrow(self, x: float, y: float, length: float, *, both: bool = False) -> None:
        """Draw an arrow to the right, or one with two heads, centered on a point (pixels)."""
        half = length / 2
        self.draw_line((x - half, y, x + half, y), self._ink, width=2)
        tips = [(x + half, -5)] + ([(x - half, 5)] if both else [])
        for tip, back in tips:
            self.draw_polygon([(tip, y), (tip + back, y - 4), (tip + back, y + 4)], self._ink)

    def finish(self) -> tuple[Image.Image, tuple[tuple[str, str], ...]]:
        """Return the image with slight rotation and noise, as from a camera, and its labels."""
        import numpy as np  # imported here to keep listing the tasks fast

        corner = self._image.getpixel((0, 0))
        angle = self.rng.uniform(-1.5, 1.5)
        turned = self._image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=corner)
        noise = np.random.default_rng(self.rng.getrandbits(32)).normal(
            0, self.rng.uniform(0, 6), (SIDE, SIDE, 1)
        )
        grainy = np.clip(np.asarray(turned, dtype=np.float32) + noise, 0, 255).astype(np.uint8)
        return Image.fromarray(grainy), tuple(self._labels)


def _pair(text: str) -> tuple[str, str]:
    """Return the label of a text: tens and ones of a number, or the word itself."""
    if text.isdigit():
        return (f"{int(text) // 10}_", text[-1])
    return (text, "")


def _outline(shape: str, radius: float, turn: float) -> list[tuple[float, float]]:
    if shape == "star":
        corners = [(radius if i % 2 == 0 else radius * 0.45, i * math.pi / 5) for i in range(10)]
    elif shape == "cross":
        arm, third = radius * 0.95, radius * 0.33
        points = [(-third, -arm), (third, -arm), (third, -third), (arm, -third), (arm, third),
                  (third, third), (third, arm), (-third, arm), (-third, third), (-arm, third),
                  (-arm, -third), (-third, -third)]  # fmt: skip
        corners = [(math.hypot(x, y), math.atan2(x, -y)) for x, y in points]
    else:
        count = {"triangle": 3, "square": 4}[shape]
        start = math.pi / 4 if shape == "square" else 0.0
        reach = radius * 1.2 if shape == "square" else radius * 1.1
        corners = [(reach, start + i * 2 * math.pi / count) for i in range(count)]
    return [(r * math.sin(a + turn), -r * math.cos(a + turn)) for r, a in corners]
