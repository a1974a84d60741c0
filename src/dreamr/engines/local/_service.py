"""What a worker does with messages: one unit of work at a time, judging first.

A unit is a judging pass, a stretch of a prompt, or one token of one stream. Streams take turns, so
a place where several of them could share a forward pass is `_turn`. Between two units the worker
reads its messages: a cancelled call costs one more unit at most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from dreamr.conversation import Conversation
from dreamr.engines.local._judge import Judging
from dreamr.engines.local._load import Loaded, one_line
from dreamr.engines.local._options import LocalOptions, Questions
from dreamr.engines.local._session import Session
from dreamr.engines.local._stream import StreamTask
from dreamr.engines.local._wire import (
    Cancel,
    Extend,
    Failed,
    Forget,
    Judge,
    Judged,
    Remember,
    Stream,
    Taken,
)
from dreamr.errors import DreamrError, EngineError, Unsupported

_HEED = 0.002  # seconds: an engine that has heard verdicts says within one what follows


@dataclass(slots=True)
class _Known:
    """A conversation, and what has been computed for it once a call has needed that."""

    conversation: Conversation
    session: Session | None = None


def judging_or_why_not(
    loaded: Loaded, questions: Questions, options: LocalOptions
) -> Judging | str:
    """How the model judges, or what is in the way: drafts need not be able to."""
    try:
        return Judging(loaded, questions, options.labels, options.prefill)
    except EngineError as error:
        return one_line(error)


class Service:
    """The calls of one engine.

    judging: how, or why the model cannot. send: takes the answers.
    """

    def __init__(
        self,
        loaded: Loaded,
        judging: Judging | str,
        options: LocalOptions,
        send: Callable[[Any], None],
    ) -> None:
        self._loaded, self._judging, self._options, self._send = loaded, judging, options, send
        self._known: OrderedDict[int, _Known] = OrderedDict()
        # With its conversation, which may be forgotten while a call waits.
        self._judges: deque[tuple[Judge, _Known]] = deque()
        self._opening: deque[tuple[Stream, _Known]] = deque()
        self._streams: deque[StreamTask] = deque()
        self._judged = False  # whether the last unit was a judging pass

    @property
    def patience(self) -> float:
        """How long to wait for messages before the next unit, in seconds.

        Verdicts that were just sent have mostly made an end of the stream that would be advanced
        next. To hear of it takes less than a token.
        """
        return _HEED if self._judged else 0.0

    @property
    def sessions(self) -> list[Session]:
        """All conversations with something computed, the least recently used first."""
        return [known.session for known in self._known.values() if known.session is not None]

    def handle(self, message: Any) -> None:
        """Take a message; no model runs in here."""
        match message:
            case Remember(key, conversation):
                self._known[key] = _Known(conversation)
            case Forget(key):
                self._known.pop(key, None)
            case Stream():
                self._opening.append((message, self._touch(message.key)))
            case Judge():
                self._judges.append((message, self._touch(message.key)))
            case Extend(call, candidates):
                self._extend(call, candidates)
            case Taken(call, tokens):
                self._grant(call, tokens)
            case Cancel(call):
                self._cancel(call)

    def work(self) -> bool:
        """Do one unit; False if there is nothing to do until a message comes."""
        self._judged = bool(self._judges)
        with torch.inference_mode():
            if self._judges:
                judge, known = self._judges.popleft()
                self._guarded(judge.call, partial(self._judge, judge, known))
            elif self._opening:
                stream, known = self._opening.popleft()
                self._guarded(stream.call, partial(self._open, stream, known))
            else:
                return self._turn()
        return True

    def _turn(self) -> bool:
        """Advance the next stream that has credit."""
        for _ in range(len(self._streams)):
            task = self._streams.popleft()
            self._streams.append(task)
            if task.credit > 0:
                if not self._guarded(task.call, partial(self._advance, task)):
                    self._close(task)
                return True
        return False

    def _advance(self, task: StreamTask) -> None:
        piece = task.advance()
        if piece is None:
            return
        task.credit -= 1
        if piece.finish is not None:
            self._close(task)
        if (gathered := task.gather(piece, self._options.gather)) is not None:
            self._send(gathered)

    def _judge(self, judge: Judge, known: _Known) -> None:
        if isinstance(self._judging, str):
            raise Unsupported(f"this model cannot judge: {self._judging}")
        session = self._session(known)
        evidence = self._judging.judge(session, judge.prefix, judge.candidates, judge.query)
        self._send(Judged(judge.call, evidence))
        self._trim()

    def _open(self, stream: Stream, known: _Known) -> None:
        task = StreamTask(
            stream.call,
            self._session(known),
            stream.prefix,
            stream.sampling,
            loaded=self._loaded,
            credit=self._options.ahead,
            prefill=self._options.prefill,
        )
        self._streams.append(task)
        self._trim()

    def _touch(self, key: int) -> _Known:
        self._known.move_to_end(key)
        return self._known[key]

    def _session(self, known: _Known) -> Session:
        if known.session is None:
            known.session = Session(self._loaded, known.conversation)
        return known.session

    def _trim(self) -> None:
        """Drop what was used longest ago until the rest fits; nothing that is in use."""
        sessions = self.sessions
        total = sum(session.nbytes for session in sessions)
        for session in sessions:
            if total <= self._options.cache_bytes:
                return
            total -= session.shrink()

    def _extend(self, call: int, candidates: tuple[str, ...]) -> None:
        for place, (judge, known) in enumerate(self._judges):
            if judge.call == call:
                longer = judge._replace(candidates=judge.candidates + candidates)
                self._judges[place] = longer, known

    def _grant(self, call: int, tokens: int) -> None:
        for task in self._streams:
            if task.call == call:
                task.credit += tokens

    def _cancel(self, call: int) -> None:
        self._judges = deque(item for item in self._judges if item[0].call != call)
        self._opening = deque(item for item in self._opening if item[0].call != call)
        for task in [task for task in self._streams if task.call == call]:
            self._close(task)

    def _close(self, task: StreamTask) -> None:
        if task in self._streams:
            self._streams.remove(task)
            task.close()

    def _guarded(self, call: int, unit: Callable[[], None]) -> bool:
        """Run a unit; what goes wrong is told to its caller and hurts nobody else."""
        try:
            unit()
        except DreamrError as error:
            self._send(Failed(call, type(error).__name__, one_line(error)))
            return False
        except Exception as error:
            text = f"the model failed: {type(error).__name__}: {one_line(error)}"
            self._send(Failed(call, "EngineError", text))
            return False
        return True
