"""One class for each way in which a picture or a conversation can be unusable.

Every message is one line: what is wrong with which input, and what to do about it.
"""

from __future__ import annotations

from dreamr.errors import ConversationError


class BadConversation(ConversationError):
    """No turns, an empty question, or a last turn that is not the user's."""


class ImageError(ConversationError):
    """Base of all errors about one picture."""


class ImageMissing(ImageError):
    """There is no file of that name."""


class ImageNotAFile(ImageError):
    """The path is a directory, a device, a pipe or a socket."""


class ImageUnreadable(ImageError):
    """The operating system refuses to hand over the file's bytes."""


class ImageEmpty(ImageError):
    """The file has no bytes."""


class ImageFileTooLarge(ImageError):
    """The file has more bytes than any sensible picture."""


class ImageTooManyPixels(ImageError):
    """The picture would be larger than the bound once decoded (a decompression bomb, perhaps)."""


class NotAnImage(ImageError):
    """The bytes are in none of the known picture formats."""


class ImageDamaged(ImageError):
    """The file begins like a picture, but it is cut short or corrupt."""


class ImageColorsUnknown(ImageError):
    """The picture is sound, but its colour space cannot be turned into RGB."""
