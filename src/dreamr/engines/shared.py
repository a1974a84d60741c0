"""Models that are opened once for several users, such as the pairs of a gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

import anyio

from dreamr.answers import AnswerForm, AnswerPiece
from dreamr.conversation import Conversation
from dreamr.engines.lifecycle import ClosingEngine
from dreamr.engines.open import Model, ModelSource, OpenModel, is_served
from dreamr.engines.protocol import (
    AnswersInForm,
    Capabilities,
    Chunk,
    Context,
    Engine,
    SamplingParams,
)
from dreamr.gate import VERDICT, Evidence, Query


@dataclass(slots=True, eq=False)
class _Opened:
    """A model that is open, and the number of its users."""

    model: Model
    users: int = 0

    async def leave(self) -> None:
        """Count a user less; the last one closes the engine."""
        self.users -= 1
        if not self.users:
            await self.model.engine.aclose()


@dataclass(slots=True, eq=False)
class _Place:
    """Where a model is kept; its lock is held while it is opened."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    opened: _Opened | None = None


class SharedModels:
    """Opens each local model once, however many users it has at the same time.

    Users share it if they open it in the same way, in whatever role. It is closed with its last
    user. After a loss, the first user to open it again opens it for all. Servers are opened for
    each user, who are separate clients.

    Args:
        open_model: Opens a model.
    """

    def __init__(self, open_model: OpenModel) -> None:
        self._open_model = open_model
        self._places: dict[ModelSource, _Place] = {}

    async def __call__(self, source: ModelSource) -> Model:
        """Open a model. Raises the errors of the function that opens models."""
        if source.name is None or is_served(source.location):
            return await self._open_model(source)
        place = self._places.setdefault(replace(source, role="target"), _Place())
        async with place.lock:
            opened = place.opened
            if opened is None or not opened.users or not opened.model.engine.alive:
                opened = place.opened = _Opened(await self._open_model(source))
            opened.users += 1
        engine = opened.model.engine
        shared = SharedEngine(engine, opened)
        if isinstance(engine, AnswersInForm):
            shared = SharedWriter(engine, opened, engine)
        return replace(opened.model, engine=shared)


class SharedEngine(ClosingEngine):
    """What one user has of an engine; closing it leaves the engine to the others.

    Args:
        engine: The engine.
        opened: Counts its users.
    """

    def __init__(self, engine: Engine, opened: _Opened) -> None:
        self._engine, self._opened = engine, opened
        self._is_closed = False

    @property
    def name(self) -> str:
        """The model's path or id, for messages."""
        return self._engine.name

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the engine."""
        return self._engine.capabilities

    @property
    def alive(self) -> bool:
        """Whether calls can succeed; see `Engine.alive`."""
        return not self._is_closed and self._engine.alive

    def stream(self, context: Context, sampling: SamplingParams) -> AsyncGenerator[Chunk, None]:
        """Yield chunks that continue the prefix; see `Engine.stream`."""
        return self._engine.stream(context, sampling)

    async def judge(
        self, context: Context, candidates: Sequence[str], query: Query = VERDICT
    ) -> tuple[Evidence, ...]:
        """Judge consecutive steps; see `Engine.judge`."""
        return await self._engine.judge(context, candidates, query)

    async def count(self, conversation: Conversation) -> int:
        """Return the length of the conversation in tokens; see `Engine.count`."""
        return await self._engine.count(conversation)

    async def check(self) -> None:
        """Check that the model can be used; see `Engine.check`."""
        await super().check()
        await self._engine.check()

    def note_stall(self, seconds: float) -> None:
        """Note that a call had no output for this many seconds; see `Engine.note_stall`."""
        self._engine.note_stall(seconds)

    def forget(self, conversation: Conversation) -> None:
        """Discard what is cached for a conversation; see `Engine.forget`."""
        self._engine.forget(conversation)

    async def aclose(self) -> None:
        """Leave the engine to its other users, or close it; idempotent."""
        if not self._is_closed:
            self._is_closed = True
            await self._opened.leave()


class SharedWriter(SharedEngine):
    """The same of an engine that writes answers in a form.

    Args:
        engine: The engine.
        opened: Counts its users.
        writer: The engine again.
    """

    def __init__(self, engine: Engine, opened: _Opened, writer: AnswersInForm) -> None:
        super().__init__(engine, opened)
        self._writer = writer

    async def form_problem(self, conversation: Conversation, form: AnswerForm) -> str:
        """Return why an answer in a form cannot follow; see `AnswersInForm.form_problem`."""
        return await self._writer.form_problem(conversation, form)

    def write_answer(
        self, context: Context, form: AnswerForm, sampling: SamplingParams
    ) -> AsyncGenerator[AnswerPiece, None]:
        """Yield the answer in a form; see `AnswersInForm.write_answer`."""
        return self._writer.write_answer(context, form, sampling)
