"""Messages about invalid fields of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from dreamr.serving.gateway.errors import ApiError, bad_request, shortened, shortened_name

_Value = TypeVar("_Value")

# What is wrong, by the type of a validation error; fields are from its context.
_REASONS = {
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "extra_forbidden": "is not a known field",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be an integer",
    "int_type": "must be an integer",
    "json_invalid": "is not valid JSON: {error}",
    "less_than_equal": "must be at most {le:g}",
    "list_type": "must be a list",
    "missing": "is required",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "string_type": "must be a string",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must not be empty",
}
# Types of fields that pydantic adds to the path of a union.
_TYPES = ("_Url", "_NamedTool", "str", "list[str]")


def _without_types(path: Sequence[str | int]) -> list[str | int]:
    return [part for part in path if part not in _TYPES]


def tagged(
    types: TypeAdapter[_Value],
    value: Any,
    where: str,
    what: str,
    known: str,
    code: str | None = None,
) -> _Value:
    """Return a value of one of several types, which its field `type` names.

    Args:
        types: The types.
        value: Value of the field.
        where: Path of the field in the request.
        what: Name of such values in the API.
        known: Names of the types.
        code: Code of the error about a type that is not one of them.

    Raises:
        ApiError: If the value is of no such type, or one of its fields is invalid.
    """
    try:
        return types.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        if not found["type"].startswith("union_tag"):
            raise invalid_field(error, where, is_tagged=True) from error
        kind = value.get("type") if isinstance(value, Mapping) else value
        inner = ".".join(map(str, found["loc"][1:]))  # a field that has a type of its own
        if inner:
            what, where = f"the {inner} of a {what}", f"{where}.{inner}"
            tags = found.get("ctx", {}).get("expected_tags", "")
            known = f"one of type {tags}".replace("'", "") if tags else "one with a type"
        message = f"{what} {shortened(kind)} is not supported: use {known}"
        raise bad_request(message, where, code) from error


def invalid_field(
    error: ValidationError, where: str | None = None, *, is_tagged: bool = False
) -> ApiError:
    """Describe the first invalid field in the terms of the request.

    Args:
        error: What is wrong with the body, or with a part of it.
        where: Path of that part; None for the body.
        is_tagged: Whether the part is of one of several types, whose name begins pydantic's path.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    path = first["loc"] if first["type"] == "extra_forbidden" else _without_types(first["loc"])
    path = path[1:] if is_tagged else path
    place = ".".join(shortened_name(str(part)) for part in path)
    param = ".".join(filter(None, (where, place))) or None
    reason = _REASONS.get(first["type"])
    text = f": {first['msg']}" if reason is None else " " + reason.format_map(first.get("ctx", {}))
    return bad_request((param or "the request body") + text, param)
