"""Uploaded files that replicas share, in pieces."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from dreamr.serving.store import Kind, Store, StoredRecord

_PIECE = 2**20  # bytes
_PIECES = Kind("file-piece", 2**31, 2**62)  # bounded as files


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file.

    Attributes:
        id: Id by which its owner names it.
        owner: Name of the client that uploaded it.
        name: Name of the file.
        purpose: What it is for, as the client said.
        size: Number of bytes.
        created: Time of the upload, in seconds since the epoch.
        expires: Time at which it is deleted.
    """

    id: str
    owner: str
    name: str
    purpose: str
    size: int
    created: int
    expires: int

    @property
    def lasts(self) -> int:
        """Seconds for which it is kept."""
        return max(1, self.expires - self.created)

    def to_json(self) -> dict[str, Any]:
        """Return the file object of OpenAI's API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created,
            "expires_at": self.expires,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class SharedFiles:
    """Files in a store.

    Args:
        store: The store.
        most_bytes: Bytes of all files.
        most: Number of files.
    """

    def __init__(self, store: Store, most_bytes: int, most: int) -> None:
        self._store, self._records = store, store.records
        self._kind = Kind("file", most, most_bytes, evicts=False)

    @property
    def lost(self) -> bool:
        """Whether the store is lost, so that it does not know all files."""
        return self._store.lost

    async def keep(self, file: StoredFile, path: Path) -> bool:
        """Store a file; return whether there was room.

        Args:
            file: The file.
            path: Where it is.
        """
        about = json.dumps(asdict(file)).encode()
        record = StoredRecord(file.id, file.owner, about)
        if not await self._records.put(self._kind, record, file.lasts, file.size):
            return False
        async with await anyio.open_file(path, "rb") as content:
            number = 0
            while piece := await content.read(_PIECE):
                record = StoredRecord(_name(file, number), file.owner, piece)
                if not await self._records.put(_PIECES, record, file.lasts, len(piece)):
                    await self.delete(file)
                    return False
                number += 1
        return True

    async def find(self, file_id: str, owner: str) -> StoredFile | None:
        """Return a file of a client, None if it has none of this id."""
        found = await self._records.get(self._kind, file_id, owner)
        return None if found is None else StoredFile(**json.loads(found.content))

    async def all(self, owner: str) -> Sequence[StoredFile]:
        """Return the files of a client, the oldest first."""
        found = await self._records.all(self._kind, owner)
        files = [StoredFile(**json.loads(one.content)) for one in found]
        return sorted(files, key=lambda file: file.created)  # the store has the prolonged last

    async def prolong(self, file: StoredFile) -> bool:
        """Keep a file for as long again; return whether the store has it."""
        names = [(_PIECES, _name(file, number)) for number in range(_pieces(file))]
        for kind, name in [(self._kind, file.id), *names]:
            if not await self._records.touch(kind, name, file.owner, file.lasts):
                return False
        return True

    async def copy(self, file: StoredFile, path: Path) -> None:
        """Write a file to a path.

        Raises:
            FileNotFoundError: If it was deleted meanwhile.
        """
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            async with await anyio.open_file(part, "wb") as content:
                for number in range(_pieces(file)):
                    piece = await self._records.get(_PIECES, _name(file, number), file.owner)
                    if piece is None:
                        raise FileNotFoundError(file.name)
                    await content.write(piece.content)
            await anyio.to_thread.run_sync(part.replace, path)
        finally:
            part.unlink(missing_ok=True)  # what is incomplete

    async def delete(self, file: StoredFile) -> bool:
        """Delete a file; return whether it was there."""
        found = await self._records.delete(self._kind, file.id, file.owner)
        for number in range(_pieces(file)):
            await self._records.delete(_PIECES, _name(file, number), file.owner)
        return found


def _pieces(file: StoredFile) -> int:
    return math.ceil(file.size / _PIECE)


def _name(file: StoredFile, number: int) -> str:
    return f"{file.id}.{number}"
