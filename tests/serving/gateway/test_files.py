"""The endpoints /v1/files: who may see a file, for how long, and how much is stored."""

from __future__ import annotations

import errno
import gc
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import anyio
import pytest

from dreamr.serving.gateway.errors import ApiError
from dreamr.serving.gateway.memory import Memory
from dreamr.serving.gateway.stored_files import FileStore
from dreamr.serving.options import ServeOptions
from dreamr.serving.store.memory import MemoryStore
from support.attachments import pdf
from support.gateways import Answer, Gateway, asked, use

BOUNDARY = "xxxxBOUNDARYxxxx"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(content: bytes | None = b"content", name: str = "bill.pdf", **values: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in values.items()
    ]
    if content is not None:
        head = f'form-data; name="file"; filename="{name}"\r\ncontent-type: application/pdf'
        parts.append(
            f"--{BOUNDARY}\r\ncontent-disposition: {head}\r\n\r\n".encode() + content + b"\r\n"
        )
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


async def upload(
    gate: Gateway, body: bytes | None = None, pieces: Iterable[bytes] | None = None, **headers: str
) -> Answer:
    headers = {"content_type": FORM, **headers}
    return await gate.ask(form() if body is None else body, "/v1/files", pieces=pieces, **headers)


def test_a_file_is_stored_described_read_and_deleted() -> None:
    async def main(gate: Gateway) -> None:
        made = (await upload(gate, form(b"%PDF", purpose="vision"))).json
        assert made["object"] == "file"
        assert (made["bytes"], made["filename"], made["purpose"]) == (4, "bill.pdf", "vision")
        assert made["expires_at"] - made["created_at"] == ServeOptions().stored_seconds
        path = f"/v1/files/{made['id']}"
        assert (await gate.ask(path=path, method="GET")).json == made
        listed = (await gate.ask(path="/v1/files", method="GET")).json
        assert (listed["data"], listed["has_more"]) == ([made], False)
        content = await gate.ask(path=f"{path}/content", method="GET")
        assert content.body == b"%PDF"
        assert content.headers["content-type"] == "application/octet-stream"
        gone = await gate.ask(path=path, method="DELETE")
        assert gone.json == {"id": made["id"], "object": "file", "deleted": True}
        for method, place in (("GET", path), ("DELETE", path), ("GET", f"{path}/content")):
            answer = await gate.ask(path=place, method=method)
            assert (answer.status, answer.json["error"]["code"]) == (404, "file_not_found")

    use(main)


def test_a_form_may_arrive_in_pieces_of_any_size() -> None:
    body = form(bytes(range(256)) * 3, purpose="user_data")

    async def main(gate: Gateway) -> None:
        for size in (1, 7, 1000):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            made = (await upload(gate, pieces=pieces)).json
            content = await gate.ask(path=f"/v1/files/{made['id']}/content", method="GET")
            assert content.body == bytes(range(256)) * 3

    use(main)


def test_a_stored_file_can_be_asked_about() -> None:
    async def main(gate: Gateway) -> None:
        made = (await upload(gate, form(pdf(20, 200)))).json
        part = {"type": "file", "file": {"file_id": made["id"]}}
        answer = await gate.ask(asked([part, {"type": "text", "text": "What?"}]))
        assert answer.status == 200, answer.body
        missing = {"type": "file", "file": {"file_id": "file-0"}}
        answer = await gate.ask(asked([missing, {"type": "text", "text": "What?"}]))
        error = answer.json["error"]
        assert (answer.status, error["code"]) == (400, "file_not_found")
        assert error["param"] == "messages.0.content.0.file.file_id"

    use(main)


def test_a_file_belongs_to_the_client_that_uploaded_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMR_SERVE_KEYS", "first-key,second-key")
    first = {"authorization": "Bearer first-key"}
    second = {"authorization": "Bearer second-key"}

    async def main(gate: Gateway) -> None:
        assert (await upload(gate)).status == 401
        made = (await upload(gate, **first)).json
        path = f"/v1/files/{made['id']}"
        assert (await gate.ask(path=path, method="GET", **first)).status == 200
        for method, place in (("GET", path), ("DELETE", path), ("GET", f"{path}/content")):
            assert (await gate.ask(path=place, method=method, **second)).status == 404
            assert (await gate.ask(path=place, method=method)).status == 401
        assert (await gate.ask(path="/v1/files", method="GET", **second)).json["data"] == []
        part = {"type": "file", "file": {"file_id": made["id"]}}
        answer = await gate.ask(asked([part, {"type": "text", "text": "What?"}]), **second)
        assert answer.json["error"]["code"] == "file_not_found"

    use(main)


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (form(None), FORM, 400, "file is required"),
        (form()[:-4], FORM, 400, "incomplete"),
        (b"", FORM, 400, "incomplete"),
        (b"nonsense", FORM, 400, "not a valid form"),
        (form(b"a")[: -len(f"--{BOUNDARY}--\r\n")] + form(b"b"), FORM, 400, "more than one file"),
        (form(**{f"f{n}": "" for n in range(20)}), FORM, 400, "more than 16 fields"),
        (form(purpose="p" * 2000), FORM, 400, "too long"),
        (form(**{"expires_after[seconds]": "soon"}), FORM, 400, "number of seconds"),
        (form(), "application/json", 415, "must be a form"),
        (form(), "multipart/form-data", 415, "must be a form"),
        (form(b"x" * 5000), FORM, 413, "more than 4,096 bytes: send less, or raise --max-body"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_used_is_refused_and_leaves_nothing(
    body: bytes, kind: str, status: int, said: str
) -> None:
    async def main(gate: Gateway) -> None:
        answer = await upload(gate, body, content_type=kind)
        assert answer.status == status
        assert said in answer.json["error"]["message"]
        assert (await gate.ask(path="/v1/files", method="GET")).json["data"] == []

    use(main, max_body=4096)


def test_pages_of_other_sites_cannot_upload() -> None:
    async def main(gate: Gateway) -> None:
        for origin, status in (
            ("https://evil.example", 403), ("null", 403), ("http://127.0.0.1", 200),
            ("https://app.example", 200),
        ):  # fmt: skip
            assert (await upload(gate, origin=origin)).status == status

    use(main, allowed_origins="https://app.example")


def test_uploads_can_be_turned_off() -> None:
    async def main(gate: Gateway) -> None:
        answer = await upload(gate)
        assert answer.status == 404
        assert "file_data" in answer.json["error"]["message"]

    use(main, max_stored_bytes=0)


def stored(
    work: Callable[[FileStore], Awaitable[None]],
    clock: Callable[[], float] = lambda: 1e9,
    **limits: Any,
) -> None:
    async def main() -> None:
        await work(FileStore(ServeOptions(**limits), clock))

    anyio.run(main)


async def put(store: FileStore, owner: str, data: bytes, seconds: int | None = None) -> str:
    async with store.upload(owner) as upload:
        await upload.write(data)
        return (await upload.keep("name", "user_data", seconds)).id


def test_a_client_gets_half_of_the_storage() -> None:
    async def work(store: FileStore) -> None:
        await put(store, "a", b"x" * 50)
        with pytest.raises(ApiError, match="no room") as caught:
            await put(store, "a", b"x")
        assert (caught.value.status, caught.value.code) == (507, "file_storage_full")
        await put(store, "b", b"x" * 50)
        with pytest.raises(ApiError, match="no room"):
            await put(store, "c", b"x")
        await store.delete((await store.of("a"))[0].id, "a")
        await put(store, "c", b"x" * 50)

    stored(work, max_stored_bytes=100)


def test_an_upload_in_progress_counts_and_a_broken_one_leaves_no_bytes() -> None:
    async def work(store: FileStore) -> None:
        async with store.upload("a") as begun:
            await begun.write(b"x" * 40)
            with pytest.raises(ApiError, match="no room"):
                await put(store, "a", b"x" * 20)
            path = begun.path
            assert path.exists()
        assert not path.exists()
        await put(store, "a", b"x" * 50)

    stored(work, max_stored_bytes=100)


def test_files_expire() -> None:
    now = [1000.0]

    async def work(store: FileStore) -> None:
        short = await put(store, "a", b"x", seconds=10)
        long = await put(store, "a", b"y", seconds=10**6)
        memory = Memory(body_bytes=10**6, body_most=10**6, pixels=1)
        now[0] += 11
        assert [file.id for file in await store.of("a")] == [long]
        with memory.lease("a") as lease:
            assert await store.read(long, lease, "field") == b"y"
            with pytest.raises(ApiError, match="has expired"):
                await store.read(short, lease, "field")
        folder = cast("Path", store._folder)
        assert [path.name for path in folder.iterdir()] == [long]
        now[0] += 100
        assert await store.of("a") == []
        assert list(folder.iterdir()) == []

    stored(work, lambda: now[0], stored_seconds=100)


def test_the_folder_is_for_this_user_only_and_goes_with_the_store() -> None:
    async def work(store: FileStore) -> None:
        await put(store, "a", b"x")
        folders.append(cast("Path", store._folder))
        assert folders[0].stat().st_mode & 0o077 == 0

    folders: list[Path] = []
    stored(work)
    gc.collect()
    assert not folders[0].exists()


class SharedStore(MemoryStore):
    """A store that replicas in this process share."""

    shared = True


def shared(
    work: Callable[[FileStore, FileStore, SharedStore], Awaitable[None]], most: int = 1000
) -> None:
    async def main() -> None:
        limits, store = ServeOptions(max_stored_bytes=most), SharedStore()
        await work(FileStore(limits, store=store), FileStore(limits, store=store), store)

    anyio.run(main)


def copies(store: FileStore) -> list[str]:
    return sorted(path.name for path in store._path("").iterdir())


def test_a_file_that_another_replica_deleted_takes_no_room() -> None:
    async def work(one: FileStore, other: FileStore, store: SharedStore) -> None:
        first = await put(one, "a", b"x" * 500)
        with pytest.raises(ApiError, match="no room"):
            await put(other, "a", b"x")
        assert await other.content(await other.find(first, "a")) == b"x" * 500
        await one.delete(first, "a")
        second = await put(other, "a", b"y" * 500)
        await one.delete(second, "a")
        third = await put(other, "a", b"z" * 500)
        assert [file.id for file in await other.of("a")] == [third]
        assert copies(other) == [third]

    shared(work)


def test_the_copy_of_a_deleted_file_is_deleted_once_its_owner_asks() -> None:
    async def work(one: FileStore, other: FileStore, store: SharedStore) -> None:
        found = await put(one, "a", b"x")
        with pytest.raises(ApiError):
            await one.find(found, "b")
        assert copies(one) == [found]
        await other.delete(found, "a")
        store.lost = True  # a lost store does not know which files there are
        assert await one.of("a") == []
        assert copies(one) == [found]
        store.lost = False
        with pytest.raises(ApiError, match="there is no file"):
            await one.find(found, "a")
        assert copies(one) == []

    shared(work)


def test_a_file_of_a_lost_store_is_read_from_its_copy_or_may_be_there() -> None:
    async def work(one: FileStore, other: FileStore, store: SharedStore) -> None:
        kept = await other.find(await put(one, "a", b"x"), "a")
        await other.delete(kept.id, "a")  # in a lost store, nothing is found either
        store.lost = True
        assert await one.content(await one.find(kept.id, "a")) == b"x"
        memory = Memory(body_bytes=10, body_most=10, pixels=0)
        with memory.lease("a") as own, memory.lease("b") as foreign:
            assert await one.read(kept.id, own, "file_id") == b"x"
            for wrong in (
                one.find(kept.id, "b"), one.read(kept.id, foreign, "file_id"),
                one.delete(kept.id, "a"), other.find(kept.id, "a"), other.content(kept),
                other.read(kept.id, own, "file_id"),
            ):  # fmt: skip
                with pytest.raises(ApiError) as caught:
                    await wrong
                assert (caught.value.status, caught.value.code) == (503, "store_lost")
                assert caught.value.headers == {"Retry-After": "5"}
        assert copies(one) == [kept.id]

    shared(work)


def test_the_oldest_copies_make_room_and_are_fetched_again() -> None:
    async def work(one: FileStore, other: FileStore, store: SharedStore) -> None:
        kept = await put(one, "a", b"x" * 500)
        for _ in range(5):
            await other.delete(await put(one, "b", b"y" * 500), "b")
            assert len(copies(one)) <= 2
        assert kept not in copies(one)
        assert await one.content(await one.find(kept, "a")) == b"x" * 500

    shared(work)


def test_a_copy_of_a_file_that_is_deleted_meanwhile_leaves_nothing() -> None:
    async def work(one: FileStore, other: FileStore, store: SharedStore) -> None:
        file = await other.find(await put(one, "a", b"x"), "a")
        await one.delete(file.id, "a")
        for found in (other.path(file), other.content(file)):
            with pytest.raises(ApiError) as caught:
                await found
            assert (caught.value.status, caught.value.code) == (404, "file_not_found")
        assert copies(other) == []

    shared(work)


@pytest.mark.parametrize("failing", [{"write", "close"}, {"flush", "close"}])
def test_an_upload_that_cannot_be_written_is_refused_and_leaves_nothing(failing: set[str]) -> None:
    async def main() -> None:
        store = FileStore(ServeOptions())

        async def put_on_a_full_disk() -> None:
            async with store.upload("a") as upload:
                upload._file = cast("BinaryIO", FullFile(upload._file, failing))
                await upload.write(b"x")
                await upload.keep("name", "user_data", None)

        with pytest.raises(ApiError, match="cannot write the file: No space left") as caught:
            await put_on_a_full_disk()
        assert caught.value.status == 507
        assert not store._arriving
        assert copies(store) == []

    anyio.run(main)


@dataclass
class FullFile:
    """A file some of whose functions fail because the disk is full."""

    file: Any
    failing: set[str]

    def __getattr__(self, name: str) -> Any:
        return self._fail if name in self.failing else getattr(self.file, name)

    def _fail(self, *given: Any) -> None:
        self.file.close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_ids_cannot_name_other_files() -> None:
    async def main(gate: Gateway) -> None:
        await upload(gate)
        for name in ("..", "%2e%2e", "../etc/passwd", "file-0", json.dumps("x")):
            assert (await gate.ask(path=f"/v1/files/{name}", method="GET")).status == 404

    use(main)
