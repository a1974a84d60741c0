from __future__ import annotations

import dataclasses

import pytest

from dreamr.conversation import (
    Audio,
    BadConversation,
    Conversation,
    Document,
    Image,
    Text,
    Turn,
    Video,
)
from dreamr.errors import ConversationError

DOT = Image(b"\0\0\0", 1, 1)


def test_a_question_about_images_puts_the_images_first() -> None:
    asked = Conversation.from_prompt("What is it?", DOT, DOT, system="Be brief.")
    assert asked.turns == (
        Turn("system", (Text("Be brief."),)),
        Turn("user", (DOT, DOT, Text("What is it?"))),
    )
    assert asked.images == (DOT, DOT)


def test_conversations_are_values() -> None:
    first, second = (
        Conversation.from_prompt("Q", Image(b"abc", 1, 1, name)) for name in ("a", "b")
    )
    assert first == second
    assert len({first, second}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.turns = ()  # type: ignore[misc]


@pytest.mark.parametrize("question", ["", "  \n"])
def test_a_blank_question_is_refused(question: str) -> None:
    with pytest.raises(BadConversation, match="empty"):
        Conversation.from_prompt(question, DOT)


def test_half_of_a_character_is_refused_without_showing_the_text() -> None:
    with pytest.raises(BadConversation, match="half of a character") as found:
        Conversation.from_prompt("s3cret \ud83d")
    assert "s3cret" not in str(found.value)
    with pytest.raises(BadConversation, match="half of a character"):
        Conversation.from_prompt("What is this?", system="\udc00")


@pytest.mark.parametrize("turns", [(), (Turn("assistant", (Text("Hello"),)),)])
def test_the_last_turn_must_be_the_users(turns: tuple[Turn, ...]) -> None:
    with pytest.raises(ConversationError, match="user"):
        Conversation(turns).check()


def test_sound_is_a_question_without_text() -> None:
    spoken = Conversation.from_prompt("", Audio(b"RIFF", 1.0))
    assert isinstance(spoken.turns[-1].parts[0], Audio)
    with pytest.raises(BadConversation, match="empty"):
        Conversation.from_prompt("", Video((), 1.0), Document((), 1))


@pytest.mark.parametrize(("pixels", "width", "height"), [(b"", 0, 0), (b"abc", 2, 1)])
def test_an_image_must_have_its_pixels(pixels: bytes, width: int, height: int) -> None:
    with pytest.raises(ValueError, match="RGB image"):
        Image(pixels, width, height)


def test_the_representation_of_an_image_is_short() -> None:
    assert len(repr(Image(bytes(30_000), 100, 100, "x.png"))) < 80
