from __future__ import annotations

from dreamr.conversation import Conversation, Document, Image, Page, Text, VideoFile, flatten
from support.attachments import asked, document, kinds, sound, video

DOT = Image(b"\0\0\0", 1, 1)


def texts(document: Document) -> list[str]:
    asked = flatten(Conversation.from_prompt("What is due?", document))
    return [part.text for part in asked.turns[-1].parts if isinstance(part, Text)]


def test_a_model_learns_that_a_document_has_more_pages() -> None:
    pages = (Page(1, DOT, "Tea 2.50"), Page(2, DOT))
    shown = "".join(texts(Document(pages, 40, "bill.pdf")))
    assert "2 of 40 pages of bill.pdf are shown." in shown
    assert "are shown" not in "".join(texts(Document(pages, 2, "bill.pdf")))


def test_a_document_says_its_name_once_before_its_pages() -> None:
    shown = texts(Document((Page(1, DOT), Page(2, DOT)), 2, "bill.pdf"))
    assert shown == ["bill.pdf:\nPage 1:\n", "Page 2:\n", "What is due?"]


def test_the_file_of_a_video_replaces_its_frames_where_it_is_wanted() -> None:
    file = VideoFile(b"moving", "video/mp4")
    talk = asked(document(1), video(3, sound=sound(), file=file))
    assert kinds(flatten(talk)).count("Image") == 4
    native = flatten(talk, native_video=True)
    assert kinds(native) == ["Text", "Image", "Text", "VideoFile", "Audio", "Text"]
    assert native.video_files == (file,)
    assert flatten(native) is native
    without = asked(video(3))
    assert flatten(without, native_video=True) == flatten(without)
