"""Texts for clients, without the locations of models and without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from dreamr._reasoner import Reasoner
from dreamr.trace import Event, JudgeEnded, Note, RunFinished, RunStarted

_ADDRESS, _PATH = "an address", "a path"
_SHORTEST_HOST = 4  # characters; shorter names are also words

_AT_SERVER = re.compile(r" at [a-z]+://\S*$")  # end of the name of a model on a server
_URL = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>.,:;!?)\]]")
_KEYS = re.compile(
    r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}|\b(sk|hf|xox\w|gh\w)[-_][\w-]{8,}"
    r"|\b(api[-_ ]?key|access[-_ ]?key|token|passw(?:or)?d|secret|authorization)(['\"]?\s*[:=]\s*)"
    r"[^\s,;]+"
)
_USER_AT_HOST = re.compile(r"[^\s'\"/@]+:[^\s'\"@]+@[^\s'\"]+")
_IPV4 = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?::\d+)?\b")
_IPV6 = re.compile(
    r"(?i)(?<![\w:.])\[?(?=[\da-f.]*:[\da-f.]*:)([\da-f:.]*[\da-f:])(%[\w.-]+)?(?:/\d{1,3}\b)?"
    r"(\](?::\d+)?)?(?![\w])"
)
_HOST_AND_PORT = re.compile(
    r"\b(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)+\.?:\d{1,5}|[a-z][\w-]*:\d{4,5})\b", re.IGNORECASE
)
_HOST = re.compile(
    r"\b(?:[a-z0-9_-]+\.)+(?:internal|intra|intranet|local|localdomain|localhost|lan|corp|home"
    r"|private|svc|cluster|arpa|com|net|org|io|cloud|dev)\b",
    re.IGNORECASE,
)
_START_OF_PATH = r"(?:~[\w-]*|[A-Za-z]:|\.{1,2})?[/\\]{1,2}(?=[\w.~@$-])"
_QUOTED_PATH = re.compile(rf"(['\"]){_START_OF_PATH}[^'\"\n]*\1")
_ANY_PATH = re.compile(rf"(?<![\w.:/\\~)-]){_START_OF_PATH}[^\s'\"<>|]*[^\s'\"<>|.,:;!?)\]]")


class PublicText:
    """Takes the locations of models out of texts that clients see.

    Folders and addresses are known to those who run the gateway, from its log.

    Args:
        locations: Returns what must not be seen, with what is shown instead: names of engines,
            addresses, hosts and folders.
    """

    def __init__(self, locations: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._locations = locations

    @classmethod
    def of(cls, *reasoners: Reasoner) -> PublicText:
        """Return the one for the models of Reasoners, which can be opened later."""
        return cls(lambda: chain.from_iterable(map(_locations, reasoners)))

    def text(self, text: str) -> str:
        """Return a text about a failure with names instead of locations."""
        known = dict(self._locations())
        servers = {_origin(location) for location in known if _URL.fullmatch(location)}

        def quoted(found: re.Match[str]) -> str:
            mark, path = found.group(1), found.group()[1:-1]
            return f"{mark}{known.get(path, _PATH)}{mark}"

        def server(found: re.Match[str]) -> str:
            return "its server" if _origin(found.group()) in servers else _ADDRESS

        text = _QUOTED_PATH.sub(quoted, text)
        text = _replace(text, {name: shown for name, shown in known.items() if " at " in name})
        text = _USER_AT_HOST.sub(_ADDRESS, _URL.sub(server, _KEYS.sub("***", text)))
        text = _replace(text, known)
        text = _IPV6.sub(_without_ipv6, _ANY_PATH.sub(_PATH, text))
        for pattern in (_IPV4, _HOST_AND_PORT, _HOST):
            text = pattern.sub(_ADDRESS, text)
        return text

    def event(self, event: Event) -> Event:
        """Return an event of a run with names instead of locations."""
        match event:
            case RunStarted(draft=draft, target=target, options=options):
                draft, target = (name and public_name(name) for name in (draft, target))
                shown = {
                    name: self.text(value) if isinstance(value, str) else value
                    for name, value in options.items()
                }
                return replace(event, draft=draft, target=target, options=shown)
            case JudgeEnded(error=str(error)):
                return replace(event, error=self.text(error))
            case Note(message=message):
                return replace(event, message=self.text(message))
            case RunFinished(result=result) if result.error is not None:
                return replace(event, result=replace(result, error=self.text(result.error)))
        return event


@lru_cache(maxsize=256)
def public_name(name: str) -> str:
    """Return the name of a model for clients: without its folder, and without its server."""
    name = _AT_SERVER.sub("", name)
    if "://" in name:
        return "model"
    path = Path(name)
    # Ids of models have one slash, as folders can have.
    if path.is_absolute() or len(path.parts) > 2 or name.startswith((".", "~")) or path.exists():
        return path.name or "model"
    return name.rpartition("\\")[2] or "model"


def _locations(reasoner: Reasoner) -> Iterable[tuple[str, str]]:
    """Yield the locations of the models, each with what clients see instead."""
    for role, model in reasoner.models.items():
        name = model.engine.name
        yield name, public_name(name)
        yield _AT_SERVER.sub("", name), public_name(name)
        source = reasoner.options.source(role)
        for given in (source.name, source.server_model, name.rpartition(" at ")[2]):
            if given:
                yield from _location(given)


def _location(given: str) -> Iterable[tuple[str, str]]:
    if "://" not in given:
        yield given, public_name(given)
        return
    parts = urlsplit(given)
    yield given, "its server"
    yield parts.netloc, _ADDRESS
    if parts.hostname and len(parts.hostname) >= _SHORTEST_HOST:
        yield parts.hostname, _ADDRESS


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL."""
    return "/".join(url.split("/", 3)[:3]).lower()


def _replace(text: str, known: Mapping[str, str]) -> str:
    """Replace whole locations in a text, the longest first."""
    for location in sorted(known, key=len, reverse=True):
        whole = re.compile(rf"(?<!\w){re.escape(location)}(?![\w/\\])")
        text = whole.sub(known[location].replace("\\", r"\\"), text)
    return text


def _without_ipv6(found: re.Match[str]) -> str:
    address = found.group(1)
    for rest in ("", address[-1:]):  # a colon after the address is punctuation
        try:
            ip_address(address.removesuffix(rest))
        except ValueError:
            continue
        return _ADDRESS + rest
    return found.group()  # a time of day, or a name of C++
