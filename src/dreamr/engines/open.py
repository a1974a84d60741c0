"""Open the model of a role: in a local worker process or at a server URL."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dreamr._api_keys import clean_key
from dreamr._families import UNKNOWN, Family, VendorSampling, recognize, recognize_folder
from dreamr._option_specs import BadOption
from dreamr.conversation import Conversation
from dreamr.engines.address import is_address, parse_address
from dreamr.engines.named import locate
from dreamr.engines.protocol import MAX_IMAGE_PIXELS, DType, Engine, Thinking
from dreamr.errors import Unsupported
from dreamr.steps import Role, StepFormat

# Shortest step of models that may think: their headings say nothing that could be judged.
_MIN_TOKENS = 8
# The same where prefixes are reused in large blocks: each verdict costs much of a prompt there, so
# steps are longer and verdicts fewer.
_COARSE_STEP_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Location of the model of a role, and how to open it.

    Attributes:
        role: Role of the model.
        name: Folder, Hugging Face ID, server URL, or one of `dreamr.engines.model_names`. None for
            the test bed's model.
        server_model: Name of the model at its server. None if the server has only one model.
        revision: Branch, tag or commit of a model on the Hugging Face hub. None: the default
            branch.
        judge_prompt: Prompt of judge calls. None to use the one in the model's folder.
        thinking: Whether a served model thinks before its answer; see `HttpOptions`.
        answer_marker: Text that begins the final answer. None to use the one in the model's folder.
        delimiter: Text that ends a step. None: from the model's folder, or that of its family.
        min_step_tokens: Steps shorter than this are joined with the next one. None: 8 for a model
            that may think, else 1.
        device: Torch device of a local model; 'auto' for CUDA where there is one.
        dtype: Data type of a local model; see `LocalOptions`.
        deterministic: Whether a local model on a CPU computes in float32 whatever `dtype` is.
        threads: Torch threads of a local model on a CPU.
        untrained: Whether a local model takes more images than it was trained for.
        max_pixels: Number of pixels to which larger images are shrunk for a server; 0 keeps all.
        api_key: API key of the server. Never shown. None: from the environment.
    """

    role: Role
    name: str | None = None
    server_model: str | None = None
    revision: str | None = None
    judge_prompt: str | None = None
    thinking: Thinking = "auto"
    answer_marker: str | None = None
    delimiter: str | None = None
    min_step_tokens: int | None = None
    device: str = "auto"
    dtype: DType = "auto"
    deterministic: bool = False
    threads: int = 1
    untrained: bool = False
    max_pixels: int = MAX_IMAGE_PIXELS
    api_key: str | None = field(default=None, repr=False)

    @property
    def location(self) -> str:
        """Folder, Hugging Face ID or base URL of the model.

        Raises:
            ModelNotFound: If `name` cannot be resolved; see `dreamr.engines.named.locate`. If it is
                the address of a server that cannot be used; see `parse_address`.
        """
        found = locate(self.name, self.role)
        return parse_address(found).base if is_address(found) else found

    @property
    def identity(self) -> str:
        """Hash of the model's weights, or the name or location of a remote model.

        Hashing reads all weight files.
        """
        if self.server_model is not None:
            return self.server_model
        from dreamr._provenance import weights_hash

        location = self.location
        weights = weights_hash(Path(location))
        if weights is not None or self.revision is None or is_address(location):
            return weights or location
        return f"{location}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Model:
    """An open model.

    Attributes:
        engine: The model's engine.
        step_format: How the model marks steps and its final answer.
        opens_thought: Tells whether the assistant's turn of a conversation is opened inside a
            thought. None: this does not depend on the conversation.
        family: Family of the model.
        thinks_about: Tells whether the model thinks about a conversation, None if its family
            decides. None: as `step_format` says.
    """

    engine: Engine
    step_format: StepFormat = field(default_factory=StepFormat)
    opens_thought: Callable[[Conversation], bool] | None = None
    family: Family = UNKNOWN
    thinks_about: Callable[[Conversation], bool | None] | None = None

    def format_of(self, conversation: Conversation) -> StepFormat:
        """Return how the model marks steps and its final answer in a conversation."""
        if self.opens_thought is None:
            return self.step_format
        return replace(self.step_format, opens_thought=self.opens_thought(conversation))

    def never_thinks_about(self, conversation: Conversation) -> bool:
        """Return whether the model is known to write no thought in a conversation."""
        switchable = self.family.thinks == "never" or bool(self.family.no_thinking)
        if self.thinks_about is None or not switchable:
            return False
        return self.thinks_about(conversation) is False

    def vendor_sampling(self, conversation: Conversation) -> VendorSampling | None:
        """Return the sampling that the model's vendor recommends for a conversation, if any."""
        if self.thinks_about is not None:
            return self.family.recommended(self.thinks_about(conversation))
        return self.family.recommended(True if self.step_format.opens_thought else None)


OpenModel: TypeAlias = Callable[[ModelSource], Awaitable[Model]]


def is_served(location: str | None) -> bool:
    """Return whether a model is given as the address of a server; see `is_address`."""
    return location is not None and is_address(location)


async def open_model(source: ModelSource) -> Model:
    """Open a model: connect to its URL, or start a worker process for it.

    Raises:
        ModelNotFound: If there is no such model or the URL is invalid.
        Unsupported: If packages that local models need are not installed.
        EngineError: If the server cannot be reached or used.
        BadOption: If the answer marker or an API key is invalid.
    """
    location = source.location
    if is_served(location):
        return await _open_served(location, source)
    return await _open_local(location, source)


async def _open_served(url: str, source: ModelSource) -> Model:
    # Imported here because it is slow to import and most commands do not need it.
    from dreamr.engines.http import HttpEngine, HttpOptions

    engine = await HttpEngine.open(
        HttpOptions(
            url=url,
            model=source.server_model,
            api_key=source.api_key or api_key(source.role),
            judge_prompt=source.judge_prompt,
            thinking=source.thinking,
            max_pixels=source.max_pixels,
        )
    )
    info = engine.server_info
    longer = source.role == "target" and engine.capabilities.coarse_cache
    marks = {
        "opens_thought": info.opens_thought,
        "min_tokens": _COARSE_STEP_TOKENS if longer else None,
    }
    family = recognize(info.model)
    step_format = _step_format(source, family, marks)

    def thinks_about(conversation: Conversation) -> bool | None:
        return engine.server_info.thinks_about(conversation)  # another probe may replace it

    return Model(engine, step_format, engine.opens_thought, family, thinks_about)


def api_key(role: Role | Literal["transcriber"]) -> str | None:
    """Return the API key of a server from the environment; None if there is none.

    Raises:
        BadOption: If it contains a character that a key cannot have.
    """
    for variable in (f"DREAMR_{role.upper()}_API_KEY", "DREAMR_API_KEY"):
        if key := clean_key(os.environ.get(variable, ""), variable):
            return key
    return None


async def _open_local(location: str, source: ModelSource) -> Model:
    for needed in ("torch", "transformers"):
        if find_spec(needed) is None:  # else the worker fails where the user does not see it
            raise Unsupported(
                f"local models need {needed}, which is not installed: run "
                "pip install 'dreamr[local]', or pass server URLs as --target and --draft"
            )
    from dreamr.engines.local import LocalEngine, LocalOptions

    engine = await LocalEngine.open(
        location,
        LocalOptions(
            device=source.device,
            revision=source.revision,
            dtype=source.dtype,
            deterministic=source.deterministic,
            threads=source.threads,
            judge_prompt=source.judge_prompt,
            untrained=source.untrained,
        ),
    )
    hints = engine.hints
    marks = {
        "delimiter": hints.delimiter,
        "answer_marker": hints.answer_marker,
        "max_tokens": hints.max_step_tokens,
        "opens_thought": engine.opens_thought,
    }
    family = _local_family(location)
    return Model(engine, _step_format(source, family, marks), family=family)


def _local_family(location: str) -> Family:
    folder = Path(os.path.expanduser(location))
    return recognize_folder(folder) if folder.is_dir() else recognize(location)


def _step_format(source: ModelSource, family: Family, marks: Mapping[str, Any]) -> StepFormat:
    """Return how the model marks steps and its final answer.

    Options of the source come before marks of the model's folder or template, which come before
    what is usual in its family.
    """
    thinks = family.may_think or marks.get("opens_thought")
    usual: dict[str, Any] = {
        "delimiter": family.delimiter,
        "min_tokens": family.min_step_tokens or (_MIN_TOKENS if thinks else 1),
        "closing": family.closing,
    }
    given: dict[str, Any] = {
        "answer_marker": source.answer_marker,
        "delimiter": source.delimiter,
        "min_tokens": source.min_step_tokens,
    }
    known: dict[str, Any] = {
        name: mark
        for some in (usual, marks, given)
        for name, mark in some.items()
        if mark is not None
    }
    try:
        return StepFormat(**known)
    except ValueError as error:
        flag = "--answer-marker" if source.delimiter is None else "--delimiter, --answer-marker"
        raise BadOption(f"{flag}: {error}") from error
