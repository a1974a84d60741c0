"""A valid request and the state of its reply."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio

from dreamr.conversation import Conversation
from dreamr.runner import SignalQueue
from dreamr.serving.gateway.apis.choices import ChoiceEvent
from dreamr.serving.gateway.apis.parsed import ParsedRequest
from dreamr.serving.gateway.apis.protocol import Reply
from dreamr.serving.gateway.apis.summary import Summary
from dreamr.serving.gateway.attempt_log import AttemptLog
from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.keys import Client
from dreamr.serving.gateway.logs import log
from dreamr.serving.gateway.media import ReceivedMessage
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.public_text import PublicText
from dreamr.serving.gateway.quotas import Quota
from dreamr.serving.gateway.read_files import describe_attachments
from dreamr.speech import with_transcripts
from dreamr.trace import (
    AnswerExtended,
    CommittedStep,
    Event,
    JudgeEnded,
    Note,
    SpeechTranscribed,
    StepCommitted,
)

Piece: TypeAlias = Event | ApiError


@dataclass(slots=True)
class Job:
    """A valid request and the state of its reply.

    Attributes:
        client: Who sent it.
        parsed: The request.
        messages: Its messages with all attachments received; none once they are decoded.
        lease: What it holds of the memory that all requests share.
        reply: Builder of the reply.
        summary: Describes the run.
        began: Time of the request.
        quota: What is left to the client.
        public: Takes the locations of models out of texts.
        conversation: Its messages with all attachments read, which happens after admission.
        heard: What was heard in each of its sounds, if they were transcribed.
        on_heard: Called when that has changed.
        pieces: Events of the run, then an error if it failed.
        over: Whether the outcome is logged.
        left: Seconds until its deadline when the run began, None before.
        first: Seconds to the first committed step.
        committed: Steps of the interrupted run that this one continues.
        attempt: What later attempts at the request will find, if it can be repeated.
        from_event: Number of the first event that the client gets, in APIs that number them.
        patient: Whether it waits for a place even if the queue is full: it was accepted before.
    """

    client: Client
    parsed: ParsedRequest
    messages: tuple[ReceivedMessage, ...]
    lease: Lease
    reply: Reply
    summary: Summary
    began: float
    quota: Quota
    public: PublicText
    conversation: Conversation | None = None
    heard: list[str] = field(default_factory=list)
    on_heard: Callable[[], None] = lambda: None
    pieces: SignalQueue[Piece] = field(default_factory=SignalQueue)
    over: bool = False
    left: float | None = None
    first: float | None = None
    committed: tuple[CommittedStep, ...] = ()
    attempt: AttemptLog | None = None
    from_event: int = 0
    patient: bool = False

    def __post_init__(self) -> None:
        if self.attempt is not None:
            self.attempt.on_lost = self.pieces.put

    async def next(self) -> Piece:
        """Return the next event of the run, or its error; steps are kept for later attempts."""
        piece = await self.pieces.get()
        if self.attempt is not None and not isinstance(piece, ApiError):
            with anyio.CancelScope(shield=True):  # in bounded time
                await self.attempt.note(piece)
        return piece

    def sent(self, data: bytes) -> None:
        """Note a part of the answer, for later attempts at the request."""
        if self.attempt is not None:
            self.attempt.sent(data)

    @property
    def id(self) -> str:
        """Id of the response."""
        return self.reply.id

    @property
    def written(self) -> Conversation | None:
        """The conversation with what was heard in place of its sounds; None before it is read."""
        if self.conversation is None:
            return None
        if len(self.heard) != len(self.conversation.sounds):
            return self.conversation
        return with_transcripts(self.conversation, self.heard)

    def take(self, conversation: Conversation) -> None:
        """Take the messages with all attachments read."""
        self.conversation, self.messages = conversation, ()
        self.summary.attachments = describe_attachments(conversation)

    def on_event(self, event: Event, choice: int | None = None) -> None:
        """Queue an event of a run for the client.

        Args:
            event: The event.
            choice: Number of the run, if the request has several.
        """
        if isinstance(event, SpeechTranscribed) and not choice:  # all runs hear the same
            self.heard.append(event.text)
            self.on_heard()
        if isinstance(event, AnswerExtended) and self.first is None:
            self.first = time.perf_counter() - self.began
        if isinstance(event, StepCommitted) and event.position >= len(self.committed):
            self.quota.spend(event.step.tokens)
            if self.first is None:
                self.first = time.perf_counter() - self.began
        if isinstance(event, Note) or (isinstance(event, JudgeEnded) and event.error):
            text = event.message if isinstance(event, Note) else event.error
            log(logging.INFO, "note of a run: %s", text)  # clients do not see locations
        shown = self.public.event(event)
        self.pieces.put(shown if choice is None else ChoiceEvent(event.time, choice, shown))
