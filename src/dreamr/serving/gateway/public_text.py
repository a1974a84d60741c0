"""Texts for clients, without the locations of models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dreamr.trace import Event, JudgeEnded, Note, RunFinished, RunStarted

_URL = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>.,:;!?)\]]")
_AT_SERVER = re.compile(r" at [a-z]+://\S*$")  # end of the name of a model on a server
_ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b")
_FOLDERS = re.compile(r"(?<![\w/.:~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\",:;]+[/\\])+(?=[^\s/\\])")


class PublicText:
    """Takes the locations of models out of texts that clients see.

    Folders and addresses are known to those who run the gateway, from its log.

    Args:
        names: Names of the engines: a folder, an id, or a name and the address of a server.
    """

    def __init__(self, names: Iterable[str]) -> None:
        longest_first = sorted(set(names), key=len, reverse=True)
        self._names = {name: public_name(name) for name in longest_first}

    def text(self, text: str) -> str:
        """Return a text about a failure with names instead of locations."""
        for name, public in self._names.items():
            text = text.replace(name, public)
        text = _ADDRESS.sub("an address", _URL.sub("its server", text))
        return _FOLDERS.sub("", text)

    def event(self, event: Event) -> Event:
        """Return an event of a run with names instead of locations."""
        match event:
            case RunStarted(draft=draft, target=target):
                draft, target = (name and public_name(name) for name in (draft, target))
                return replace(event, draft=draft, target=target)
            case JudgeEnded(error=str(error)):
                return replace(event, error=self.text(error))
            case Note(message=message):
                return replace(event, message=self.text(message))
            case RunFinished(result=result) if result.error is not None:
                return replace(event, result=replace(result, error=self.text(result.error)))
        return event


def public_name(name: str) -> str:
    """Return the name of a model for clients: without its folder, and without its server."""
    name = _AT_SERVER.sub("", name)
    path = Path(name)
    # Ids of models have one slash, as folders can have.
    if path.is_absolute() or len(path.parts) > 2 or name.startswith((".", "~")) or path.exists():
        return path.name or "model"
    return name
