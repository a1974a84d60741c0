"""What conversations take over from each other: beginnings of prompts, and image features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines import SamplingParams
from dreamr.engines.local.ipc import Remember, Stream
from dreamr.engines.local.load import Loaded
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.scheduler import Scheduler
from dreamr.engines.local.session import Session, used_bytes
from support.local_calls import judge, same, session_of, stream
from support.local_models import conversation, counted_passes, image, judging

SEEING = ("llava", "qwen2_5_vl", "qwen3_vl")
ASKED = "What do tea and milk cost together, and what is left of the coin that was paid with?"
NEXT = "Is the blue square larger than the red circle, and where in the image is each of them?"


def talk(question: str, *images: Image) -> Conversation:
    """Return a question after its images, each with a text before it, as pages have."""
    parts = [part for number, one in enumerate(images) for part in (Text(f"Page {number}:"), one)]
    return Conversation((Turn("user", (*parts, Text(question))),))


def following(before: Conversation, answer: str, question: str = NEXT) -> Conversation:
    """Return the next question of a conversation."""
    turns = (Turn("assistant", (Text(answer),)), Turn("user", (Text(question),)))
    return Conversation((*before.turns, *turns))


def session_beside(loaded: Loaded, conversation: Conversation, *peers: Session) -> Session:
    with torch.inference_mode():
        return Session(loaded, conversation, lambda: peers)


def taken_over(session: Session) -> int:
    """Return the number of tokens that the first call of a session need not read."""
    with torch.inference_mode():
        branch = session.acquire("stream", session.prompt)
        session.release(branch)
        found = len(branch.ids)
    session.branches.clear()
    return found


def texts(loaded: Loaded, session: Session) -> list[str]:
    return [piece.text for piece in stream(loaded, session)]


def end_of_images(session: Session) -> int:
    return max(place for place, seen in enumerate(session._seen) if seen) + 1


@contextmanager
def tower_runs(loaded: Loaded) -> Iterator[list[int]]:
    inner, runs = loaded.model.hf.model, list[int]()
    tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
    hook = tower.register_forward_hook(lambda *_: runs.append(1))
    yield runs
    hook.remove()


@pytest.mark.parametrize("family", SEEING)
def test_the_vision_tower_sees_an_image_of_several_conversations_once(
    loaded_models: dict[str, Loaded], family: str
) -> None:
    loaded = loaded_models[family]
    one, two, three = image(1), image(2, 60, 90), image(3)
    with tower_runs(loaded) as runs:
        first = session_of(loaded, talk(ASKED, one, two))
        assert len(runs) == 2
        second = session_beside(loaded, talk(NEXT, two, three, one), first)
        assert len(runs) == 3
        session_beside(loaded, talk(NEXT, three), first, second)
        assert len(runs) == 3
    assert texts(loaded, second) == texts(loaded, session_of(loaded, talk(NEXT, two, three, one)))


@pytest.mark.parametrize("family", SEEING)
def test_features_of_an_image_do_not_depend_on_the_images_beside_it(
    loaded_models: dict[str, Loaded], family: str
) -> None:
    loaded, one = loaded_models[family], image(1)
    alone = session_of(loaded, talk(ASKED, one)).features[one.digest]
    beside = session_of(loaded, talk(ASKED, image(2, 150, 40), one)).features[one.digest]
    assert torch.equal(alone.rows, beside.rows)
    assert all(map(torch.equal, alone.deep, beside.deep))


@pytest.mark.parametrize("family", SEEING)
def test_another_question_about_the_same_images_reads_only_the_question(
    loaded_models: dict[str, Loaded], family: str
) -> None:
    loaded, pages = loaded_models[family], (image(1), image(2, 60, 90))
    first = session_of(loaded, talk(ASKED, *pages))
    texts(loaded, first)
    second = session_beside(loaded, talk(NEXT, *pages), first)
    assert taken_over(second) >= end_of_images(second)
    assert texts(loaded, second) == texts(loaded, session_of(loaded, talk(NEXT, *pages)))


def test_the_next_question_of_a_conversation_reads_only_what_is_new(loaded: Loaded) -> None:
    pages = (image(1),) if loaded.model.takes_images else ()
    asked = talk(ASKED, *pages)
    first = session_of(loaded, asked)
    answer = "".join(texts(loaded, first))
    second = session_beside(loaded, following(asked, "Tea costs 3.20.\n\n" + answer), first)
    assert taken_over(second) >= len(first.prompt)
    alone = session_of(loaded, following(asked, "Tea costs 3.20.\n\n" + answer))
    assert texts(loaded, second) == texts(loaded, alone)
    judged = [judge(judging(loaded), one, (), ("Tea.",))[0] for one in (second, alone)]
    assert same(*judged)


def test_judge_calls_take_over_a_beginning_too(loaded: Loaded) -> None:
    pages = (image(1),) if loaded.model.takes_images else ()
    asked = talk(ASKED, *pages)
    first = session_of(loaded, asked)
    texts(loaded, first)
    second = session_beside(loaded, following(asked, "Tea costs 3.20."), first)
    with counted_passes(loaded) as rows:
        found = judge(judging(loaded), second, (), ("Tea.",))
    assert sum(rows) <= len(second.prompt) - len(first.prompt) + 60
    alone = judge(judging(loaded), session_of(loaded, following(asked, "Tea costs 3.20.")), (),
                  ("Tea.",))  # fmt: skip
    assert same(found[0], alone[0])


@pytest.mark.parametrize("family", SEEING)
@pytest.mark.parametrize("place", [0, 1])
def test_nothing_after_another_image_is_taken_over(
    loaded_models: dict[str, Loaded], family: str, place: int
) -> None:
    """Images of one size have the same tokens, whatever they show."""
    loaded, pages = loaded_models[family], [image(1), image(2)]
    first = session_of(loaded, talk(ASKED, *pages))
    texts(loaded, first)
    pages[place] = image(7)
    second = session_beside(loaded, talk(ASKED, *pages), first)
    assert second.prompt == first.prompt
    starts = [start for start, _ in second._shown]
    found = taken_over(second)
    assert found == (starts[place] if starts[place] >= 32 else 0)
    assert texts(loaded, second) == texts(loaded, session_of(loaded, talk(ASKED, *pages)))


@pytest.mark.parametrize("family", SEEING)
@pytest.mark.parametrize("sizes", [((100, 70), (40, 140)), ((100, 70), (150, 40), (64, 64))])
def test_conversations_that_share_some_images_share_them_up_to_the_first_other(
    loaded_models: dict[str, Loaded], family: str, sizes: list[tuple[int, int]]
) -> None:
    loaded = loaded_models[family]
    first = session_of(loaded, talk(ASKED, image(1), image(2), image(3, 90, 60)))
    texts(loaded, first)
    pages = [image(number + (number > 1), *size) for number, size in enumerate(sizes, 1)]
    second = session_beside(loaded, talk(ASKED, *pages), first)
    assert taken_over(second) <= second._shown[1][0]
    assert texts(loaded, second) == texts(loaded, session_of(loaded, talk(ASKED, *pages)))


def test_a_prefix_of_a_few_tokens_is_read_again(text_model: Loaded) -> None:
    first = session_of(text_model, conversation("Is it?"))
    texts(text_model, first)
    assert taken_over(session_beside(text_model, conversation("Was it?"), first)) == 0


def test_features_that_sessions_share_count_once(loaded_models: dict[str, Loaded]) -> None:
    loaded = loaded_models["qwen3_vl"]
    first = session_of(loaded, talk(ASKED, image(1)))
    second = session_beside(loaded, talk(NEXT, image(1)), first)
    [features] = first.features.values()
    assert used_bytes([first, second]) == features.nbytes
    assert first.nbytes == second.nbytes == features.nbytes
    first.shrink()
    assert used_bytes([first, second]) == features.nbytes
    second.shrink()
    assert used_bytes([first, second]) == 0


def rows_read(loaded: Loaded, *remembered: Remember) -> list[int]:
    """Return the rows that each of several conversations needs, one after the other."""
    endless = Loaded(loaded.model, loaded.prompter, frozenset())
    sent = list[Any]()
    scheduler = Scheduler(endless, judging(endless), LocalOptions(gather=0.0), sent.append)
    found = []
    for message in remembered:
        scheduler.handle(message)
        with counted_passes(loaded) as rows:
            scheduler.handle(Stream(message.key, message.key, (), SamplingParams(2)))
            while scheduler.work():
                pass
        found.append(sum(rows))
    assert {message.call for message in sent} == {one.key for one in remembered}
    return found


def test_only_conversations_of_one_group_share_prefixes(text_model: Loaded) -> None:
    asked = talk(ASKED)
    later = following(asked, "Tea costs 3.20.")
    fresh, alone, shared = rows_read(
        text_model,
        Remember.of(1, asked, "a"),
        Remember.of(2, later, "b"),
        Remember.of(3, later, "a"),
    )
    assert alone > fresh
    assert shared < alone - fresh + 10


def test_a_conversation_that_was_forgotten_gives_nothing_to_others(text_model: Loaded) -> None:
    from dreamr.engines.local.remembered import Remembered

    asked, remembered = talk(ASKED), Remembered()
    messages = []
    for _ in range(3):
        messages += remembered.key((asked, None))[1]
        remembered.forget((asked, None))
    assert len(set(rows_read(text_model, *messages[1:]))) == 1
