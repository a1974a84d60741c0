"""The models that requests can name: the pair, and each of its models alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr._version import __version__
from dreamr.serving.gateway.errors import no_such_model
from dreamr.serving.gateway.public_text import public_name
from dreamr.steps import Role


class ServedModels:
    """Names of models for clients.

    The served name stands for the pair and its method. The target's own name stands for the target
    without speculation, the draft's for the draft alone. If names are equal, the first of these
    counts.

    Args:
        reasoner: An open Reasoner.
        name: Served name of the pair.

    Attributes:
        name: Served name of the pair.
    """

    def __init__(self, reasoner: Reasoner, name: str) -> None:
        self._reasoner, self.name = reasoner, name

    def options_of(self, name: str) -> RunOptions:
        """Return the options of runs of a model.

        Args:
            name: What a request asks for.

        Raises:
            ApiError: If there is no such model (404).
        """
        if name == self.name:
            return self._reasoner.options
        options = self._alone().get(name)
        if options is None:
            raise no_such_model(name, [self.name, *self._alone()])
        return options

    def cards(self, **about: Any) -> list[dict[str, Any]]:
        """Return the entries of the list of models, the pair first.

        Args:
            about: More about the pair.
        """
        models = self._reasoner.models
        roles: dict[str, str] = {
            role: public_name(model.engine.name) for role, model in models.items()
        }
        pair = _card(self.name, self._reasoner.options.method, {**about, **roles})
        alone = self._alone()
        return [pair, *(_card(name, alone[name].method, {}) for name in alone)]

    def _alone(self) -> Mapping[str, RunOptions]:
        """Return the options of each model alone, by its name."""
        found: dict[str, RunOptions] = {}
        roles: tuple[Role, ...] = ("target", "draft")
        for role in roles:
            if role not in self._reasoner.models:
                continue
            name = public_name(self._reasoner.models[role].engine.name)
            if name == self.name or name in found:
                continue
            try:
                found[name] = replace(self._reasoner.options, method=role)
            except BadOption:  # the options of the pair need the other model
                continue
        return found


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
