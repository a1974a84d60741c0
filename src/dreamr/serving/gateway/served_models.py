"""The models that requests can name: the served pairs, and each of their models alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._version import __version__
from dreamr.engines.unopened import UnopenedEngine
from dreamr.serving.gateway.errors import no_such_model
from dreamr.serving.gateway.public_text import PublicText, public_name
from dreamr.serving.gateway.runs import Runs
from dreamr.steps import Role

_ROLES: tuple[Role, ...] = ("target", "draft")


class ServedModels:
    """Names of models for clients.

    A served name stands for a pair and its method. A target's own name stands for the target
    without speculation, a draft's for the draft alone. If names are equal, the served names count
    first, then those of earlier pairs.

    Args:
        runs: Runs of each served pair.
        public: Takes the locations of all models out of texts.

    Attributes:
        public: See above.

    Raises:
        BadOption: If two pairs have the same name.
    """

    def __init__(self, runs: Sequence[Runs], public: PublicText) -> None:
        self.public = public
        self._runs = {one.pair.name: one for one in runs}
        if len(self._runs) < len(runs):
            raise BadOption("two pairs have the same name: clients choose a pair by its name")
        self._single = [
            (one, role, _alone_options(one.pair.reasoner.options, role))
            for one in runs
            for role in _ROLES
        ]

    def options_of(self, name: str) -> RunOptions:
        """Return the options of runs of a model.

        Args:
            name: What a request asks for.

        Raises:
            ApiError: If there is no such model (404).
        """
        return self._find(name)[1]

    def runs_of(self, name: str) -> Runs:
        """Return what runs the requests for a model.

        Raises:
            ApiError: If there is no such model (404).
        """
        return self._find(name)[0]

    def cards(self) -> list[dict[str, Any]]:
        """Return the entries of the list of models, the pairs first."""
        alone = self._alone()
        return [
            *(_pair_card(runs) for runs in self._runs.values()),
            *(_card(name, options.method, {}) for name, (_, options) in alone.items()),
        ]

    def _find(self, name: str) -> tuple[Runs, RunOptions]:
        if (runs := self._runs.get(name)) is not None:
            return runs, runs.pair.reasoner.options
        alone = self._alone()
        if name not in alone:
            raise no_such_model(name, [*self._runs, *alone])
        return alone[name]

    def _alone(self) -> Mapping[str, tuple[Runs, RunOptions]]:
        """Return what runs each model alone, by its name."""
        found: dict[str, tuple[Runs, RunOptions]] = {}
        for runs, role, options in self._single:
            models = runs.pair.reasoner.models
            # A model that was never open has no name yet.
            if role not in models or isinstance(models[role].engine, UnopenedEngine):
                continue
            name = public_name(models[role].engine.name)
            if options is not None and name not in self._runs:
                found.setdefault(name, (runs, options))
        return found


def _alone_options(options: RunOptions, role: Role) -> RunOptions | None:
    """Return the options of one model alone; None if those of the pair need the other."""
    try:
        return replace(options, method=role)
    except BadOption:
        return None


def _pair_card(runs: Runs) -> dict[str, Any]:
    reasoner = runs.pair.reasoner
    roles: dict[str, str] = {
        role: public_name(model.engine.name) for role, model in reasoner.models.items()
    }
    drift = {} if runs.watch is None else {"drift": runs.watch.alarm}
    return _card(runs.pair.name, reasoner.options.method, {**drift, **roles})


def _card(name: str, method: str, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "dreamr",
        # In the words of Anthropic's API:
        "type": "model",
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
        "dreamr": {"method": method, "version": __version__, **about},
    }
