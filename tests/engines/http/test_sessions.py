"""Names of conversations for routers."""

from __future__ import annotations

import os
import subprocess
import sys

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines.call_labels import CallLabels, labeled_calls
from dreamr.engines.http.sessions import Sessions

TALK = Conversation.from_prompt("How many?", system="Be brief.")
LATER = (Turn("assistant", (Text("Two."),)), Turn("user", (Text("And here?"),)))
PRINTED = """
from dreamr.conversation import Conversation
from dreamr.engines.http.sessions import Sessions
print(Sessions().name(Conversation.from_prompt("How many?", system="Be brief.")))
"""


def test_later_turns_of_a_conversation_name_the_same_session() -> None:
    assert Sessions().name(Conversation(TALK.turns + LATER)) == Sessions().name(TALK)


def test_conversations_that_begin_differently_name_different_sessions() -> None:
    image = Image(bytes(300), 10, 10)
    begun = [
        TALK,
        Conversation.from_prompt("How many?"),
        Conversation.from_prompt("How many?", system="Be brief. "),
        Conversation.from_prompt("Be brief.How many?"),
        Conversation.from_prompt("How many?", image),
        Conversation.from_prompt(f"media{image.digest}"),
    ]
    assert len({Sessions().name(talk) for talk in begun}) == len(begun)


def test_processes_give_a_conversation_the_same_name() -> None:
    names = {
        subprocess.run(
            [sys.executable, "-c", PRINTED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert names == {f"{Sessions().name(TALK)}\n"}


def test_the_session_of_a_client_is_named_in_place_of_the_conversation() -> None:
    other = Conversation.from_prompt("Else?")
    names = []
    for talk, session in ((TALK, "a"), (other, "a"), (TALK, "b"), (TALK, None)):
        with labeled_calls(CallLabels(session=session)):
            names.append(Sessions().name(talk))
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_questions_about_the_same_images_name_the_same_session() -> None:
    sessions = Sessions()
    one, two = (Image(bytes([shade]) * 300, 10, 10) for shade in (1, 2))
    first = Conversation.from_prompt("How many?", one, two)
    turns = (Turn("assistant", (Text("Two."),)), Turn("user", (two, Text("And here?"))))
    alike = [first, Conversation.from_prompt("Why?", one, two), Conversation(first.turns + turns)]
    others = [Conversation.from_prompt("How many?", *seen) for seen in ((two, one), (one,), ())]
    assert len({sessions.name(talk) for talk in alike}) == 1
    assert len({sessions.name(talk) for talk in (first, *others)}) == 4
