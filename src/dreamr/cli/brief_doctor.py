"""The doctor's findings about pairs that `dreamr up` has started, in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing

from dreamr._options import RunOptions
from dreamr.engines import ModelSource, OpenModel, is_served
from dreamr.errors import DreamrError
from dreamr.serving.doctor import Finding, ModelUnderTest, pair_checks, run_checks
from dreamr.steps import Role

_CHECK_SECONDS = 30.0  # for one check
_ALWAYS_SHOWN = "worth it"


async def check_pairs(
    pairs: Mapping[str, RunOptions], open_model: OpenModel, show: Callable[[str], None]
) -> None:
    """Check the served models of pairs quickly, and show what is not as it should be.

    A model that several pairs open in the same way is checked once.

    Args:
        pairs: Options of runs of each pair, by its name.
        open_model: Opens a model.
        show: Called with a line on each finding.
    """
    doctor = _Doctor(open_model, show)
    for name, run in pairs.items():
        of_pair = f" of {name}" if len(pairs) > 1 else ""
        tested: dict[Role, ModelUnderTest] = {}
        for role in run.roles:
            source = run.source(role)
            if is_served(source.location):
                model = await doctor.model(source, f"{role}{of_pair}")
                if model is not None:
                    tested[role] = model
        if len(tested) == 2:
            for found in pair_checks(tested["target"], tested["draft"]):
                doctor.note(f"together{of_pair}", found)
    if doctor.states:
        show(f"doctor: {doctor.states.count('ok')} of {len(doctor.states)} findings are ok")


class _Doctor:
    """Checks models, each once.

    Attributes:
        states: States of all findings.
    """

    def __init__(self, open_model: OpenModel, show: Callable[[str], None]) -> None:
        self._open_model, self._show = open_model, show
        self._tested: dict[ModelSource, ModelUnderTest | None] = {}
        self.states: list[str] = []

    async def model(self, source: ModelSource, of: str) -> ModelUnderTest | None:
        """Check a model unless this is done already; return None if it cannot be opened.

        Args:
            source: The model.
            of: What messages call it.
        """
        if source not in self._tested:
            self._show(f"doctor: checking the {of}")
            self._tested[source] = await self._check(source, of)
        return self._tested[source]

    def note(self, of: str, found: Finding) -> None:
        """Count a finding, and show it if it matters."""
        self.states.append(found.state)
        if found.state in ("degraded", "wrong") or found.about == _ALWAYS_SHOWN:
            fix = f"; try {found.fix}" if found.fix and found.state != "ok" else ""
            self._show(f"doctor: {of}, {found.about}: {found.state}: {found.what}{fix}")

    async def _check(self, source: ModelSource, of: str) -> ModelUnderTest | None:
        try:
            model = await self._open_model(source)
        except DreamrError as error:
            self._show(f"doctor: {of}: {error}")
            return None
        tested = ModelUnderTest(source.role, model)
        try:
            async with aclosing(
                run_checks(tested, quick=True, time_limit=_CHECK_SECONDS)
            ) as findings:
                async for found in findings:
                    self.note(of, found)
        finally:
            await model.engine.aclose()
        return tested
