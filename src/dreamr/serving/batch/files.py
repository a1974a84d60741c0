"""Attachments of a batch: files beside the requests, which requests name by path."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from dreamr.conversation import MAX_BYTES, AttachmentError
from dreamr.conversation.files import read_file
from dreamr.serving.gateway.errors import bad_request
from dreamr.serving.gateway.memory import Lease


class LocalFiles:
    """Files on this machine.

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
        path = self._folder / Path(file_id).expanduser()
        try:
            data = await anyio.to_thread.run_sync(read_file, path, MAX_BYTES)
        except (AttachmentError, ValueError) as error:
            raise bad_request(str(error), param, "file_not_found") from error
        lease.take_body(len(data))
        return data
