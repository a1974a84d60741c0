"""Messages between a caller and its decoder processes.

A message is two lengths, a JSON object and data. A request is sent with the descriptor of the file.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from dreamr.conversation.media_options import MediaOptions

SECONDS = 60  # in which a file must be read
CPU_SECONDS = 10  # of processor time that a file may take
MEMORY = 2**30  # bytes of address space of a decoder process
MOST_OUTPUT = 2**28  # bytes of all pages, frames and sound of a file

Piece: TypeAlias = tuple[dict[str, Any], bytes]

_LENGTHS = struct.Struct(">II")
_MOST_FIELDS = 2**20  # bytes of a JSON object
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read.

    Attributes:
        kind: What reads it.
        container: FFmpeg's name of the container.
        shown: The file in messages.
        options: How much of it is read.
    """

    kind: Literal["image", "pdf", "media"]
    container: str
    shown: str
    options: MediaOptions


def send_request(link: socket.socket, request: Request, descriptor: int) -> None:
    """Send a request with the descriptor of its file."""
    message = _packed(asdict(request), b"")
    sent = socket.send_fds(link, [message], [descriptor])
    link.sendall(message[sent:])


def receive_request(link: socket.socket) -> tuple[Request, int]:
    """Wait for a request; return it with the descriptor of its file.

    Raises:
        EOFError: If the caller has closed the connection.
    """
    head, descriptors, _, _ = socket.recv_fds(link, _LENGTHS.size, 1)
    if not head:
        raise EOFError
    head += _exactly(link, _LENGTHS.size - len(head), None)
    fields = json.loads(_exactly(link, _LENGTHS.unpack(head)[0], None))
    fields["options"] = MediaOptions(**fields["options"])
    return Request(**fields), descriptors[0]


def send_piece(link: socket.socket, fields: dict[str, Any], data: bytes = b"") -> None:
    """Send a part of what was read."""
    link.sendall(_packed(fields, b"", len(data)))
    link.sendall(data)


def receive_piece(link: socket.socket, deadline: float, most: int) -> Piece:
    """Receive a part of what was read.

    Args:
        link: The connection.
        deadline: When it must have come, in the time of `time.monotonic`.
        most: Largest number of bytes of data.

    Raises:
        TimeoutError: If it does not come in time.
        EOFError: If the process has ended.
        ValueError: If the message is not one, or larger.
    """
    fields_size, size = _LENGTHS.unpack(_exactly(link, _LENGTHS.size, deadline))
    if fields_size > _MOST_FIELDS or size > most:
        raise ValueError("a message is larger than allowed")
    fields = json.loads(_exactly(link, fields_size, deadline))
    if not isinstance(fields, dict):
        raise ValueError("a message is not a JSON object")
    return fields, bytes(_exactly(link, size, deadline))


def _packed(fields: dict[str, Any], data: bytes, size: int | None = None) -> bytes:
    text = json.dumps(fields).encode()
    return _LENGTHS.pack(len(text), len(data) if size is None else size) + text + data


def _exactly(link: socket.socket, size: int, deadline: float | None) -> bytearray:
    found = bytearray()
    while len(found) < size:
        if deadline is not None:
            link.settimeout(max(0.001, deadline - time.monotonic()))
        part = link.recv(min(_CHUNK, size - len(found)))
        if not part:
            raise EOFError
        found += part
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
    return found
