"""Attachments of a question: images, files of other kinds, speech, and files read before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from dreamr import BadOption, Conversation, ConversationError, Reasoner, RunOptions
from dreamr.conversation import attachment_cache
from support.attachments import document, kinds, pdf, png, wav
from support.pairs import QUESTION, RIGHT, Pair


def watch(pair: Pair) -> list[Conversation]:
    """Return a list that gets the conversations that the target is asked about."""
    seen: list[Conversation] = []

    def script(context: Any) -> str:
        seen.append(context.conversation)
        return "".join(RIGHT[len(context.prefix) :])

    pair.target["script"] = script
    return seen


def test_images_come_before_the_text(pair: Pair, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (5, 4)).save(tmp_path / "r.png")
    seen = watch(pair)
    with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
        reasoner.ask(QUESTION, tmp_path / "r.png", PIL.Image.new("L", (2, 2)))
    assert [(image.width, image.height) for image in seen[0].images] == [(5, 4), (2, 2)]


def test_several_images_may_be_given_as_a_list(pair: Pair, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        PIL.Image.new("RGB", (4, 4)).save(path)
    with Reasoner(open_model=pair) as reasoner, paths[1].open("rb") as opened:
        for images in (paths, tuple(paths), [str(paths[0]), opened]):
            assert reasoner.ask(QUESTION, images).answer == "3.70"


def test_attachments_of_any_kind_are_paths_bytes_open_files_or_read_already(
    pair: Pair, tmp_path: Path
) -> None:
    seen = watch(pair)
    path = tmp_path / "bill.pdf"
    path.write_bytes(pdf(9, 99))
    given = [path, str(path), pdf(9, 99), bytearray(pdf(9, 99)), document(1, 2), wav(), png()]
    with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
        with path.open("rb") as opened:
            reasoner.ask(QUESTION, opened, *given[:-2])
        reasoner.ask(QUESTION, *given[-2:])
    assert [len(one.images) for one in seen] == [12, 1]
    assert kinds(seen[1]) == ["Audio", "Image", "Text"]


def test_options_choose_pages_and_what_the_draft_sees(pair: Pair) -> None:
    seen = watch(pair)
    with Reasoner(RunOptions(method="target", pages="2"), open_model=pair) as reasoner:
        reasoner.ask(QUESTION, pdf(9, 99, 200))
        options = RunOptions(method="target", pages="1,3", pdf_text="off")
        reasoner.ask(QUESTION, pdf(9, 99, 200), options=options)
        with pytest.raises(ConversationError, match="4"):
            reasoner.ask(QUESTION, pdf(9, 99, 200), options=RunOptions(method="target", pages="4"))
    assert [len(one.images) for one in seen] == [1, 2]
    with pytest.raises(BadOption, match="--pages: 'x' is not a selection of pages"):
        RunOptions(pages="x")


def test_a_spoken_question_needs_no_text(pair: Pair) -> None:
    seen = watch(pair)
    with Reasoner(RunOptions(method="target"), open_model=pair) as reasoner:
        assert reasoner.ask("", wav()).answer == "3.70"
        for attachments in ((), (png(),), (pdf(9),)):
            with pytest.raises(ConversationError, match="the question is empty"):
                reasoner.ask("", *attachments)
    assert kinds(seen[0]) == ["Audio"]


def test_a_further_question_about_a_file_does_not_read_it_again(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, reads, read = tmp_path / "bill.pdf", list[Any](), attachment_cache.read_attachment
    file.write_bytes(pdf(10, 200))

    def noted(source: Any, options: Any) -> Any:
        reads.append(source)
        return read(source, options)

    monkeypatch.setattr(attachment_cache, "read_attachment", noted)
    with Reasoner(RunOptions(method="sequential"), open_model=pair) as reasoner:
        for question in (QUESTION, "What is the total?"):
            assert reasoner.ask(question, file).answer
        assert len(reads) == 1
        reasoner.ask(QUESTION, file, options=RunOptions(method="sequential", pages="2"))
        assert len(reads) == 1
        reasoner.ask(QUESTION, file, cache_salt="of another client")
    assert len(reads) == 2
