"""Attachments of requests: taken from the request, stored files or hosts, read after admission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import anyio
import anyio.to_thread
import httpx2

from dreamr.conversation import (
    Attachment,
    AttachmentCache,
    AttachmentError,
    Audio,
    Conversation,
    DecoderUnavailable,
    Document,
    Image,
    ImageHeader,
    MediaOptions,
    NotAnAttachment,
    NotAnImage,
    Part,
    Text,
    Tool,
    Turn,
    Video,
    digest_of,
    fitting_size,
    flatten,
    kind_of,
    read_attachment_isolated,
    read_header,
    read_image,
    read_image_isolated,
)
from dreamr.conversation.kinds import HEAD
from dreamr.serving.gateway.apis.parsed import ParsedMessage
from dreamr.serving.gateway.content_parts import MediaKind, MessagePart, SentMedia
from dreamr.serving.gateway.data_uri import BadDataUri, is_data_uri, read_base64, read_data_uri
from dreamr.serving.gateway.errors import SERVER, ApiError, bad_request
from dreamr.serving.gateway.fetching import Fetcher
from dreamr.serving.gateway.image_hosts import Resolve, resolve_host
from dreamr.serving.gateway.memory import Budget, Lease
from dreamr.serving.gateway.stored_files import FileStore
from dreamr.serving.options import ServeOptions

Found = TypeVar("Found")

# Smaller images of these formats are decoded in milliseconds, which is faster than in a process.
_SMALL_PIXELS = 2**20
_QUICK_FORMATS = ("PNG", "JPEG")
_READERS = 2  # PDF files, videos and sounds that are read at the same time
_RETRY_AFTER = 5  # seconds
_PLAIN = MediaOptions()
# The part that holds a kind of attachment.
_PARTS: dict[type, tuple[str, str]] = {
    Image: ("an image", "image_url"),
    Audio: ("sound", "input_audio"),
    Video: ("a video", "video_url"),
    Document: ("a PDF file", "file"),
}
_EXPECTED: dict[MediaKind, type] = {"video": Video, "sound": Audio}


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """An image file whose header is checked.

    Attributes:
        data: The bytes of the file.
        header: Format and size.
        param: Path of the field in the request, for errors.
    """

    data: bytes
    header: ImageHeader
    param: str


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file of another kind, which its content decides.

    Attributes:
        data: The bytes of the file.
        kind: What the part says it holds.
        param: Path of the field in the request, for errors.
        name: Name of the file, if the client gave one.
    """

    data: bytes
    kind: MediaKind
    param: str
    name: str | None = None


ReceivedPart: TypeAlias = str | ReceivedImage | ReceivedFile


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message whose attachments are received but not decoded.

    Attributes:
        message: The message as it was sent.
        parts: Its parts.
    """

    message: ParsedMessage
    parts: tuple[ReceivedPart, ...]


class StoredContent(Protocol):
    """Files that requests name by id."""

    async def read(self, file_id: str, lease: Lease, param: str) -> bytes:
        """Return the content of a file, whose bytes are taken from the lease.

        Raises:
            ApiError: If there is no such file for the client of the lease.
        """
        ...


class MediaFetcher:
    """Reader of the attachments of requests.

    Args:
        limits: Allowed hosts and largest sizes.
        files: Uploaded files, which requests can name.
        fit: Returns the number of pixels to which larger images are shrunk; None if they keep
            their size, as by default.
        read: Attachments that were read, so that each is decoded once for all turns of a chat.
        resolve: Resolves host names; replaced in tests.
        transport: HTTP transport; replaced in tests.
    """

    def __init__(
        self,
        limits: ServeOptions,
        files: StoredContent | None = None,
        *,
        fit: Callable[[], int | None] = lambda: None,
        read: AttachmentCache | None = None,
        resolve: Resolve = resolve_host,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits, self._fit = limits, fit
        self._files: StoredContent = files or FileStore(limits)
        self._read = read or AttachmentCache()
        self._fetcher = Fetcher(limits, resolve, transport)
        self._decoding = Budget(limits.max_upload_pixels)
        self._reading = anyio.Semaphore(_READERS)
        # One thread at a time, which leaves the interpreter's lock to the event loop.
        self._thread = anyio.CapacityLimiter(1)

    async def receive(
        self, messages: Sequence[ParsedMessage], lease: Lease, tools: tuple[Tool, ...] = ()
    ) -> tuple[ReceivedMessage, ...]:
        """Take all files from the request, from storage or from their hosts; check image headers.

        Args:
            messages: Messages of a request.
            lease: Takes the bytes of files that are fetched or stored, for its client.
            tools: Tools that the model may call.

        Raises:
            ApiError: If a file cannot be had or is an image with a bad header.
            ConversationError: If the messages are not a prompt that can be answered.
        """
        stand_ins = [message.turn(list(map(_stand_in, message.parts))) for message in messages]
        Conversation(tuple(stand_ins), tools).check()
        return tuple(
            [
                ReceivedMessage(
                    message,
                    tuple([await self._received(part, lease) for part in message.parts]),
                )
                for message in messages
            ]
        )

    def pixels(self, messages: Sequence[ReceivedMessage], media: MediaOptions = _PLAIN) -> int:
        """Return the pixels that all images, pages and frames can have after shrinking."""
        parts = [part for message in messages for part in message.parts]
        images = [part for part in parts if isinstance(part, ReceivedImage)]
        fit = self._fit() or self._limits.max_upload_pixels
        sizes = [fitting_size(i.header.width, i.header.height, fit) for i in images]
        pixels = sum(width * height for width, height in sizes)
        if not any(isinstance(part, ReceivedFile) and part.kind != "sound" for part in parts):
            return pixels
        # How many pages a file has is known when it is read.
        most = pixels + (self._limits.max_images - len(images)) * media.pixels
        return max(pixels, min(most, self._limits.max_total_pixels))

    async def decode(
        self,
        messages: Sequence[ReceivedMessage],
        media: MediaOptions = _PLAIN,
        salt: str | None = None,
        tools: tuple[Tool, ...] = (),
    ) -> Conversation:
        """Convert messages to a conversation, with all attachments read and shrunk.

        Args:
            messages: Messages of a request.
            media: Which pages and frames are read.
            salt: Attachments that were read with another salt are read again.
            tools: Tools that the model may call.

        Raises:
            ApiError: If an attachment cannot be read, or there are too many pages and frames.
            ConversationError: If nothing is asked, in writing or in sound.
        """
        turns: list[Turn] = []
        left = self._limits.max_images
        for message in messages:
            parts: list[Part] = []
            for part in message.parts:
                if isinstance(part, str):
                    parts.append(Text(part))
                    continue
                read = await self._decoded(part, media, salt)
                left -= len(flatten(Conversation((Turn("user", (read,)),))).images)
                if left < 0:
                    raise bad_request(
                        f"the request has more than {self._limits.max_images} images, pages and "
                        "frames: choose fewer, with dreamr.pages or dreamr.frames for example, "
                        "or raise --max-images of the gateway",
                        part.param,
                    )
                parts.append(read)
            turns.append(message.message.turn(parts))
        conversation = Conversation(tuple(turns), tools)
        conversation.check()
        return conversation

    async def _received(self, part: MessagePart, lease: Lease) -> ReceivedPart:
        if isinstance(part, str):
            return part
        try:
            data = await self._content(part, lease)
            if part.kind in ("image", "file"):
                return await self._image(data, part)
        except (AttachmentError, BadDataUri) as error:
            raise bad_request(str(error), part.param, f"invalid_{part.kind}") from error
        return ReceivedFile(data, part.kind, part.param, part.name)

    async def _content(self, part: SentMedia, lease: Lease) -> bytes:
        if part.file_id is not None:
            return await self._files.read(part.file_id, lease, part.param)
        if part.base64 is not None:
            return await self._in_thread(read_base64, part.base64)
        url = part.url or ""
        if is_data_uri(url):
            return await self._in_thread(read_data_uri, url)
        if url[:8].lower().startswith(("http://", "https://")):
            return await self._fetcher.fetch(part, lease)
        article = "an" if part.kind == "image" else "a"
        raise bad_request(
            f"{article} {part.kind} URL must start with data:, http:// or https://", part.param
        )

    async def _image(self, data: bytes, part: SentMedia) -> ReceivedImage | ReceivedFile:
        most = self._limits.max_upload_pixels
        try:
            header = await self._in_thread(lambda: read_header(data, max_pixels=most))
        except NotAnImage:
            if part.kind == "image":
                if not _is_of_another_kind(data):
                    raise
                message = "the image is a file of another kind: send it as file"
                raise bad_request(message, part.param, "invalid_image") from None
            return ReceivedFile(data, part.kind, part.param, part.name)
        return ReceivedImage(data, header, part.param)

    async def _decoded(
        self, file: ReceivedImage | ReceivedFile, media: MediaOptions, salt: str | None
    ) -> Attachment:
        """Return the attachment of a file, which is read unless it was before."""
        name = file.name if isinstance(file, ReceivedFile) else None
        options = media if isinstance(file, ReceivedFile) else self._fit()
        known = await self._in_thread(digest_of, file.data), name, salt
        found = self._read.get(known, options)
        if found is None:
            if isinstance(file, ReceivedImage):
                found = await self._decoded_image(file)
            else:
                found = await self._decoded_file(file, media)
            self._read.keep(known, options, found)
        if isinstance(file, ReceivedFile):
            _check_kind(file, found)
        return found

    async def _decoded_file(self, file: ReceivedFile, media: MediaOptions) -> Attachment:
        try:
            async with self._reading:
                return await read_attachment_isolated(file.data, media, name=file.name)
        except DecoderUnavailable as error:
            raise _unavailable(error) from error
        except AttachmentError as error:
            raise bad_request(str(error), file.param, f"invalid_{file.kind}") from error

    async def _decoded_image(self, image: ReceivedImage) -> Image:
        header, most, fit = image.header, self._limits.max_upload_pixels, self._fit()
        pixels = header.width * header.height
        try:
            if pixels <= _SMALL_PIXELS and header.format in _QUICK_FORMATS:
                return await self._in_thread(
                    lambda: read_image(image.data, max_pixels=most, fit=fit)
                )
            await self._decoding.wait(pixels)
            try:
                return await read_image_isolated(image.data, max_pixels=most, fit=fit)
            finally:
                self._decoding.give(pixels)
        except DecoderUnavailable as error:
            raise _unavailable(error) from error
        except AttachmentError as error:
            raise bad_request(str(error), image.param, "invalid_image") from error

    async def _in_thread(self, work: Callable[..., Found], *arguments: object) -> Found:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._thread)


def _unavailable(error: DecoderUnavailable) -> ApiError:
    wait = {"Retry-After": str(_RETRY_AFTER)}
    return ApiError(503, str(error), SERVER, code="overloaded", headers=wait)


def _is_of_another_kind(data: bytes) -> bool:
    """Return whether a file can be attached and is not an image."""
    try:
        return kind_of(data[:HEAD], "").name != "image"
    except NotAnAttachment:
        return False


def _check_kind(file: ReceivedFile, found: Attachment) -> None:
    """Check that a file holds what its part says.

    Raises:
        ApiError: If it does not (400).
    """
    expected = _EXPECTED.get(file.kind)
    if expected is not None and not isinstance(found, expected):
        what, part = _PARTS[type(found)]
        raise bad_request(
            f"the {file.kind} is {what}: send it as {part}", file.param, f"invalid_{file.kind}"
        )


def _stand_in(part: MessagePart) -> Part:
    """Return a part with which a conversation can be checked before anything is read."""
    if isinstance(part, str):
        return Text(part)
    return Audio(b"", 0.0) if part.kind in ("sound", "file") else Text("")
