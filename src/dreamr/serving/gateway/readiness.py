"""Whether the models answer, checked in the background and never by a request."""

from __future__ import annotations

from typing import Any

import anyio

from dreamr._messages import describe
from dreamr._reasoner import Reasoner
from dreamr.errors import DreamrError
from dreamr.serving.gateway.public_text import PublicText
from dreamr.steps import Role

_MISSED = 3  # intervals without an answer after which a model is not ready

Json = dict[str, Any]


class Readiness:
    """Answers of the models to regular checks.

    A model is ready if it is not lost and answered a check within the last three intervals. Before
    `watch` runs, a model that is open counts as ready.

    Args:
        reasoner: An open Reasoner.
        interval: Seconds between two checks of a model, and the longest time of one.
    """

    def __init__(self, reasoner: Reasoner, interval: float) -> None:
        self._reasoner, self._interval = reasoner, interval
        self._answered: dict[Role, float] = {}  # times of the last answers
        self._failed: dict[Role, str] = {}  # what the last check failed with
        self._watched = False

    async def watch(self) -> None:
        """Check all models until canceled; a lost one that answers is opened again."""
        models = self._reasoner.models
        now = anyio.current_time()
        self._answered = {role: now for role in models if role not in models.lost}
        self._watched = True
        async with anyio.create_task_group() as tasks:
            for role in models:
                tasks.start_soon(self._watch, role)

    async def _watch(self, role: Role) -> None:
        while True:
            await anyio.sleep(self._interval)
            await self.check(role)

    async def check(self, role: Role) -> None:
        """Check one model and note whether it answers."""
        failure = f"no answer within {self._interval:g} s"
        with anyio.move_on_after(self._interval):
            try:
                await self._reasoner.models.check(role)
                failure = ""
            except DreamrError as error:
                failure = str(error)
            except Exception as error:  # an engine of another distribution must not end the gateway
                failure = describe(error)
        self._failed[role] = failure
        if not failure:
            self._answered[role] = anyio.current_time()

    def age(self, role: Role) -> float | None:
        """Return the seconds since a model last answered; None if it never did."""
        answered = self._answered.get(role)
        return None if answered is None else anyio.current_time() - answered

    def is_ready(self, role: Role) -> bool:
        """Return whether a model can be used."""
        if role in self._reasoner.models.lost:
            return False
        age = self.age(role)
        return not self._watched or (age is not None and age <= _MISSED * self._interval)

    @property
    def usable(self) -> bool:
        """Whether requests can be answered: by the target, or by the draft if it is alone."""
        models = self._reasoner.models
        return self.is_ready("target" if "target" in models else "draft")

    @property
    def status(self) -> str:
        """One of 'ready', 'degraded' (without the draft) and 'lost'."""
        if not self.usable:
            return "lost"
        return "ready" if all(map(self.is_ready, self._reasoner.models)) else "degraded"

    def report(self, public: PublicText) -> Json:
        """Return the status and the state of each model by role, without their locations."""
        models = {role: self._state(role, public) for role in self._reasoner.models}
        return {"status": self.status, "models": models}

    def _state(self, role: Role, public: PublicText) -> Json:
        models, age = self._reasoner.models, self.age(role)
        state: Json = {
            "ready": self.is_ready(role),
            "answered": None if age is None else round(age, 1),
        }
        if not state["ready"]:
            if reason := models.failure(role) or self._failed.get(role):
                state["reason"] = public.text(reason)
            if (wait := models.retry_after(role)) is not None:
                state["retry_after"] = round(wait, 1)
        return state
