"""Read the list of models of a server."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.engines.http.fields import Field


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the list of a server.

    Attributes:
        name: Name in requests.
        owner: Its `owned_by`, which tells the kind of server; empty if unknown.
        context: Context length in tokens, None if unknown.
    """

    name: str
    owner: str = ""
    context: int | None = None


def read_models(answer: object, url: str) -> dict[str, Listed]:
    """Return the listed models by name.

    Raises:
        EngineError: If a field cannot be read.
    """
    whole = Field(answer, url)
    listed = whole if isinstance(answer, list) else whole.get("data", "models")
    found = (_model(entry) for entry in listed.items() if entry.value is not None)
    return {model.name: model for model in found if model.name}


def _model(entry: Field) -> Listed:
    if isinstance(entry.value, str):
        return Listed(entry.text())
    name = entry.get("id", "model", "name")
    if isinstance(name.value, int) and not isinstance(name.value, bool):
        name = Field(str(name.value), name.url, name.path)
    owner = entry.get("owned_by").value
    return Listed(name.text(), owner if isinstance(owner, str) else "", _context(entry))


def _context(entry: Field) -> int | None:
    meta = entry.get("meta")
    lengths = [entry.get("max_model_len", "context_length", "context_window")]
    if isinstance(meta.value, dict):
        lengths += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    return next((found for length in lengths if (found := length.count())), None)
