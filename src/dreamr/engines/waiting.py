"""Wait for servers that are still starting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from dreamr.engines.http.retries import TransientError, is_transient
from dreamr.engines.open import Model, ModelSource, OpenModel, is_served
from dreamr.engines.unopened import UnopenedEngine
from dreamr.errors import DreamrError, EngineError, EngineLost
from dreamr.steps import Role

_PAUSE = 1.0  # seconds between two attempts
_SHOWN_EVERY = 10.0  # seconds between two lines about the same server


@dataclass(slots=True)
class _Wait:
    """The wait for one server.

    Attributes:
        source: Model that is waited for.
        began: Time at which the wait began.
        seconds: Longest wait.
        error: What the last attempt failed with.
    """

    source: ModelSource
    began: float
    seconds: float
    error: EngineError | None = None

    @property
    def passed(self) -> float:
        return anyio.current_time() - self.began

    @property
    def where(self) -> str:
        return f"the {self.source.role} at {self.source.location}"

    @property
    def line(self) -> str:
        why = f": {self.error}" if self.error else ""
        return f"waiting for {self.where}, {self.passed:.0f} of {self.seconds:g} s{why}"


class WaitingOpener:
    """Opens models, and waits for those whose server does not answer yet.

    Only the first opening of a role waits. Errors that time does not cure are raised at once, such
    as a wrong address or a model that the server does not have.

    Args:
        open_model: Opens a model.
        seconds: Longest time to wait for all models together, counted from the first opening; 0
            does not wait.
        late: Roles that may be missing at the end: an engine that counts as lost takes their
            place.
        show: Called with a line on the progress.
    """

    def __init__(
        self,
        open_model: OpenModel,
        seconds: float,
        late: tuple[Role, ...] = (),
        show: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._open_model, self._seconds = open_model, seconds
        self._late, self._show = late, show
        self._began: float | None = None
        self._opened: set[Role] = set()

    async def __call__(self, source: ModelSource) -> Model:
        """Open a model.

        Raises:
            DreamrError: The errors of the function that opens models. If waiting may help, the
                message names the flag or says how long this waited.
        """
        if source.role in self._opened or not is_served(source.location):
            return await self._open_model(source)
        self._opened.add(source.role)
        if self._began is None:
            self._began = anyio.current_time()
        wait = _Wait(source, self._began, self._seconds)
        try:
            return await (self._waited(wait) if self._seconds else self._open_model(source))
        except EngineError as error:
            if not is_transient(error):
                raise
            if not self._seconds:
                raise type(error)(
                    f"{error} (--wait SECONDS waits for a server that is still starting)"
                ) from error
            if source.role not in self._late:
                raise type(error)(f"{error} (waited {self._seconds:g} s)") from error
            self._show(f"starting without the {source.role}, which can join later: {error}")
            return Model(UnopenedEngine(wait.where, str(error)))

    async def _waited(self, wait: _Wait) -> Model:
        found: list[Model] = []
        failures: list[DreamrError] = []

        async def attempts() -> None:
            try:
                found.append(await self._attempts(wait))
            except DreamrError as error:  # the task group would wrap it in an exception group
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._report, wait)
            with anyio.move_on_after(max(_PAUSE, wait.seconds - wait.passed)):
                await attempts()
            tasks.cancel_scope.cancel()
        if found:
            return found[0]
        late = EngineLost(f"{wait.source.location} does not answer")
        late.__cause__ = TransientError(late)
        raise next(iter(failures), wait.error or late)

    async def _attempts(self, wait: _Wait) -> Model:
        """Try to open the model until that succeeds or fails for good."""
        while True:
            try:
                model = await self._open_model(wait.source)
            except EngineError as error:
                if not is_transient(error):
                    raise
                if wait.error is None:
                    wait.error = error
                    self._show(wait.line)
                wait.error = error
            else:
                if wait.error is not None:
                    self._show(f"{wait.where} answered after {wait.passed:.0f} s")
                return model
            await anyio.sleep(_PAUSE)

    async def _report(self, wait: _Wait) -> None:
        while True:
            await anyio.sleep(_SHOWN_EVERY)
            self._show(wait.line)
