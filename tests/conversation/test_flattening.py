from __future__ import annotations

from dreamr.conversation import Conversation, Document, Image, Page, Text, flatten

DOT = Image(b"\0\0\0", 1, 1)


def texts(document: Document) -> list[str]:
    asked = flatten(Conversation.from_prompt("What is due?", document))
    return [part.text for part in asked.turns[-1].parts if isinstance(part, Text)]


def test_a_model_learns_that_a_document_has_more_pages() -> None:
    pages = (Page(1, DOT, "Tea 2.50"), Page(2, DOT))
    shown = "".join(texts(Document(pages, 40, "bill.pdf")))
    assert "2 of 40 pages of bill.pdf are shown." in shown
    assert "are shown" not in "".join(texts(Document(pages, 2, "bill.pdf")))
