from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from dreamr.conversation import (
    AttachmentError,
    AttachmentTooExpensive,
    DecoderCrashed,
    DecoderUnavailable,
    Document,
    MediaNotInstalled,
    MediaOptions,
    read_attachment,
    read_attachment_isolated,
)
from dreamr.conversation.decoding import limits
from dreamr.conversation.decoding import pool as pools
from dreamr.conversation.decoding import process as processes
from dreamr.conversation.decoding.pool import DecoderPool
from support.media_files import pdf, text_on_page, time_bomb
from support.processes import environment

PAGE = pdf(text_on_page("Total 12.50"))
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and pidfd_open")
# A decoder by what it does; its second argument is the descriptor of its socket.
CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
ABORTS = "import os; os.abort()"
OUT_OF_TIME = "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)"
ENDS = "raise SystemExit(3)"
WRITES_GARBAGE = "import os, sys, time; os.write(int(sys.argv[2]), b'x' * 99); time.sleep(99)"
WRITES_ENDLESSLY = (
    "import socket, struct, sys\n"
    "link = socket.socket(fileno=int(sys.argv[2]))\n"
    "while True: link.sendall(struct.pack('>II', 2, 2**27) + b'{}' + bytes(2**27))"
)
HANGS = "import time; time.sleep(99)"


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecoderPool]:
    found = DecoderPool(2)
    monkeypatch.setattr(pools, "POOL", found)
    yield found
    found.close()


@contextmanager
def watched(pid: int) -> Iterator[select.poll]:
    """Watch a process that need not be a child: the poll reports its end."""
    descriptor = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        yield poll
    finally:
        os.close(descriptor)


def pages(source: object = PAGE) -> int:
    found = read_attachment(source)  # type: ignore[arg-type]
    assert isinstance(found, Document)
    return len(found.pages)


def test_one_process_reads_file_after_file(pool: DecoderPool) -> None:
    assert pool.processes == ()
    assert pages() == 1
    (first,) = pool.processes
    assert pages() == 1
    with pytest.raises(AttachmentError):
        read_attachment(b"%PDF-1.7 that is all")
    assert pages() == 1
    assert pool.processes == (first,)


def test_a_process_that_was_killed_is_replaced(pool: DecoderPool) -> None:
    pages()
    (first,) = pool.processes
    with watched(first) as ended:
        os.kill(first, signal.SIGKILL)
        assert ended.poll(20_000)
    assert pages() == 1
    assert pool.processes != (first,)


def test_a_process_is_replaced_after_a_number_of_files(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_MOST_FILES", 2)
    seen = []
    for _ in range(4):
        pages()
        seen.append(pool.processes)
    assert seen[0] != () == seen[1]
    assert seen[2] != seen[0]


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        (CRASHES, DecoderCrashed, r"bill\.pdf made the decoder crash \(SIGSEGV\)"),
        (ABORTS, AttachmentTooExpensive, r"bill\.pdf takes more than 1 GB of memory"),
        (OUT_OF_TIME, AttachmentTooExpensive, r"bill\.pdf takes more than 10 s of processor time"),
        (ENDS, DecoderCrashed, r"bill\.pdf made the decoder crash \(exit status 3\)"),
        (WRITES_ENDLESSLY, DecoderCrashed, r"bill\.pdf made the decoder crash"),
        (WRITES_GARBAGE, DecoderCrashed, r"bill\.pdf made the decoder crash \(wrong output\)"),
    ],
)
def test_a_decoder_that_dies_is_one_error_and_the_next_file_is_read(
    program: str, kind: type[AttachmentError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_EXIT_SECONDS", 0.5 if program is WRITES_GARBAGE else 5.0)
    with monkeypatch.context() as patched:
        patched.setattr(processes, "_BOOT", program)
        with pytest.raises(kind, match=message) as found:
            read_attachment(PAGE, name="bill.pdf")
        assert "\n" not in str(found.value)
    assert pages() == 1


def test_a_file_that_takes_too_much_processor_time_ends_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit, message = f"{limits.__name__}.CPU_SECONDS", r"bill\.pdf takes more than 2 s of processor"
    with monkeypatch.context() as patched:
        less = f"import {limits.__name__}; {limit} = 2; "
        patched.setattr(processes, "_BOOT", processes._BOOT.replace("from ", f"{less}from ", 1))
        patched.setattr(processes, "CPU_SECONDS", 2)
        with pytest.raises(AttachmentTooExpensive, match=message):
            read_attachment(time_bomb(), name="bill.pdf")
    assert pages() == 1


def test_a_decoder_that_takes_too_long_is_ended(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(processes, "_BOOT", HANGS)
        patched.setattr(processes, "SECONDS", 1)
        with pytest.raises(AttachmentTooExpensive, match="the file was not read within 1 s"):
            read_attachment(PAGE)
    assert pool.processes == ()
    assert pages() == 1


def test_threads_share_a_bounded_number_of_processes(pool: DecoderPool) -> None:
    done: list[int] = []
    threads = [threading.Thread(target=lambda: done.append(pages())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [1] * 6
    assert 1 <= len(pool.processes) <= 2


def test_waiting_for_a_process_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_PATIENCE", 0.1)
    full = DecoderPool(1)
    process = full.take("other.pdf")
    try:
        with pytest.raises(DecoderUnavailable, match=r"bill\.pdf was not read: 1 other"):
            full.take("bill.pdf")
    finally:
        full.give(process)
        full.close()


def test_a_process_that_cannot_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DecoderUnavailable, match="no process can be started to read the file"):
        read_attachment(PAGE)


def test_a_missing_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pypdfium2.py").write_text("raise ImportError('No module named pypdfium2')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(MediaNotInstalled, match=r"pip install 'dreamr\[media\]'"):
        read_attachment(PAGE)


def test_tasks_read_at_the_same_time() -> None:
    found: list[object] = []

    async def read() -> None:
        found.append(await read_attachment_isolated(PAGE, name="bill.pdf"))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(read)

    anyio.run(main)
    assert found == [read_attachment(PAGE)] * 5


@LINUX
def test_a_canceled_task_ends_its_process(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_BOOT", HANGS)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(read_attachment_isolated, PAGE)
            while not pool.processes:
                await anyio.sleep(0.01)
            (pid,) = pool.processes
            with watched(pid) as ended:
                group.cancel_scope.cancel()
                assert await anyio.to_thread.run_sync(ended.poll, 20_000)

    anyio.run(main)


READ = """
import os, sys
from dreamr.conversation import read_attachment
from dreamr.conversation.decoding.pool import POOL
read_attachment(sys.argv[1])
print(*POOL.processes, flush=True)
"""


@LINUX
@pytest.mark.parametrize("way", ["exit", "killed"])
def test_a_process_ends_with_the_one_that_uses_it(way: str, tmp_path: Path) -> None:
    path = tmp_path / "bill.pdf"
    path.write_bytes(PAGE)
    code = READ + "sys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as user:
        assert user.stdin is not None
        assert user.stdout is not None
        with watched(int(user.stdout.readline())) as ended:
            if way == "killed":
                user.kill()
            user.stdin.close()
            assert ended.poll(20_000)


@LINUX
def test_a_forked_process_has_a_decoder_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "bill.pdf"
    path.write_bytes(PAGE)
    fork = """
child = os.fork()
read_attachment(sys.argv[1])
print(*POOL.processes, flush=True)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", READ + fork, str(path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=True,
    )
    first, *others = done.stdout.split()
    assert len(others) == 2
    assert first in others
    assert len(set(others)) == 2


@LINUX
def test_a_decoder_is_confined_and_knows_no_secrets(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    pages()
    folder = Path("/proc") / str(pool.processes[0])
    assert b"secret" not in (folder / "environ").read_bytes()
    assert "NoNewPrivs:\t1" in (folder / "status").read_text()
    lines = (folder / "limits").read_text().splitlines()
    limits = {line[:25].strip(): line[26:].split()[0] for line in lines}
    assert limits["Max address space"] == str(2**30)
    assert limits["Max file size"] == limits["Max core file size"] == "0"
    assert int(limits["Max open files"]) <= 64
    assert int(limits["Max cpu time"]) <= 30


def test_what_a_decoder_writes_is_not_trusted() -> None:
    from dreamr.conversation.decoding.assembly import assemble

    image = ({"page": 1, "text": ""}, b"not an image")
    for pieces in (
        [], [({}, b"")], [({"count": 1}, b""), ({"count": "1"}, b"")],
        [image, ({"count": 1}, b"")], [({"sound": 1.0}, b"RIFF"), ({"sound": 1.0}, b"")],
        [({"time": float("nan")}, b""), ({"seconds": 1, "frames": 1}, b"")],
    ):  # fmt: skip
        with pytest.raises(DecoderCrashed, match=r"bill\.pdf made the decoder write"):
            assemble(pieces, "bill.pdf", None)


def test_options_reach_the_decoder() -> None:
    found = read_attachment(PAGE, MediaOptions(pdf_text="off", max_pixels=5000))
    assert isinstance(found, Document)
    assert found.pages[0].text == ""
    assert found.pages[0].image.width * found.pages[0].image.height <= 5000
