"""The Telegram bot of the examples, over the gateway with the embedded pair."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image
import pytest
from dreamr_testbed import RECEIPT

from dreamr import RunOptions
from dreamr.engines import open_model
from support.attachments import wav
from support.listening import listening
from support.sounds import Scripted
from support.telegram import TOKEN, Telegram, telegram

pytest.importorskip("telegram")
pytestmark = pytest.mark.slow

BOT = Path(__file__).parents[1] / "examples" / "telegram" / "bot.py"
QUESTION = "What do tea and milk cost together?"


@contextmanager
def running(gateway: str) -> Iterator[Telegram]:
    with telegram() as (state, api):
        given = {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_API": api, "PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(
            [sys.executable, str(BOT), f"{gateway}/v1"],
            env={**os.environ, **given},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield state
            assert process.poll() is None
        finally:
            process.terminate()
            _, said = process.communicate(timeout=30)
        assert "Traceback" not in said, said


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """A gateway with the embedded pair, and a transcriber that hears the question."""
    with listening(
        open_model,  # type: ignore[arg-type]
        RunOptions(deterministic=True, transcriber="small"),
        lambda spec, model: Scripted({None: QUESTION}),  # type: ignore[arg-type,return-value]
    ) as url:
        yield url


@pytest.fixture(scope="module")
def started(gateway: str) -> Iterator[Telegram]:
    with running(gateway) as state:
        yield state


@pytest.fixture
def bot(started: Telegram) -> Telegram:
    """The bot over the gateway, in a chat that no other test has used."""
    started.open_chat()
    return started


def page() -> bytes:
    out = io.BytesIO()
    with PIL.Image.open(RECEIPT) as receipt:
        receipt.save(out, "PDF", resolution=receipt.width / 2, quality=95)
    return out.getvalue()


def photograph(bot: Telegram) -> list[dict[str, object]]:
    size = {"width": 100, "height": 100}
    small, large = bot.attach("small", b"not this one"), bot.attach("large", RECEIPT.read_bytes())
    return [{**small, **size}, {**large, **size}]


def test_a_photograph_is_answered_and_its_steps_are_shown(bot: Telegram) -> None:
    bot.say("/steps")
    bot.wait("There is no answer yet.")
    bot.busy = 1
    bot.say(photo=photograph(bot), caption=QUESTION)
    bot.wait("28")
    assert bot.edits[-1] == "28"
    assert "sendChatAction" in bot.calls
    bot.say("/steps")
    steps = bot.wait("✓ ").splitlines()
    assert "✓ Line 2: tea 3 x 4 = 12." in steps
    assert steps[-1] == "→ Answer: 28"


def test_a_pdf_file_waits_for_its_question_and_is_forgotten(bot: Telegram) -> None:
    bot.say(document={**bot.attach("r.pdf", page()), "file_name": "r.pdf"})
    bot.wait("What would you like to know about it?")
    bot.say(QUESTION)
    bot.wait("28")
    bot.say("/new")
    bot.wait("Forgotten.")
    bot.say("/steps")
    bot.wait("There is no answer yet.")


def test_a_voice_message_is_a_question(bot: Telegram) -> None:
    bot.say(photo=photograph(bot))
    bot.wait("What would you like to know about it?")
    bot.say(voice={**bot.attach("v", wav()), "duration": 1})
    assert bot.wait("28") == f"“{QUESTION}”\n\n28"


def test_what_goes_wrong_is_said_in_the_chat(bot: Telegram) -> None:
    bot.say(document={**bot.attach("a.zip", b"PK\3\4 zip"), "file_name": "a.zip"}, caption="What?")
    bot.wait("That did not work: ")
    bot.say(document={"file_id": "gone", "file_unique_id": "g", "file_size": 3}, caption="What?")
    bot.wait("The file could not be fetched: ")
    bot.say(document={"file_id": "big", "file_unique_id": "b", "file_size": 2**30}, caption="What?")
    bot.wait("The file is too large: send at most 20 MB.")


def test_without_a_gateway_the_bot_says_so() -> None:
    with running("http://127.0.0.1:1") as bot:
        bot.say("/start")
        bot.wait("Send a question, with a photograph or PDF file")
        bot.say(QUESTION)
        bot.wait("The models cannot be reached now.")


def test_without_a_token_the_bot_says_where_to_get_one() -> None:
    given = {name: value for name, value in os.environ.items() if name != "TELEGRAM_TOKEN"}
    done = subprocess.run(
        [sys.executable, str(BOT)], env=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "TELEGRAM_TOKEN is not set: ask @BotFather for a token\n"
