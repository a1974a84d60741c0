"""Text that is not dreamr's own in its messages: one line, printable, short, without data.

Texts of servers, files, users and other libraries can hold line breaks, terminal escapes, megabytes
or encoded images. Every message that quotes such a text passes it through one of these functions.
"""

from __future__ import annotations

import re

MOST = 300  # characters of a quoted text
_MOST_READ = 2**20  # characters that are looked at; what follows is never shown
_DATA_URI = re.compile(r"(?i)\b(data:[^,\s'\"]{0,200}),[^\s'\"<>]*")
_ENCODED = re.compile(r"([\w+/=-]{24})[\w+/=-]{100,}")  # Base64 and the like


def one_line(text: object, most: int = MOST) -> str:
    """Return a foreign text for a message.

    White space becomes single spaces, unprintable characters are escaped, and the contents of data
    URIs and other encoded data are left out.

    Args:
        text: The text; of other objects, what `str` returns.
        most: Largest number of characters.
    """
    shown = str(text)[:_MOST_READ]
    shown = _ENCODED.sub(r"\1...", _DATA_URI.sub(r"\1,...", shown))
    shown = " ".join(shown.split())
    return _cut(shown if shown.isprintable() else "".join(map(_printable, shown)), most)


def reason(error: BaseException, most: int = MOST) -> str:
    """Return why an operation failed, from an exception of another library.

    Args:
        error: The exception.
        most: Largest number of characters.
    """
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror, most)
    if isinstance(error, UnicodeError):  # its text can quote what was encoded
        return "it holds characters that cannot be encoded or decoded"
    return one_line(error, most) or type(error).__name__


def first_line(error: BaseException, most: int = MOST) -> str:
    """Return the first line of an error of a library that explains itself on many.

    Args:
        error: The exception.
        most: Largest number of characters.
    """
    lines = [line for line in str(error)[:_MOST_READ].splitlines() if line.strip()]
    return one_line(lines[0], most).rstrip(".") if lines else type(error).__name__


def describe(error: BaseException, most: int = MOST) -> str:
    """Return kind and text of an error from code of others, for its author.

    Args:
        error: The exception.
        most: Largest number of characters of its text.
    """
    text = reason(error, most)
    kind = type(error).__name__
    return kind if text == kind else f"{kind}: {text}"


def short_path(path: object, most: int = 120) -> str:
    """Return a path, name or address for a message: its beginning and its end if it is long.

    Args:
        path: The path.
        most: Largest number of characters.
    """
    text = str(path)
    if text[:5].lower() == "data:":
        return one_line(text, most)
    if len(text) > most:
        end = most // 2
        text = f"{text[: most - end - 3]}...{text[-end:]}"
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
