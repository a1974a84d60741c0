"""A Telegram bot in front of `dreamr serve`: photographs, PDF files and voice messages in.

pip install openai python-telegram-bot
TELEGRAM_TOKEN=123:ABC python examples/telegram/bot.py [http://localhost:8500/v1]
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from openai import APIConnectionError, APIError, AsyncOpenAI
from telegram import Message, Update
from telegram.error import BadRequest, RetryAfter, TelegramError
from telegram.ext import Application, CommandHandler, ContextTypes, MessageHandler, filters

HELP = (
    "Send a question, with a photograph or PDF file if you like, or a voice message.\n"
    "/steps: the steps of the last answer\n/new: forget this conversation"
)
EDIT_SECONDS = 1.5  # between two edits of a message: Telegram allows about one a second
MOST_TEXT = 4096  # characters of a message
MOST_FILE = 20 * 2**20  # bytes: bots cannot download more
MOST_HISTORY = 12  # messages of a conversation that are sent again
MOST_HISTORY_BYTES = 32 * 2**20
MOST_CHATS = 1000

Json = dict[str, Any]


@dataclass
class Chat:
    """What the bot knows of one chat."""

    history: list[Json] = field(default_factory=list)
    waiting: list[Json] = field(default_factory=list)  # attachments without a question so far
    steps: list[str] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """Begin a new conversation."""
        self.history, self.waiting, self.steps = [], [], []

    def add(self, question: list[Json], answer: str) -> None:
        """Keep an exchange, and drop the oldest ones that are too many or too large."""
        self.history += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        while len(self.history) > 2 and (
            len(self.history) > MOST_HISTORY or len(str(self.history)) > MOST_HISTORY_BYTES
        ):
            del self.history[:2]


class Draft:
    """A message that grows: it is edited at most once in `EDIT_SECONDS`."""

    def __init__(self, message: Message) -> None:
        self._message, self._next, self._shown = message, 0.0, ""

    async def show(self, text: str) -> None:
        """Show the end of a text, if the time for an edit has come."""
        text = text.strip()[-MOST_TEXT + 2 :]
        if text and text != self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + EDIT_SECONDS
            try:
                await self._message.edit_text(f"{text} …")
                self._shown = text
            except RetryAfter as error:
                self._next = time.monotonic() + seconds(error)
            except TelegramError:
                pass  # a later edit shows it

    async def finish(self, text: str) -> None:
        """Show the whole text, in further messages if it is long."""
        parts = split(text.strip() or "There is no answer.")
        await patiently(self._message.edit_text, parts[0])
        for part in parts[1:]:
            await patiently(self._message.reply_text, part)


class Bot:
    """The handlers of the bot."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self.client, self.chats = client, dict[int, Chat]()

    def chat(self, update: Update) -> Chat:
        """Return the chat of an update; the one that was quiet for longest is forgotten."""
        key = update.effective_chat.id
        self.chats[key] = self.chats.pop(key, None) or Chat()
        if len(self.chats) > MOST_CHATS:
            del self.chats[next(iter(self.chats))]
        return self.chats[key]

    async def help(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        """Say what the bot can do."""
        await update.effective_message.reply_text(HELP)

    async def new(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        """Forget the conversation."""
        self.chat(update).forget()
        await update.effective_message.reply_text("Forgotten. What is your question?")

    async def steps(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        """Show which steps of the draft were accepted, and which were corrected."""
        text = "\n".join(self.chat(update).steps) or "There is no answer yet."
        for part in split(text):
            await update.effective_message.reply_text(part)

    async def message(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        """Answer a question, or keep an attachment until its question comes."""
        message, chat = update.effective_message, self.chat(update)
        async with chat.lock:  # questions of a chat one after the other
            try:
                attached = await attachment(message)
            except ValueError as error:
                await message.reply_text(str(error))
                return
            except TelegramError as error:
                await message.reply_text(f"The file could not be fetched: {error.message}")
                return
            chat.waiting += [attached] if attached else []
            text = message.text or message.caption
            if not text and not message.voice:
                await message.reply_text("What would you like to know about it?")
                return
            question, chat.waiting = chat.waiting, []
            question += [{"type": "text", "text": text}] if text else []
            await message.chat.send_action("typing")
            draft = Draft(await message.reply_text("…"))
            try:
                answer = await self.answer(chat, question, draft)
            except APIConnectionError:
                answer = "The models cannot be reached now. Please try again later."
            except APIError as error:
                answer = f"That did not work: {error.message}"
            await draft.finish(answer)

    async def answer(self, chat: Chat, question: list[Json], draft: Draft) -> str:
        """Ask the gateway, show the reasoning as it comes, and return the answer."""
        stream = await self.client.chat.completions.create(
            model="dreamr",
            messages=[*chat.history, {"role": "user", "content": question}],
            stream=True,
            extra_body={"dreamr": {"events": True}},
        )
        steps: list[str] = []
        reasoning, answer, heard = "", "", ""
        async for chunk in stream:
            event = ((chunk.model_extra or {}).get("dreamr") or {}).get("event") or {}
            steps += described(event)
            if event.get("event") == "SpeechTranscribed":
                heard = f"“{event['text'].strip()}”\n\n"
            for choice in chunk.choices:
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                answer += choice.delta.content or ""
            await draft.show(heard + (answer or reasoning))
        chat.steps = steps
        chat.add(question, answer)
        return heard + answer


def described(event: Json) -> list[str]:
    """Return the line of `/steps` for an event of a run."""
    match event:
        case {"event": "StepRejected", "step": {"text": text}}:
            return [f"✗ {text.strip()}"]
        case {"event": "StepCommitted", "source": "draft", "step": {"text": text}}:
            return [f"✓ {text.strip()}"]
        case {"event": "StepCommitted", "step": {"text": text}}:
            return [f"→ {text.strip()}"]
    return []


async def attachment(message: Message) -> Json | None:
    """Return what is attached to a message as a part of a request.

    Raises:
        ValueError: If it is too large.
    """
    sent = message.photo[-1] if message.photo else message.document or message.voice
    if sent is None:
        return None
    if (sent.file_size or 0) > MOST_FILE:
        raise ValueError(f"The file is too large: send at most {MOST_FILE >> 20} MB.")
    data = await (await sent.get_file()).download_as_bytearray()
    encoded = b64encode(data).decode()
    if message.voice:
        return {"type": "input_audio", "input_audio": {"data": encoded, "format": "ogg"}}
    name = getattr(sent, "file_name", None) or "photograph.jpg"
    return {"type": "file", "file": {"filename": name, "file_data": encoded}}


def split(text: str) -> list[str]:
    """Split a text into messages, between lines where that is possible."""
    parts = []
    while len(text) > MOST_TEXT:
        end = text.rfind("\n", 1, MOST_TEXT)
        end = end if end > 0 else MOST_TEXT
        parts.append(text[:end])
        text = text[end:].lstrip("\n")
    return [*parts, text]


def seconds(error: RetryAfter) -> float:
    """Return how long Telegram wants the bot to wait."""
    wanted = error.retry_after
    return wanted if isinstance(wanted, int | float) else wanted.total_seconds()


async def patiently(send: Any, text: str) -> None:
    """Send or edit a message, again after the pauses that Telegram asks for."""
    for _ in range(5):
        try:
            await send(text)
            return
        except RetryAfter as error:
            await asyncio.sleep(seconds(error))
        except BadRequest as error:
            if "not modified" in error.message.lower():
                return
            raise


def main(url: str, token: str, api: str) -> None:
    """Run the bot until Ctrl-C."""
    bot = Bot(AsyncOpenAI(base_url=url, api_key=os.environ.get("DREAMR_API_KEY") or "none"))
    builder = Application.builder().token(token).concurrent_updates(64)
    app = builder.base_url(f"{api}/bot").base_file_url(f"{api}/file/bot").build()
    app.add_handler(CommandHandler(["start", "help"], bot.help))
    app.add_handler(CommandHandler("new", bot.new))
    app.add_handler(CommandHandler("steps", bot.steps))
    kinds = filters.TEXT | filters.PHOTO | filters.Document.ALL | filters.VOICE
    app.add_handler(
        MessageHandler(filters.UpdateType.MESSAGE & ~filters.COMMAND & kinds, bot.message)
    )
    app.run_polling(allowed_updates=[Update.MESSAGE])


if __name__ == "__main__":
    if "TELEGRAM_TOKEN" not in os.environ:
        sys.exit("TELEGRAM_TOKEN is not set: ask @BotFather for a token")
    main(
        sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8500/v1",
        os.environ["TELEGRAM_TOKEN"],
        os.environ.get("TELEGRAM_API", "https://api.telegram.org"),
    )
