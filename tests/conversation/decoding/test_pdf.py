from __future__ import annotations

import io
import zlib
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import (
    AttachmentError,
    AttachmentTooExpensive,
    Document,
    Image,
    MediaOptions,
    PageMissing,
    PdfDamaged,
    PdfEncrypted,
    TooManyPages,
    read_attachment,
    to_pillow,
)
from dreamr.conversation.decoding.pdf import is_usable, scale_of, tidy
from support.media_files import encrypted_pdf, memory_bomb, pdf, stream, text_on_page

RED_CORNER = b"1 0 0 rg 0 0 200 200 re f"


def read(data: bytes, **options: Any) -> Document:
    found = read_attachment(data, MediaOptions(**options), name="bill.pdf")
    assert isinstance(found, Document)
    return found


def numbered(count: int) -> bytes:
    return pdf(*(text_on_page(f"This is page {k}") for k in range(1, count + 1)))


def test_a_page_is_an_image_within_a_megapixel_with_its_text() -> None:
    found = read(pdf(text_on_page("Total 12.50") + b" " + RED_CORNER))
    assert (found.count, found.name, len(found.pages)) == (1, "bill.pdf", 1)
    page = found.pages[0]
    assert (page.number, page.text) == (1, "Total 12.50")
    assert 0.98 * 2**20 < page.image.width * page.image.height <= 2**20
    assert page.image.width / page.image.height == pytest.approx(595 / 842, rel=0.01)
    shown = to_pillow(page.image)
    assert shown.getpixel((10, page.image.height - 10)) == (255, 0, 0)
    assert shown.getpixel((page.image.width - 10, 10)) == (255, 255, 255)


def test_the_first_pages_are_read_unless_others_are_chosen() -> None:
    data = numbered(20)
    assert [page.number for page in read(data).pages] == list(range(1, 9))
    found = read(data, pages="19-,2")
    assert [page.number for page in found.pages] == [19, 20, 2]
    assert [page.text for page in found.pages] == [f"This is page {n}" for n in (19, 20, 2)]
    assert found.count == 20


def test_pages_beyond_the_end_or_beyond_the_limit_are_refused() -> None:
    with pytest.raises(PageMissing, match=r"bill\.pdf has 3 pages, and no page 5"):
        read(numbered(3), pages="5-")
    with pytest.raises(TooManyPages, match="more than 100 pages"):
        read(numbered(101), pages="1-")


def test_a_page_of_a_hundred_meters_and_one_of_a_stamp() -> None:
    huge = read(pdf(text_on_page("small"), size=(283_464, 283_464))).pages[0].image
    assert huge.width * huge.height <= 2**20
    stamp = read(pdf(b"", size=(72, 36))).pages[0].image
    assert (stamp.width, stamp.height) == (300, 150)  # 300 dots an inch


def test_a_page_like_a_thread_is_widened_to_what_models_take() -> None:
    thread = read(pdf(b"", size=(14_400, 3))).pages[0].image
    assert thread.width <= 4096
    assert thread.height * 100 >= thread.width


@given(st.floats(0.01, 1e7, allow_nan=False), st.floats(0.01, 1e7), st.integers(1, 2**24))
def test_no_page_has_more_pixels_than_allowed(width: float, height: float, pixels: int) -> None:
    import math

    scale = scale_of(width, height, pixels)
    wide, high = math.ceil(width * scale), math.ceil(height * scale)
    assert 1 <= wide * high <= pixels
    assert max(wide, high) <= 4097


@pytest.mark.parametrize(
    "size", [(0.0, 5.0), (5.0, -1.0), (float("nan"), 5.0), (float("inf"), 5.0)]
)
def test_a_page_without_a_size_has_no_scale(size: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no size"):
        scale_of(*size, 1000)


def test_text_can_be_left_out() -> None:
    data = pdf(text_on_page("Total 12.50"))
    assert read(data, pdf_text="off").pages[0].text == ""
    assert read(data, pdf_text="on").pages[0].text == "Total 12.50"


def test_a_scan_has_no_text() -> None:
    pixels = zlib.compress(bytes(100 * 100))
    scan = stream(
        pixels,
        b"/Type /XObject /Subtype /Image /Width 100 /Height 100 /ColorSpace /DeviceGray "
        b"/BitsPerComponent 8 /Filter /FlateDecode",
    )
    data = pdf(b"595 0 0 842 0 0 cm /X Do", page=b"/XObject << /X 4 0 R >>", objects=[scan])
    page = read(data).pages[0]
    assert page.text == ""
    assert to_pillow(page.image).getpixel((50, 50)) == (0, 0, 0)


def test_a_long_text_is_cut_with_a_note() -> None:
    lines = b"".join(b"(%s) Tj T* " % (b"word " * 20) for _ in range(300))
    text = read(pdf(b"BT /F1 2 Tf 3 TL 10 830 Td " + lines + b"ET")).pages[0].text
    assert text.endswith("\n[the text of this page was cut here]")
    assert 7900 < len(text) < 8100


@pytest.mark.parametrize(
    "text", ["", " \n", "\ue001\ue002\ue003\ue004x", "\ufffd" * 9 + "ab", "---"]
)
def test_glyph_numbers_and_dashes_are_not_usable_text(text: str) -> None:
    assert not is_usable(text)


def test_words_and_figures_in_any_script_are_usable_text() -> None:
    assert all(map(is_usable, ("12.50", "Tea", "支払い", "שלום", "\u0627\u0644")))


@given(st.text(max_size=200) | st.text("ab\r\n\u0002\ufffe\ud83d\x00 ", max_size=60))
def test_a_tidy_text_is_one_that_engines_take(text: str) -> None:
    found = tidy(text)
    found.encode()
    assert "\r" not in found
    assert "\0" not in found
    assert tidy(found) == found


def test_words_divided_at_the_end_of_a_line_are_joined() -> None:
    assert tidy("exam\u0002\r\nple\r\n\r\n  two   words ") == "example\ntwo words"


@pytest.mark.parametrize("cut", [20, 200, 400])
def test_a_cut_file_is_read_as_far_as_it_goes_or_is_damaged(cut: int) -> None:
    try:
        assert read(numbered(3)[:cut]).count >= 1
    except PdfDamaged as error:
        message = str(error)
    else:
        message = "bill.pdf"
    assert message.startswith("bill.pdf")


def test_a_file_without_pages_is_damaged() -> None:
    for data in (pdf(), b"%PDF-1.7\n%%EOF\n", b"%PDF-" + bytes(5000)):
        with pytest.raises(PdfDamaged, match=r"bill\.pdf"):
            read(data)


def test_a_password_is_asked_for_by_name() -> None:
    with pytest.raises(PdfEncrypted, match=r"bill\.pdf is protected by a password"):
        read(encrypted_pdf())


def test_an_error_is_not_that_of_the_file_before() -> None:
    with pytest.raises(PdfEncrypted):
        read(encrypted_pdf())
    with pytest.raises(PdfDamaged, match=r"bill\.pdf is truncated or damaged"):
        read(pdf())


def test_a_page_count_that_lies_allocates_nothing() -> None:
    data = pdf(text_on_page("one"), count=1_000_000)
    assert read(data, pages="1").pages[0].text == "one"
    with pytest.raises(AttachmentError, match=r"bill\.pdf"):
        read(data)  # the second page is not there


def test_ten_thousand_pages() -> None:
    found = read(pdf(*[b""] * 9_999, text_on_page("the end")), pages="10000")
    assert found.count == 10_000
    assert found.pages[0].text == "the end"


def test_a_file_that_takes_too_much_memory_ends_alone() -> None:
    bomb = memory_bomb(1500)
    assert len(bomb) < 20_000
    with pytest.raises(AttachmentTooExpensive, match=r"bill\.pdf takes more than"):
        read(bomb)
    assert read(numbered(1)).count == 1


def test_a_form_shows_what_is_filled_in() -> None:
    appearance = stream(
        b"0 0 1 rg 0 0 100 100 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 100 100]"
    )
    field = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Ada) /F 4 "
        b"/Rect [0 0 100 100] /AP << /N 4 0 R >> >>"
    )
    data = pdf(
        b"", size=(100, 100), objects=[appearance, field],
        catalog=b"/AcroForm << /Fields [5 0 R] >>", annotations=b"/Annots [5 0 R]",
    )  # fmt: skip
    image = to_pillow(read(data).pages[0].image)
    red, _, blue = image.getpixel((50, 50))  # type: ignore[misc]
    assert blue > red


def test_a_pdf_that_is_an_image_is_an_image() -> None:
    output = io.BytesIO()
    PIL.Image.new("RGB", (3, 2), "red").save(output, "PNG")
    found = read_attachment(output.getvalue(), name="bill.pdf")
    assert isinstance(found, Image)
    assert (found.width, found.name) == (3, "bill.pdf")
