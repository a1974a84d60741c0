"""Fields that the requests of all APIs have: options of a run, stop sequences, labels."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dreamr._media_options import READING
from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._sampling import may_sample
from dreamr.serving.gateway.errors import bad_request, shortened, shortened_name
from dreamr.serving.gateway.field_errors import invalid_field

_Body = TypeVar("_Body", bound=BaseModel)
_MAX_STOPS = 16  # stop sequences per request
_MAX_NAMED = 20  # names of fields without effect
# Options of the server that the object `dreamr` of a request replaces.
_EXTENDED = (
    "method", "window", "threshold", "fallback", "final_answer", "thinking_budget", "deterministic",
    "on_deadline", "draft_frames", *READING,
)  # fmt: skip


class JsonModel(BaseModel):
    """An object of a request. Types are strict, unknown fields are kept."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class Extension(JsonModel):
    """The object `dreamr` of a request: options of its run, and no other fields."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    method: str | None = None
    window: int | None = None
    threshold: float | None = None
    fallback: str | None = None
    final_answer: str | None = None
    thinking_budget: int | None = None
    deterministic: bool | None = None
    deadline: Annotated[float, Field(gt=0)] | None = None
    on_deadline: str | None = None
    pages: str | None = None
    pdf_text: str | None = None
    frames: int | None = None
    frames_by: str | None = None
    fps: float | None = None
    sound: bool | None = None
    draft_frames: int | None = None
    events: bool = False


def validated(model: type[_Body], body: bytes | bytearray) -> _Body:
    """Parse a body into a model of its API.

    Args:
        model: The model.
        body: JSON text.

    Raises:
        ApiError: If the body is not JSON, a field is missing or invalid, or a number is not
            finite (400).
    """
    try:
        found = model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_field(error) from error
    _check_numbers(found)
    return found


def _check_numbers(payload: BaseModel) -> None:
    """Check that all numbers are finite: others cannot be repeated in a response.

    The parser reads the names of such numbers, and numbers that are too large, in fields of any
    type.
    """
    left: list[_Place] = [_Place(payload)]
    while left:
        place = left.pop()
        if isinstance(place.value, float):
            if not math.isfinite(place.value):
                raise bad_request(f"{place.path} must be a finite number", place.path)
            continue
        for name, value in place.items():
            if isinstance(value, float | dict | list | BaseModel):
                left.append(_Place(value, name, place))


@dataclass(frozen=True, slots=True)
class _Place:
    """A value of a request, its name or number, and the object or list that it is in."""

    value: Any
    name: Any = ""
    parent: _Place | None = None

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return the names or numbers of the values in an object or list, and the values."""
        if isinstance(self.value, list):
            return enumerate(self.value)
        return self.value.items() if isinstance(self.value, dict) else self.value

    @property
    def path(self) -> str:
        """Names and numbers that lead to the value, each cut to a bounded length."""
        name = str(self.name)
        if self.parent is None:
            return name
        if isinstance(self.parent.value, BaseModel):
            name = name.removesuffix("_")  # the name of an attribute
        return f"{self.parent.path}.{shortened_name(name)}".lstrip(".")


def run_options(
    options: RunOptions, extension: Extension, *, effort: int | None = None, **given: Any
) -> RunOptions:
    """Apply the options of a request to those of the server.

    Args:
        options: Options of the server.
        extension: The object `dreamr` of the request.
        effort: Thinking budget that follows from an effort, not from a number of tokens; None for
            that of the server.
        given: Options by the fields of the API; None where there is none.

    Raises:
        ApiError: If a value is invalid, or values do not go together (400).
    """
    given = {**{name: getattr(extension, name) for name in _EXTENDED}, **given}
    known = {name: value for name, value in given.items() if value is not None}
    if "top_p" in known:
        known["top_p"] = max(0.01, known["top_p"])
    if "top_k" in known:
        known["top_k"] = max(0, known["top_k"])
    if "seed" in known:
        known["seed"] %= 2**63
    if "thinking_budget" not in known and not (effort is None and "max_tokens" not in known):
        budget = options.thinking_budget if effort is None else effort
        tokens = known.get("max_tokens", options.max_tokens)
        known["thinking_budget"] = _budget_within(budget, tokens)
    try:
        asked = replace(options, **known)
    except BadOption as error:
        raise bad_request(str(error).removeprefix("--"), "dreamr") from error
    if "seed" not in known and may_sample(asked):
        # Without a seed, equal requests get different answers.
        return replace(asked, seed=secrets.randbelow(2**63))
    return asked


def _budget_within(budget: int | None, tokens: int) -> int | None:
    """Return a thinking budget that the client has not set, for a limit on tokens.

    If the budget would leave nothing for the answer, half of the tokens are for the thought.
    """
    if budget is None or budget < tokens:
        return budget
    return tokens // 2 or None


def read_stops(stop: str | list[str] | None, param: str = "stop") -> tuple[str, ...]:
    """Return the stop sequences of a request.

    Args:
        stop: Value of the field.
        param: Name of the field.

    Raises:
        ApiError: If there are too many (400).
    """
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > _MAX_STOPS:
        raise bad_request(
            f"at most {_MAX_STOPS} stop sequences are allowed, not {len(stops)}", param
        )
    return tuple(text for text in stops if text)


def some_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the first 20 of the names of fields, each cut to a bounded length."""
    return tuple(map(shortened_name, nsmallest(_MAX_NAMED, names)))


class Sampled(JsonModel):
    """Fields of sampling that requests of several APIs have."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    seed: int | None = None
    dreamr: Extension | None = None

    def options(
        self, options: RunOptions, *, effort: int | None = None, **given: Any
    ) -> RunOptions:
        """Apply the options of the request to those of the server.

        Args:
            options: Options of the server.
            effort: Thinking budget that follows from an effort; None for that of the server.
            given: Further options; None where there is none.

        Raises:
            ApiError: If a value is invalid, or values do not go together (400).
        """
        own = (name for name in Sampled.model_fields if name != "dreamr")
        given |= {name: getattr(self, name) for name in own}
        return run_options(options, self.extension, effort=effort, **given)

    @property
    def extension(self) -> Extension:
        """The object `dreamr`, empty if there is none."""
        return self.dreamr or Extension()

    def deadline(self, most: float) -> float:
        """Return the time limit of the request in seconds, at most that of the server."""
        return min(most, self.extension.deadline or most)


def refuse_fields(extra: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse fields that ask for what the gateway cannot do.

    Args:
        extra: Fields of the request.
        neutral: Refused fields, each with the values that ask for nothing. Null is one, always.

    Raises:
        ApiError: If a field has another value (400).
    """
    for name, harmless in neutral.items():
        value = extra.get(name)
        if value is not None and value not in harmless:
            raise bad_request(
                f"{name} = {shortened(value)} is not supported here: leave it out",
                name,
                "unsupported_parameter",
            )
