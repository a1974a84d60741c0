"""Engine that runs a model in a worker process: many calls over one non-blocking socket."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from dreamr import errors
from dreamr.conversation import Conversation
from dreamr.engines.call_labels import call_labels
from dreamr.engines.lifecycle import ClosingEngine
from dreamr.engines.local.abilities import capabilities
from dreamr.engines.local.answering import AnswersLocally
from dreamr.engines.local.ipc import (
    Cancel,
    CountReply,
    CountRequest,
    ExtendJudge,
    Failed,
    Frames,
    JudgeReply,
    JudgeRequest,
    Piece,
    Ready,
    Stream,
    Taken,
    pieces,
)
from dreamr.engines.local.options import Hints, LocalOptions
from dreamr.engines.local.process import WorkerProcess
from dreamr.engines.local.remembered import Remembered
from dreamr.engines.local.tool_calls import Wanted
from dreamr.engines.protocol import Candidates, Capabilities, Chunk, Context, SamplingParams
from dreamr.errors import DreamrError, EngineError, EngineLost
from dreamr.gate import VERDICT, Evidence, Query

_READ = 2**16
_SENDS = 8  # most pieces sent before the event loop has its turn


class _Call:
    """Replies to one call, and the future of the caller that waits for the next one."""

    __slots__ = ("_arrived", "_waiter")

    def __init__(self) -> None:
        self._arrived: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: Any) -> None:
        self._arrived.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Any:
        while not self._arrived:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._arrived.popleft()
        if isinstance(message, Exception):
            raise message
        return message


class LocalEngine(AnswersLocally, ClosingEngine):
    """A transformers model in its own worker process.

    The worker starts when the object is created, so engines created one after the other load
    concurrently. `start` waits until the model is loaded; every call waits for that too. Use the
    engine from one asyncio event loop at a time. The engine's own process never imports torch.

    Args:
        model: Model folder or Hugging Face ID. Supported are LLaVA, Qwen2.5-VL, Qwen3-VL and text
            models that consist of a decoder and a head.
        options: How to run the model.
    """

    def __init__(self, model: str, options: LocalOptions | None = None) -> None:
        self._model = str(model)
        self._options = options or LocalOptions()
        on_cpu = self._options.device in ("cpu", "auto")
        self._process = WorkerProcess(self._options.threads if on_cpu else None)
        self._link = self._process.link
        self._link.setblocking(False)
        self._reaper = weakref.finalize(self, self._process.end)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._frames = Frames()
        self._unsent: deque[memoryview] = deque()
        self._writing = False  # whether the event loop calls `_flush` when the socket is writable
        self._calls: dict[int, _Call] = {}
        self._last_call = 0
        self._remembered = Remembered()
        self._heard = time.monotonic()  # time of the worker's last message
        self._ready: Ready | None = None
        self._lost: DreamrError | None = None
        self._starting: list[_Call] = []
        self._send((self._model, self._options))

    @classmethod
    async def open(cls, model: str, options: LocalOptions | None = None) -> Self:
        """Return an engine whose model is loaded. Raises the errors of `start`."""
        return await cls(model, options).started()

    async def start(self) -> None:
        """Wait until the model is loaded.

        Raises:
            ModelNotFound: If the folder or id does not lead to a loadable model.
            EngineLost: If the worker process died.
        """
        self._attach()
        if self._ready is None and self._lost is None:
            waiting = _Call()
            self._starting.append(waiting)
            await waiting.get()
        self._check()

    @property
    def name(self) -> str:
        """Model folder or Hugging Face ID, as given."""
        return self._model

    @property
    def options(self) -> LocalOptions:
        """Options of the worker."""
        return self._options

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do. Before `start`, what most models can do."""
        return capabilities(self._ready)

    @property
    def hints(self) -> Hints:
        """Hints from the model's folder. Available after `start`."""
        return self._loaded.hints

    @property
    def opens_thought(self) -> bool:
        """Whether the chat template opens a thought. Available after `start`."""
        return self._loaded.opens_thought

    @property
    def judge_prompt(self) -> str:
        """Question that is asked about each judged step. Available after `start`."""
        return self._loaded.judge_prompt

    @property
    def context(self) -> int:
        """Context length of the model in tokens. Available after `start`."""
        return self._loaded.context

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def stream(self, context: Context, sampling: SamplingParams) -> AsyncGenerator[Chunk, None]:
        """Continue the prefix; see `Engine.stream`.

        Raises:
            ContextTooLong: If conversation and prefix leave no room for a token.
            Unsupported: If the model does not accept a part of the conversation.
            EngineLost: If the worker process died.
        """
        return self._chunks(context, sampling)

    async def _chunks(
        self, context: Context, sampling: SamplingParams, wanted: Wanted | None = None
    ) -> AsyncGenerator[Chunk, None]:
        await self.start()
        key = self._key(context.conversation)
        number, call = self._new_call()
        self._send(Stream(number, key, context.prefix, sampling, wanted))
        batch = max(1, self._options.ahead // 2)
        taken, finished = 0, False
        try:
            while not finished:
                piece: Piece = await call.get()
                finished = piece.finish is not None
                taken += piece.tokens
                if taken >= batch and not finished:
                    self._send(Taken(number, taken))
                    taken = 0
                yield Chunk(*piece[1:])  # has the same fields
        finally:
            self._end_call(number, cancel=not finished)

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Judge consecutive steps in one forward pass; see `Engine.judge`.

        Raises:
            ContextTooLong: If prefix, steps and question exceed the context length.
            Unsupported: If the model does not accept a part of the conversation, or if its
                tokenizer or chat template does not allow judging.
            EngineLost: If the worker process died.
        """
        await self.start()
        key = self._key(context.conversation)
        number, call = self._new_call()
        self._send(JudgeRequest(number, key, context.prefix, tuple(candidates), query))
        if isinstance(candidates, Candidates):
            candidates.listen(lambda text: self._extend(number, text))
        try:
            answer: JudgeReply | None = None
            answer = await call.get()
            return answer.evidence
        finally:
            self._end_call(number, cancel=answer is None)

    async def count(self, conversation: Conversation) -> int:
        """Return the number of prompt tokens of a conversation; see `Engine.count`.

        Raises:
            ContextTooLong: If the conversation exceeds the context length.
            Unsupported: If the model does not accept a part of the conversation.
            EngineLost: If the worker process died.
        """
        await self.start()
        key = self._key(conversation)
        number, call = self._new_call()
        self._send(CountRequest(number, key))
        try:
            answer: CountReply = await call.get()
            return answer.tokens
        finally:
            self._end_call(number, cancel=False)

    @property
    def alive(self) -> bool:
        """Whether calls can succeed: False once the worker has died or the engine is closed."""
        return self._lost is None

    def note_stall(self, seconds: float) -> None:
        """Count the worker as lost if nothing came from it; see `Engine.note_stall`."""
        if time.monotonic() - self._heard >= seconds:
            self._lose(EngineLost(f"the worker process of {self._model} stopped responding"))

    def forget(self, conversation: Conversation) -> None:
        """Drop KV cache and image features of a conversation; later calls recompute them.

        No-op if the worker process has died.
        """
        message = self._remembered.forget((conversation, call_labels().cache_salt))
        if message is not None and self._lost is None:
            self._send(message)

    async def aclose(self) -> None:
        """End the worker process. Running calls raise EngineLost. Idempotent."""
        self._lose(EngineLost(f"{self._model}: the engine was closed"))
        if self._reaper.detach() is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._process.end)

    @property
    def _loaded(self) -> Ready:
        if self._ready is None:
            raise self._lost or EngineError(f"{self._model} is not loaded yet: await start() first")
        return self._ready

    def _check(self) -> None:
        if self._lost is not None:
            # A new instance each time, because an exception collects a traceback on each raise.
            raise type(self._lost)(str(self._lost))

    def _new_call(self) -> tuple[int, _Call]:
        self._last_call += 1
        call = self._calls[self._last_call] = _Call()
        return self._last_call, call

    def _extend(self, number: int, text: str) -> None:
        if number in self._calls and self._lost is None:
            self._send(ExtendJudge(number, (text,)))

    def _end_call(self, number: int, *, cancel: bool) -> None:
        """Remove a call, and with `cancel` tell the worker to stop it."""
        if self._calls.pop(number, None) is not None and cancel and self._lost is None:
            self._send(Cancel(number))

    def _key(self, conversation: Conversation) -> int:
        """Return the worker's key of a conversation; send the conversation if it is new."""
        self._loaded.hints.check_images(conversation)
        key, news = self._remembered.key((conversation, call_labels().cache_salt))
        for message in news:
            self._send(message)
        return key

    def _attach(self) -> None:
        """Register the socket with the running event loop."""
        loop = asyncio.get_running_loop()
        if loop is self._loop or self._lost is not None:
            return
        if self._loop is not None and self._loop.is_running():
            raise EngineError(
                f"{self._model} is in use by another event loop: open one engine per loop"
            )
        self._loop, self._writing = loop, False
        loop.add_reader(self._link.fileno(), self._readable)
        self._flush()

    def _detach(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._link.fileno())
            self._loop.remove_writer(self._link.fileno())
        self._loop = None

    def _readable(self) -> None:
        try:
            data = self._link.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(
                EngineLost(
                    f"the worker process of {self._model} ended: {self._process.exit_reason()}"
                )
            )
            return
        self._heard = time.monotonic()
        for message in self._frames.feed(data):
            self._deliver(message)

    def _deliver(self, message: Any) -> None:
        match message:
            case Piece() | JudgeReply() | CountReply():
                if (call := self._calls.get(message.call)) is not None:
                    call.put(message)
            case Ready():
                self._ready = message
                self._wake_starting()
            case Failed(None, kind, text):
                self._lose(_error(kind, text))
            case Failed(int(number), kind, text):
                if (call := self._calls.pop(number, None)) is not None:
                    call.put(_error(kind, text))

    def _wake_starting(self) -> None:
        for waiting in self._starting:
            waiting.put(None)
        self._starting.clear()

    def _lose(self, error: DreamrError) -> None:
        """Mark the engine as lost and fail everything that waits for the worker."""
        if self._lost is not None:
            return
        self._detach()
        self._lost = error
        self._wake_starting()
        for call in self._calls.values():
            call.put(type(error)(str(error)))

    def _send(self, message: Any) -> None:
        self._check()
        self._unsent.extend(map(memoryview, pieces(message)))
        self._flush()

    def _flush(self) -> None:
        """Send as much as the socket accepts; the event loop calls again for the rest."""
        try:
            for _ in range(min(_SENDS, len(self._unsent))):
                sent = self._link.send(self._unsent[0])
                self._unsent[0] = self._unsent[0][sent:]
                if not self._unsent[0]:
                    self._unsent.popleft()
        except BlockingIOError:
            pass  # the rest later
        except OSError:  # the worker has died; the next read reports it
            self._unsent.clear()
        if self._loop is None or bool(self._unsent) == self._writing:
            return
        self._writing = bool(self._unsent)
        if self._writing:
            self._loop.add_writer(self._link.fileno(), self._flush)
        else:
            self._loop.remove_writer(self._link.fileno())


def _error(kind: str, message: str) -> DreamrError:
    """Return an error from the class name and message that the worker sent."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, DreamrError):
        return known(message)
    return EngineError(message)
