"""Pages of a PDF file as images with their text. Runs in a decoder process only."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import IO, Any

import PIL.Image
import pypdfium2

from dreamr.conversation.decoding.drawing import as_png, widened
from dreamr.conversation.decoding.ipc import Piece, Request
from dreamr.conversation.errors import PdfDamaged, PdfEncrypted
from dreamr.conversation.media_options import FIRST_PAGES, MAX_PAGES
from dreamr.conversation.page_ranges import PageRanges

MOST_TEXT = 8000  # characters of a page

_MOST_SIDE = 4096  # pixels
_MOST_SCALE = 300 / 72  # 300 dots an inch: no print is finer
_SHRINK = 0.998
_USABLE = 0.8  # of the letters of a text layer must be characters that mean something
_UNUSABLE = ("Cn", "Co", "Cs", "Cc")  # categories: unassigned, private, half, control


def read_pdf(file: IO[bytes], request: Request) -> Iterator[Piece]:
    """Yield the chosen pages of a document, and at last the number of all.

    Raises:
        PdfError: If the document cannot be opened, or a chosen page cannot be read.
    """
    document = _opened(file, request.shown)
    try:
        count = len(document)
        if count < 1:
            raise PdfDamaged(f"{request.shown} has no pages: save it again")
        numbers = PageRanges.parse(request.options.pages).within(
            count, request.shown, first=FIRST_PAGES, most=MAX_PAGES
        )
        if document.get_formtype():
            document.init_forms()
        for number in numbers:
            yield _page(document, number, request)
        yield {"count": count}, b""
    finally:
        document.close()


def _opened(file: IO[bytes], shown: str) -> pypdfium2.PdfDocument:
    # PDFium keeps the last error, of another file too, and pypdfium2 reports it for a document
    # without pages. That of a file which is none says that this one is damaged.
    pypdfium2.raw.FPDF_LoadMemDocument64(b"-", 1, None)
    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise PdfEncrypted(
                f"{shown} is protected by a password: save a copy without one"
            ) from error
        raise PdfDamaged(f"{shown} is truncated or damaged: copy or save it again") from error


def _page(document: pypdfium2.PdfDocument, number: int, request: Request) -> Piece:
    try:
        page = document[number - 1]
        try:
            image = _rendered(page, request.options.pixels)
            text = _text(page, request.options.pdf_text)
        finally:
            page.close()
    except (pypdfium2.PdfiumError, ValueError) as error:
        raise PdfDamaged(
            f"page {number} of {request.shown} is damaged: choose other pages, or save it again"
        ) from error
    return {"page": number, "text": text}, as_png(widened(image))


def _rendered(page: Any, pixels: int) -> PIL.Image.Image:
    width, height = page.get_size()
    scale = scale_of(width, height, pixels)
    bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False)
    try:
        image: PIL.Image.Image = bitmap.to_pil().convert("RGB")
        return image
    finally:
        bitmap.close()


def scale_of(width: float, height: float, pixels: int) -> float:
    """Return the pixels of a point of a page.

    The image has at most `pixels` pixels and no side of more than 4096; sides are rounded up.

    Args:
        width: Width of the page in points.
        height: Height of the page in points.
        pixels: Most pixels of the image.

    Raises:
        ValueError: If the page has no size.
    """
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise ValueError("a page has no size")
    side = min(_MOST_SIDE, pixels)
    scale = min(math.sqrt(pixels / width / height), side / max(width, height), _MOST_SCALE)
    while math.ceil(width * scale) * math.ceil(height * scale) > pixels:
        scale *= _SHRINK
    return scale


def _text(page: Any, mode: str) -> str:
    """Return the text layer of a page as the option says."""
    if mode == "off":
        return ""
    layer = page.get_textpage()
    try:
        count = layer.count_chars()
        raw = layer.get_text_range(0, min(count, 2 * MOST_TEXT)) if count > 0 else ""
    finally:
        layer.close()
    text = tidy(raw)
    if mode == "auto" and not is_usable(raw):
        return ""
    if len(text) <= MOST_TEXT and count <= 2 * MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT].rstrip()}\n[the text of this page was cut here]"


def tidy(text: str) -> str:
    """Return a text layer without control characters, halves of characters and blank lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\u0002\n", "").replace("\ufffe\n", "")  # words divided by hyphens
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    kept = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in _UNUSABLE)
    lines = [" ".join(line.split()) for line in kept.split("\n")]
    return "\n".join(line for line in lines if line)


def is_usable(text: str) -> bool:
    """Return whether a text layer is one, and not the numbers of glyphs without meaning."""
    letters = [c for c in text if not c.isspace()]
    good = [c for c in letters if c != "\ufffd" and unicodedata.category(c) not in _UNUSABLE]
    return any(c.isalnum() for c in good) and len(good) >= _USABLE * len(letters)
