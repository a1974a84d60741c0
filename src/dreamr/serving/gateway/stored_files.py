"""Uploaded files: on disk, within bounds, each for its owner and for a limited time."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import anyio.to_thread

from dreamr._messages import reason
from dreamr.serving.gateway.errors import SERVER, ApiError, bad_request, shortened, store_lost
from dreamr.serving.gateway.logs import log
from dreamr.serving.gateway.memory import Lease
from dreamr.serving.gateway.shared_files import SharedFiles, StoredFile
from dreamr.serving.options import ServeOptions
from dreamr.serving.store import Store

_MOST_FILES = 1000


class FileStore:
    """Uploaded files of all clients, in a folder that is deleted with the process.

    With a store that replicas share, that store has all files and bounds them. The folder then has
    copies of those that were uploaded or read here; the oldest copies make room.

    Args:
        limits: Largest number of bytes, and seconds after which a file is deleted.
        clock: Returns the time in seconds since the epoch.
        store: Where replicas share files, if they do.
    """

    def __init__(
        self,
        limits: ServeOptions,
        clock: Callable[[], float] = time.time,
        store: Store | None = None,
    ) -> None:
        self._most, self._seconds = limits.max_stored_bytes, limits.stored_seconds
        self._shared = None
        if store is not None and store.shared:
            self._shared = SharedFiles(store, self._most, _MOST_FILES)
        self._clock = clock
        self._folder: Path | None = None
        self._files: dict[str, StoredFile] = {}
        self._arriving: dict[Upload, int] = {}  # bytes of uploads in progress

    def upload(self, owner: str) -> Upload:
        """Return an upload of a client, to be used as a context manager.

        Raises:
            ApiError: If uploads are turned off (404).
        """
        if not self._most:
            raise ApiError(
                404, "this gateway stores no files: send the file in the request, as file_data"
            )
        self._purge()
        return Upload(self, owner, self._path(_new_id()))

    async def of(self, owner: str) -> list[StoredFile]:
        """Return the files of a client, the latest first."""
        self._purge()
        if self._shared is not None:
            copies = self._own(owner)
            found = list(reversed(await self._shared.all(owner)))
            known = {file.id for file in found}
            self._forget_deleted(file for file in copies if file.id not in known)
            return found
        return list(reversed(self._own(owner)))

    async def find(self, file_id: str, owner: str) -> StoredFile:
        """Return a file of a client; while the store is lost, one that has a copy here.

        Raises:
            ApiError: If the client has no such file (404), or a lost store may have it (503).
        """
        self._purge()
        file = self._files.get(file_id)
        if self._shared is not None:
            copy, file = file, await self._shared.find(file_id, owner)
            if copy is not None and copy.owner == owner and file is None:
                self._forget_deleted([copy])
                file = self._files.get(file_id)  # a lost store may have it
        if file is None or file.owner != owner:
            raise self._missing(file_id)
        return file

    async def delete(self, file_id: str, owner: str) -> None:
        """Delete a file of a client.

        Raises:
            ApiError: If the client has no such file (404), or a lost store may have it (503).
        """
        file = await self.find(file_id, owner)
        if self._shared is not None and not await self._shared.delete(file) and self._shared.lost:
            raise self._missing(file_id)
        self._forget([file])

    async def content(self, file: StoredFile) -> bytes:
        """Return the content of a file.

        Raises:
            ApiError: If it was deleted meanwhile (404), or the store was lost (503).
        """
        path = await self.path(file)
        try:
            return await anyio.to_thread.run_sync(path.read_bytes)
        except FileNotFoundError as error:
            raise self._missing(file.id) from error

    async def read(self, file_id: str, lease: Lease, param: str) -> bytes:
        """Return the content of a file that a request names; its bytes are taken from the lease.

        Args:
            file_id: Id of the file.
            lease: What the request holds, with the name of its client.
            param: Path of the field in the request, for errors.

        Raises:
            ApiError: If the client has no such file (400), a lost store may have it, or there is no
                memory for it (503).
        """
        try:
            file = await self.find(file_id, lease.client)
            lease.take_body(file.size)
            return await self.content(file)
        except ApiError as error:
            if error.status != 404:
                raise
            raise bad_request(error.message, param, "file_not_found") from error

    def grow(self, upload: Upload, amount: int) -> None:
        """Count bytes of an upload in progress.

        Raises:
            ApiError: If there is no room (507). One client gets at most half of it.
        """
        sizes = [(one.owner, size) for one, size in self._arriving.items()]
        if self._shared is None:
            sizes += [(file.owner, file.size) for file in self._files.values()]
        own = [size for owner, size in sizes if owner == upload.owner]
        total = sum(size for _, size in sizes)
        full = len(sizes) > _MOST_FILES or len(own) > _MOST_FILES // 2
        if full or total + amount > self._most or sum(own) + amount > self._most // 2:
            raise self._full()
        self._arriving[upload] = self._arriving.get(upload, 0) + amount

    async def keep(
        self, upload: Upload, name: str, purpose: str, seconds: int | None
    ) -> StoredFile:
        """Store a complete upload, or store it again; the result says until when.

        Raises:
            ApiError: If the store that replicas share has no room (507).
        """
        created = self._clock()
        lasts = self._seconds if seconds is None else min(seconds, self._seconds)
        file = StoredFile(
            upload.path.name, upload.owner, name, purpose, upload.size,
            int(created), int(created + lasts),
        )  # fmt: skip
        if self._shared is not None and not await self._shared.keep(file, upload.path):
            raise self._full()
        self._arriving.pop(upload, None)
        self._hold(file, lasts)
        return file

    def _hold(self, file: StoredFile, seconds: float) -> None:
        """Keep a file in the folder for some seconds; of copies, the oldest make room."""
        self._files[file.id] = file
        if self._shared is not None:
            kept, total = list(self._files.values()), sum(one.size for one in self._files.values())
            while len(kept) > 1 and (total > self._most or len(kept) > _MOST_FILES):
                total -= kept[0].size
                self._forget([kept.pop(0)])
        asyncio.get_running_loop().call_later(seconds + 1, self._purge)

    def _own(self, owner: str) -> list[StoredFile]:
        return [file for file in self._files.values() if file.owner == owner]

    def abandon(self, upload: Upload) -> None:
        """Forget an upload that was not kept."""
        if self._arriving.pop(upload, None) is not None or upload.path.name not in self._files:
            with suppress(FileNotFoundError):
                upload.path.unlink()

    async def path(self, file: StoredFile) -> Path:
        """Return the path of a file, which exists until the file is deleted.

        Raises:
            ApiError: If the file of another replica was deleted meanwhile (404), or the store was
                lost (503).
        """
        path = self._path(file.id)
        if self._shared is not None and file.id not in self._files:
            try:
                await self._shared.copy(file, path)
            except FileNotFoundError as error:
                raise self._missing(file.id) from error
            now = self._clock()
            if file.expires <= now:  # it was prolonged
                file = replace(file, expires=int(now) + file.lasts)
            self._hold(file, file.expires - now)
        return path

    async def prolong(self, file: StoredFile) -> bool:
        """Keep a file for other replicas for as long again; return whether they can have it."""
        return self._shared is None or await self._shared.prolong(file)

    def _path(self, name: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="dreamr-files-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / name

    def _missing(self, file_id: str) -> ApiError:
        if self._shared is not None and self._shared.lost:
            return store_lost(f"the file {shortened(file_id)}", "file_id")
        return ApiError(
            404,
            f"there is no file {shortened(file_id)}: it has expired, was deleted or never was "
            "uploaded",
            param="file_id",
            code="file_not_found",
        )

    def _full(self) -> ApiError:
        return ApiError(
            507,
            f"there is no room for the file: a gateway stores {self._most:,} bytes, half of "
            "them for one client. Delete files with DELETE /v1/files/ID, or wait",
            SERVER,
            code="file_storage_full",
        )

    def _purge(self) -> None:
        now = self._clock()
        self._forget([one for one in self._files.values() if one.expires <= now])

    def _forget_deleted(self, copies: Iterable[StoredFile]) -> None:
        """Delete copies of files that another replica has deleted from the store."""
        if self._shared is not None and not self._shared.lost:
            self._forget(copies)

    def _forget(self, files: Iterable[StoredFile]) -> None:
        """Delete files from the folder, if they are there."""
        for file in files:
            if self._files.pop(file.id, None) is not None:
                with suppress(FileNotFoundError):
                    self._path(file.id).unlink()


class Upload:
    """A file that is arriving. Leaving the block without `keep` deletes what has arrived.

    Attributes:
        owner: Name of the client.
        path: Where it is written.
        size: Number of bytes that have arrived.
    """

    def __init__(self, store: FileStore, owner: str, path: Path) -> None:
        self.owner, self.path, self.size = owner, path, 0
        self._store = store
        self._file: BinaryIO | None = None

    async def __aenter__(self) -> Upload:
        self._file = await self._tried(self.path.open, "xb")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # what `keep` stored is written, and the rest is deleted
                self._file.close()
        self._store.abandon(self)

    async def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            ApiError: If all files together would be too large, or the disk is full (507).
        """
        assert self._file is not None
        self._store.grow(self, len(data))
        await self._tried(self._file.write, data)
        self.size += len(data)

    async def keep(self, name: str, purpose: str, seconds: int | None) -> StoredFile:
        """Store the file.

        Args:
            name: Its name.
            purpose: What it is for.
            seconds: Seconds after which it is deleted, at most those of the gateway. None: those.

        Raises:
            ApiError: If there is no room, or the disk is full (507).
        """
        assert self._file is not None
        await self._tried(self._file.flush)
        return await self._store.keep(self, name, purpose, seconds)

    async def _tried(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call a function of the file in a thread.

        Raises:
            ApiError: If it fails (507).
        """
        try:
            return await anyio.to_thread.run_sync(function, *given)
        except OSError as error:
            log(logging.ERROR, "cannot write %s: %s", self.path, reason(error))
            raise ApiError(
                507,
                f"the gateway cannot write the file: {reason(error)}",
                SERVER,
                code="file_storage_full",
            ) from error


def _new_id() -> str:
    return f"file-{secrets.token_hex(16)}"
