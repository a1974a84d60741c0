"""Errors about conversations and images: one class for each reason.

Each message is one line that names the input, the problem and the remedy.
"""

from __future__ import annotations

from dreamr.errors import ConversationError


class BadConversation(ConversationError):
    """The conversation has no turn, an empty question, or a last turn that is not the user's."""


class ImageError(ConversationError):
    """Base class of errors about one image."""


class ImageMissing(ImageError):
    """The image file does not exist: check the path; download URLs first."""


class ImageNotAFile(ImageError):
    """The path is a directory, device, pipe or socket: pass the path of one image file."""


class ImageUnreadable(ImageError):
    """The operating system denies access to the image file: check its permissions."""


class ImageEmpty(ImageError):
    """The image file is empty: pass a file with content."""


class ImageFileTooLarge(ImageError):
    """The image file exceeds the size limit in bytes: save a smaller copy."""


class ImageTooManyPixels(ImageError):
    """The decoded image would exceed the pixel limit: save a smaller copy.

    Checked before decoding, so that decompression bombs are not expanded.
    """


class NotAnImage(ImageError):
    """The file is not in a supported image format: convert it, for example to PNG."""


class ImageDamaged(ImageError):
    """The image file is truncated or corrupt: copy or save it again."""


class ImageColorsUnknown(ImageError):
    """The color mode of the image cannot be converted to RGB: save the image as PNG."""
