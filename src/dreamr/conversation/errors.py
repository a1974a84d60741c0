"""Errors about conversations and attachments: one class for each reason.

Each message is one line that names the input, the problem and the remedy.
"""

from __future__ import annotations

from dreamr.errors import ConversationError


class BadConversation(ConversationError):
    """The conversation has no turn, an empty question, or a last turn that is not the user's."""


class AttachmentError(ConversationError):
    """Base class of errors about one attachment: an image, a PDF file, a video or sound."""


class AttachmentMissing(AttachmentError):
    """The file does not exist: check the path; download URLs first."""


class AttachmentNotAFile(AttachmentError):
    """The path is a directory, device, pipe or socket: pass the path of one file."""


class AttachmentUnreadable(AttachmentError):
    """The operating system denies access to the file: check its permissions."""


class AttachmentEmpty(AttachmentError):
    """The file is empty: pass a file with content."""


class AttachmentTooLarge(AttachmentError):
    """The file exceeds the size limit in bytes: save a smaller copy."""


class NotAnAttachment(AttachmentError):
    """The file is not of a kind that can be attached: convert it, or paste its text."""


class AttachmentTooExpensive(AttachmentError):
    """Reading the file takes more memory, processor time or output than a file may take.

    Files that were made to use up a machine end here. Save a smaller copy, or choose fewer pages or
    frames.
    """


class DecoderCrashed(AttachmentError):
    """The decoder crashed on the file, in a process of its own: save the file again."""


class DecoderUnavailable(AttachmentError):
    """No process can be started or becomes free to read the file: try again later."""


class MediaNotInstalled(AttachmentError):
    """The libraries for PDF, video and audio are not installed: `pip install "dreamr[media]"`."""


class ImageError(AttachmentError):
    """Base class of errors about the content of one image."""


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


class PdfError(AttachmentError):
    """Base class of errors about the content of one PDF file."""


class PdfEncrypted(PdfError):
    """The PDF file is protected by a password: save a copy without one."""


class PdfDamaged(PdfError):
    """The PDF file, or a chosen page of it, is truncated or corrupt: save it again."""


class BadPages(PdfError):
    """The selection of pages is not one, such as `1-3,7` or `5-`."""


class PageMissing(PdfError):
    """A chosen page is beyond the end of the PDF file."""


class TooManyPages(PdfError):
    """More pages are chosen than a document may have in a conversation: choose fewer."""


class VideoError(AttachmentError):
    """Base class of errors about the content of one video."""


class VideoDamaged(VideoError):
    """The video file is truncated or corrupt, or no frame can be decoded: save it again."""


class NoVideoStream(VideoError):
    """The file has neither video nor sound in it, such as a file of subtitles."""


class TooManyFrames(VideoError):
    """More frames are chosen than a video may have in a conversation: choose fewer."""


class VideoTooManyPixels(VideoError):
    """The frames of the video exceed the pixel limit: save the video in a smaller size."""


class AudioError(AttachmentError):
    """Base class of errors about sound, of an audio file or a video."""


class AudioDamaged(AudioError):
    """The audio file is truncated or corrupt, or no sound can be decoded: save it again."""


class AudioEmpty(AudioError):
    """The audio file lasts no time: record it again."""


class AudioTooLong(AudioError):
    """The sound lasts longer than the limit: cut it, or leave out the sound of a video."""


class MissingCodec(AttachmentError):
    """No decoder for the codec of the video or sound is available: convert the file."""
