"""API keys as users give them: in environment variables, in files and in Python."""

from __future__ import annotations

import re

from dreamr._option_specs import BadOption

TRANSCRIBER_KEY = "DREAMR_TRANSCRIBER_API_KEY"

# What is copied together with a key from documentation, a header or an editor.
_AROUND = "\ufeff\x1a \t\r\n\v\f\u00a0"
_SCHEME = re.compile(r"(?i)^(?:authorization\s*:\s*)?bearer(?:\s+|$)")
_KINDS = (
    (re.compile(r"[\r\n\v\f\x85\u2028\u2029]"), "a line break"),
    (re.compile(r"\s"), "a space"),
    (re.compile(r"[\x00-\x1f\x7f-\x9f]"), "a control character"),
    (re.compile(r"[^\x20-\x7e]"), "a character that is not ASCII"),
)


def clean_key(text: str, place: str) -> str | None:
    """Return an API key that can be sent in a header.

    White space around the key, one pair of quotes and the word `Bearer` before it are removed.

    Args:
        text: The key as it was given. Never shown.
        place: Where it was given, for messages.

    Returns:
        The key; None if nothing is left.

    Raises:
        BadOption: If the key contains a character that a key cannot have.
    """
    key = text.strip(_AROUND)
    if len(key) > 1 and key[0] == key[-1] and key[0] in "'\"":
        key = key[1:-1].strip(_AROUND)
    key = _SCHEME.sub("", key)
    for pattern, kind in _KINDS:
        if pattern.search(key):
            raise BadOption(
                f"the API key in {place} contains {kind}: give the key alone, as issued"
            )
    return key or None
