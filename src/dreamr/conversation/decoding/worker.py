"""The decoder process: reads the files of requests until its connection closes."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import IO

from dreamr._hangups import exit_at_hangup
from dreamr._messages import describe
from dreamr.conversation.decoding import limits
from dreamr.conversation.decoding.ipc import (
    MOST_OUTPUT,
    Piece,
    Request,
    receive_request,
    send_piece,
)
from dreamr.conversation.decoding.process import LESS, too_much_memory
from dreamr.conversation.errors import (
    AttachmentError,
    AttachmentTooExpensive,
    DecoderCrashed,
    MediaNotInstalled,
)


def main(descriptor: int, parent: int) -> None:
    """Serve on an inherited stream socket.

    Args:
        descriptor: File descriptor of the socket.
        parent: Id of the process that uses this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = socket.socket(fileno=descriptor)
    exit_at_hangup(descriptor, parent)
    limits.confine()
    growth = limits.Growth()
    while True:
        try:
            request, file = receive_request(link)
        except EOFError:
            os._exit(0)
        _serve(link, request, file, growth)


def _serve(link: socket.socket, request: Request, descriptor: int, growth: limits.Growth) -> None:
    limits.grant_processor_time()
    error: AttachmentError | None = None
    keep = True
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            left = MOST_OUTPUT
            for fields, data in _reader(request.kind)(file, request):
                left -= len(data)
                if left < 0:
                    raise AttachmentTooExpensive(
                        f"{request.shown} gives more than {MOST_OUTPUT >> 20} MiB: {LESS}"
                    )
                send_piece(link, fields, data)
    except AttachmentError as found:
        error = found
    except MemoryError:
        error, keep = AttachmentTooExpensive(too_much_memory(request.shown)), False
    except ImportError as found:
        error = MediaNotInstalled(
            f"{request.shown} needs libraries that are not installed ({describe(found)}): "
            "pip install 'dreamr[media]'"
        )
    except Exception as found:  # of libraries, on a file that they did not expect
        error = DecoderCrashed(
            f"{request.shown} cannot be decoded ({describe(found)}): it is damaged, save it again"
        )
    gc.collect()
    keep = keep and growth.is_small()
    if error is None:
        send_piece(link, {"end": "kept" if keep else "last"})
    else:
        send_piece(link, {"error": [type(error).__name__, str(error)], "kept": keep})


def _reader(kind: str) -> Callable[[IO[bytes], Request], Iterator[Piece]]:
    """Return the reader of a kind; its library is imported on first use."""
    if kind == "pdf":
        from dreamr.conversation.decoding.pdf import read_pdf

        return read_pdf
    from dreamr.conversation.decoding.media import read_media

    return read_media
