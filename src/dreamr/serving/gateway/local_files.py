"""A gateway without a socket, for requests of this process that name local files."""

from __future__ import annotations

import os
from pathlib import Path

import anyio.to_thread
import httpx2

from dreamr._reasoner import Reasoner
from dreamr.conversation import MAX_BYTES, AttachmentError
from dreamr.conversation.files import read_file
from dreamr.serving.gateway.app import build_app
from dreamr.serving.gateway.errors import bad_request
from dreamr.serving.gateway.keys import ApiKeys
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.served_pair import ServedPair
from dreamr.serving.options import ServeOptions

_DEADLINE = 86400.0  # seconds of a request


class LocalFiles:
    """Files on this machine, which requests name by path.

    Args:
        folder: Folder that relative paths start from.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, file_id: str, lease: Lease, param: str) -> bytes:
        """Return the content of a file.

        Args:
            file_id: Its path.
            lease: Takes its bytes.
            param: Path of the field in the request, for errors.

        Raises:
            ApiError: If it cannot be read.
        """
        path = self._folder / os.path.expanduser(file_id)
        try:
            data = await anyio.to_thread.run_sync(read_file, path, MAX_BYTES)
        except (AttachmentError, ValueError, RuntimeError) as error:
            raise bad_request(str(error), param, "file_not_found") from error
        lease.take_body(len(data))
        return data


def local_client(reasoner: Reasoner, folder: Path, concurrency: int) -> httpx2.AsyncClient:
    """Return a client of a gateway in this process, without keys and deadlines.

    It is the only client of that gateway, so no places are kept free for others.

    Args:
        reasoner: An open Reasoner.
        folder: Folder of the files that requests name.
        concurrency: Largest number of requests at the same time.
    """
    limits = ServeOptions(
        max_running=concurrency,
        max_waiting=concurrency,
        deadline=_DEADLINE,
        max_body=2 * MAX_BYTES,
        max_total_body=16 * MAX_BYTES,
    )
    files = LocalFiles(folder)
    media = MediaFetcher(limits, files, fit=lambda: reasoner.models.image_pixels)
    pair = ServedPair.of(limits.served_model_name, reasoner, limits)
    # Without keys of its own, the gateway would read those of `dreamr serve`.
    app = build_app([pair], limits, media=media, keys=ApiKeys({}, one_client=True))
    transport = httpx2.ASGITransport(app)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None)
