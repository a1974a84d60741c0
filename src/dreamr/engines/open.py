"""Opening the model of a role: in a worker process of this machine, or behind a server's URL."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from dreamr._option_specs import BadOption
from dreamr.engines.named import locate
from dreamr.engines.protocol import Engine
from dreamr.errors import Unsupported
from dreamr.steps import Role, StepFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Which model a role gets, and how it is opened.

    name: a folder, a Hugging Face id, a server's URL, or a name of `dreamr.engines.model_names`;
    None: the test bed's model. server_model: the model's name at its server, None where the server
    has only one. judge_prompt, answer_marker: None where the model's folder says.
    device: a torch device. threads: torch threads on a CPU.
    """

    role: Role
    name: str | None = None
    server_model: str | None = None
    judge_prompt: str | None = None
    answer_marker: str | None = None
    device: str = "cpu"
    threads: int = 1

    @property
    def location(self) -> str:
        """A folder, a Hugging Face id or a URL.

        Raises:
            ModelNotFound: see `dreamr.engines.named.locate`.
        """
        return locate(self.name, self.role)

    @property
    def identity(self) -> str:
        """What tells this model from others: a hash of its weights, or its name where it is remote.

        Reads all weights.
        """
        if self.server_model is not None:
            return self.server_model
        from dreamr._provenance import weights_hash

        location = self.location
        return weights_hash(Path(location)) or location


@dataclass(frozen=True, slots=True)
class Model:
    """An open model: its engine, and how it marks steps and answers."""

    engine: Engine
    step_format: StepFormat = field(default_factory=StepFormat)


OpenModel: TypeAlias = Callable[[ModelSource], Awaitable[Model]]


async def open_model(source: ModelSource) -> Model:
    """Open a model: behind a URL, or in a worker process of its own.

    Raises:
        ModelNotFound: there is no such model, or no server.
        Unsupported: what local models need is not installed.
        EngineError: the server cannot be used.
        BadOption: an answer marker that cannot be one.
    """
    location = source.location
    if location.startswith(("http://", "https://")):
        return await _open_served(location, source)
    return await _open_local(location, source)


async def _open_served(url: str, source: ModelSource) -> Model:
    # Imported where it is used: every command would else wait for it.
    from dreamr.engines.http import HttpEngine, HttpOptions

    key = f"DREAMR_{source.role.upper()}_API_KEY"
    engine = await HttpEngine.open(
        HttpOptions(
            url=url,
            model=source.server_model,
            api_key=os.environ.get(key) or os.environ.get("DREAMR_API_KEY"),
            judge_prompt=source.judge_prompt,
        )
    )
    return Model(engine, _step_format(source))


async def _open_local(location: str, source: ModelSource) -> Model:
    for needed in ("torch", "transformers"):
        if find_spec(needed) is None:  # the worker would fail to import them, out of sight
            raise Unsupported(
                f"local models need {needed}, which is not installed: pip install 'dreamr[local]', "
                "or give --target and --draft as addresses of servers"
            )
    from dreamr.engines.local import LocalEngine, LocalOptions

    engine = await LocalEngine.open(
        location,
        LocalOptions(
            device=source.device, threads=source.threads, judge_prompt=source.judge_prompt
        ),
    )
    hints = engine.hints
    marks = {
        "delimiter": hints.delimiter,
        "answer_marker": hints.answer_marker,
        "max_tokens": hints.max_step_tokens,
    }
    return Model(engine, _step_format(source, marks))


def _step_format(source: ModelSource, marks: Mapping[str, Any] | None = None) -> StepFormat:
    """How steps and answers are marked: as the source says, then as the model's folder does."""
    known = {name: mark for name, mark in (marks or {}).items() if mark is not None}
    if source.answer_marker is not None:
        known["answer_marker"] = source.answer_marker
    try:
        return StepFormat(**known)
    except ValueError as error:
        raise BadOption(f"answer-marker: {error}") from error
