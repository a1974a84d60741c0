"""The image of the example prompt: a receipt, drawn on demand."""

from __future__ import annotations

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from dreamr.conversation import Image, read_image

_SIDE = 288  # pixels
_ROW = _SIDE // 6
_COLUMNS = (10, 158, 205, 251)  # left edges of good, count, sign and price, in pixels
_LINES = (("bread", 2, 7), ("tea", 3, 4), ("eggs", 6, 1), ("milk", 8, 2))


def draw_receipt() -> Image:
    """Draw a receipt of a shop. Tea and milk cost 28 together."""
    image = Pillow.new("RGB", (_SIDE, _SIDE), (253, 241, 244))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(28)

    def write(x: float, row: int, text: str) -> None:
        draw.text((x, (row + 0.5) * _ROW), text, fill=(45, 30, 30), font=font, anchor="lm")

    write(56, 0, "SHOP")
    for row, (good, count, price) in enumerate(_LINES, 1):
        for x, text in zip(_COLUMNS, (good, str(count), "x", str(price)), strict=True):
            write(x, row, text)
    return read_image(image)
