"""Conversations: turns with typed, immutable content parts, and the reading of images."""

from dreamr.conversation.encoding import FILE_FORMATS, as_file
from dreamr.conversation.errors import (
    BadConversation,
    ImageColorsUnknown,
    ImageDamaged,
    ImageEmpty,
    ImageError,
    ImageFileTooLarge,
    ImageMissing,
    ImageNotAFile,
    ImageTooManyPixels,
    ImageUnreadable,
    NotAnImage,
)
from dreamr.conversation.flattening import clock, evenly, flatten
from dreamr.conversation.images import (
    MAX_BYTES,
    MAX_PIXELS,
    ImageHeader,
    read_header,
    read_image,
    thumbnail,
    to_pillow,
)
from dreamr.conversation.isolated import read_image_isolated
from dreamr.conversation.parts import (
    Attachment,
    Audio,
    Conversation,
    Document,
    Frame,
    Image,
    ImageFormat,
    Page,
    Part,
    Text,
    Turn,
    Video,
)
from dreamr.conversation.shrinking import fitting_size
from dreamr.conversation.sources import ImageSource

__all__ = [
    "FILE_FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Attachment",
    "Audio",
    "BadConversation",
    "Conversation",
    "Document",
    "Frame",
    "Image",
    "ImageColorsUnknown",
    "ImageDamaged",
    "ImageEmpty",
    "ImageError",
    "ImageFileTooLarge",
    "ImageFormat",
    "ImageHeader",
    "ImageMissing",
    "ImageNotAFile",
    "ImageSource",
    "ImageTooManyPixels",
    "ImageUnreadable",
    "NotAnImage",
    "Page",
    "Part",
    "Text",
    "Turn",
    "Video",
    "as_file",
    "clock",
    "evenly",
    "fitting_size",
    "flatten",
    "read_header",
    "read_image",
    "read_image_isolated",
    "thumbnail",
    "to_pillow",
]
