"""The worker has every image that a message does not carry, whatever was sent and forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines.local import remembered as _remembered
from dreamr.engines.local.ipc import Forget, Frames, Remember, pack
from dreamr.engines.local.remembered import Remembered


def image(number: int) -> Image:
    """Return an image, another object each time."""
    return Image(bytes([number]) * 300, 10, 10)


def talk(question: int, *images: int) -> Conversation:
    parts = (*map(image, images), Text(f"Question {question}?"))
    return Conversation((Turn("user", parts),))


class Worker:
    """What a worker has of the conversations, by the messages that it gets."""

    def __init__(self) -> None:
        self.talks: dict[int, Conversation] = {}
        self.groups: dict[int, str] = {}
        self.carried: list[str] = []  # digests of the images in messages

    def get(self, message: Remember | Forget) -> None:
        [message] = Frames().feed(pack(message))
        if isinstance(message, Forget):
            del self.talks[message.key]
            return
        parts = [part for _, parts in message.turns for part in parts]
        self.carried += [part.digest for part in parts if isinstance(part, Image)]
        known = {one.digest: one for talk in self.talks.values() for one in talk.images}
        self.talks[message.key] = message.conversation(known)
        self.groups[message.key] = message.group


CALLS = st.tuples(
    st.booleans(), st.integers(0, 3), st.lists(st.integers(0, 4), max_size=3), st.sampled_from("ab")
)


@settings(deadline=None)
@given(st.lists(CALLS, max_size=40))
def test_a_worker_can_make_every_conversation_from_the_messages(
    calls: list[tuple[bool, int, list[int], str]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_remembered, "MOST", 4)
        patch.setattr(_remembered, "MOST_BYTES", 1500)
        remembered, worker = Remembered(), Worker()
        for forgets, question, images, salt in calls:
            asked = talk(question, *images)
            if forgets:
                gone = remembered.forget((asked, salt))
                if gone is not None:
                    worker.get(gone)
                continue
            key, news = remembered.key((asked, salt))
            for message in news:
                worker.get(message)
            assert worker.talks[key] == asked
            held = [one.data for talk in worker.talks.values() for one in talk.images]
            assert len(worker.talks) == 1 or sum(map(len, set(held))) <= 1500


def test_an_image_of_several_conversations_is_sent_and_held_once() -> None:
    remembered, worker = Remembered(), Worker()
    for asked in (talk(1, 1, 2), talk(2, 2, 1), talk(3, 1, 3)):
        for message in remembered.key((asked, None))[1]:
            worker.get(message)
    assert worker.carried == [image(number).digest for number in (1, 2, 3)]
    held = [one for conversation, _ in remembered._keys for one in conversation.images]
    assert len({id(one) for one in held}) == 3


def test_images_count_once_however_many_conversations_show_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_remembered, "MOST_BYTES", 600)
    remembered = Remembered()
    for question in range(10):
        remembered.key((talk(question, 1, 2), None))
    assert all((talk(question, 1, 2), None) in remembered for question in range(10))


def groups(remembered: Remembered, *asked: tuple[Conversation, str | None]) -> list[Any]:
    found = []
    for cached in asked:
        [message, *_] = remembered.key(cached)[1]
        assert isinstance(message, Remember)
        found.append(message.group)
    return found


def test_conversations_with_one_salt_are_a_group() -> None:
    first, other, second = groups(Remembered(), (talk(1), "a"), (talk(1), "b"), (talk(2), "a"))
    assert first == second != other


def test_a_conversation_that_was_forgotten_is_in_no_group_with_others() -> None:
    remembered = Remembered()
    for asked in (talk(1), talk(2), talk(2)):  # before it was sent, too
        remembered.forget((asked, None))
    once, twice, usual = groups(remembered, (talk(1), None), (talk(2), None), (talk(3), None))
    assert len({once, twice, usual}) == 3
    assert usual == ""
