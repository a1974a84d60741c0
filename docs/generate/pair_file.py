"""Generate docs/reference/pair-file.md from the declaration of pair files. Run by scripts/docs."""

from __future__ import annotations

from typing import Any

from dreamr.pairs.shape_of_file import FILE, GATEWAY, LAUNCH, MODEL, PAIR
from dreamr.pairs.shapes import FieldsOf

_HEAD = (
    "# Pair file",
    "Generated from the code by `scripts/docs`. Do not edit. The guide is [Pair files]"
    "(../guides/pair-file.md); the JSON schema is [pair.schema.json](pair.schema.json), which "
    "`dreamr pair schema` prints.",
    "- The file is YAML 1.2 in UTF-8, of at most 256 KiB: `on` and `off` are texts. Aliases, tags "
    "and a second document are refused, as is a key that is given twice.\n"
    "- `${NAME}` in a text is an environment variable, `${NAME:-default}` one with a default, "
    "`$${` a dollar and a brace. A number or a switch can be a variable as a whole.\n"
    "- Relative paths start at the folder of the file. A `model` is a folder if it begins with "
    "`./`, `../`, `/` or `~`, or if there is a folder of that name.",
)


def page() -> str:
    """Return the page as Markdown."""
    sections = (
        ("File", FILE),
        ("`models.NAME`", MODEL),
        ("`models.NAME.launch`", LAUNCH),
        ("`pairs.NAME`", PAIR),
        ("`gateway`", GATEWAY),
    )
    return "\n\n".join([*_HEAD, *(_section(title, record) for title, record in sections)]) + "\n"


def _section(title: str, record: FieldsOf) -> str:
    schema = record.schema()
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for key, shape in schema["properties"].items():
        must = "required" if key in record.required else ""
        default = shape.get("default", must)
        shown = default if isinstance(default, str) else _json(default)
        lines.append(f"| `{key}` | {_kind(shape)} | {shown} | {shape['description']} |")
    rules = [f"Exactly one of {_codes(record.one_of)} is needed."] if record.one_of else []
    rules += [f"At least one of {_codes(record.some_of)} is needed."] if record.some_of else []
    rules += [f"`{key}` needs `{other}`." for key, other in record.needs.items()]
    parts = [f"## {title}", record.about, "\n".join(lines)]
    return "\n\n".join([*parts, *([" ".join(rules)] if rules else [])])


def _kind(shape: dict[str, Any]) -> str:
    """Return what a value is, in words."""
    choices = [one for one in shape.get("anyOf", ()) if "$ref" not in one]
    if choices:
        return " or ".join(dict.fromkeys(map(_kind, choices)))
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    match shape["type"]:
        case "object" if "properties" in shape:
            return "mapping"
        case "object":
            return "mapping of names"
        case "array":
            return "list"
        case "null":
            return "empty"
        case "boolean":
            return "true or false"
        case "string" | ["string", "number"]:
            return "text"
        case kind:
            return _bounds("whole number" if kind == "integer" else "number", shape)


def _bounds(kind: str, shape: dict[str, Any]) -> str:
    low, high = shape.get("minimum"), shape.get("maximum")
    if low is None:
        return kind
    return f"{kind}, at least {low}" if high is None else f"{kind}, {low} to {high}"


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _codes(names: Any) -> str:
    return " and ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(page(), end="")
