"""No process of an engine is left, however `dreamr up`, the guard or the engine ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from dreamr.serving.launch.guarded import Ending, GuardedRun, run_guarded
from dreamr.serving.launch.leftovers import end_leftovers, marked
from support.launched import (
    FAMILY,
    SECONDS,
    Ends,
    guarded,
    port_of,
    python,
    received_pids,
    told_pids,
)
from support.processes import environment

Found = TypeVar("Found")

# `dreamr up` in small: it runs an engine under a guard and waits for its end.
PARENT = """
import sys
from pathlib import Path
import anyio
from dreamr.serving.launch.guarded import run_guarded
from support.launched import FAMILY, guarded, python
anyio.run(run_guarded, guarded(Path(sys.argv[1]), python(FAMILY, sys.argv[2])))
"""


def finished(main: Callable[[], Awaitable[Found]]) -> Found:
    """Run a function on an event loop, within a bound."""

    async def bounded() -> Found:
        with anyio.fail_after(2 * SECONDS):
            return await main()

    return anyio.run(bounded)


def ended(run: GuardedRun, notes: list[str] | None = None) -> Ending:
    """Run an engine to its end."""
    note = (lambda line: None) if notes is None else notes.append
    return finished(lambda: run_guarded(run, note=note))


def guards(folder: Path) -> list[int]:
    return [pid for pid, is_guard in marked(folder).items() if is_guard]


def test_a_canceled_run_leaves_no_process_although_all_ignore_sigterm(tmp_path: Path) -> None:
    async def main() -> Ends:
        with told_pids() as link:
            run = guarded(tmp_path, python(FAMILY, port_of(link)))
            task = asyncio.create_task(run_guarded(run))
            pids = await anyio.to_thread.run_sync(received_pids, link)
            assert len(pids) == 3
            ends = Ends(pids)
            task.cancel()
            await asyncio.wait([task])
        assert not marked(tmp_path)
        return ends

    assert finished(main).wait() == []


def parent(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PARENT, str(folder), str(port)]
    return subprocess.Popen(command, env=environment())


def test_the_death_of_the_parent_leaves_no_process(tmp_path: Path) -> None:
    with told_pids() as link:
        process = parent(tmp_path, port_of(link))
        pids = received_pids(link)
        ends = Ends([*pids, *guards(tmp_path)])
        process.kill()
        process.wait(SECONDS)
    assert ends.wait() == []


def test_the_death_of_the_guard_is_noted_and_leaves_no_process(tmp_path: Path) -> None:
    async def main() -> tuple[Ending, Ends]:
        with told_pids() as link:
            run = guarded(tmp_path, python(FAMILY, port_of(link)))
            task = asyncio.create_task(run_guarded(run))
            ends = Ends(await anyio.to_thread.run_sync(received_pids, link))
            [guard] = guards(tmp_path)
            os.kill(guard, signal.SIGKILL)
            return await task, ends

    ending, ends = finished(main)
    assert ending == Ending(None)
    assert ends.wait() == []


def test_what_the_death_of_parent_and_guard_leaves_is_found_by_its_mark(tmp_path: Path) -> None:
    with told_pids() as link:
        process = parent(tmp_path, port_of(link))
        engine, *others = received_pids(link)
    ends, of_engine = Ends(others), Ends([engine])
    [guard] = guards(tmp_path)
    process.send_signal(signal.SIGSTOP)  # it cannot clean up
    os.kill(guard, signal.SIGKILL)
    process.kill()
    process.wait(SECONDS)
    assert of_engine.wait() == []  # the system ends it
    assert marked(tmp_path)
    assert not marked(tmp_path / "other")
    finished(lambda: end_leftovers(tmp_path))
    assert ends.wait() == []


def test_the_death_of_the_engine_ends_its_family(tmp_path: Path) -> None:
    async def main() -> tuple[Ending, Ends]:
        with told_pids() as link:
            run = guarded(tmp_path, python(FAMILY, port_of(link)))
            task = asyncio.create_task(run_guarded(run))
            pids = await anyio.to_thread.run_sync(received_pids, link)
            ends = Ends(pids)
            os.kill(pids[0], signal.SIGKILL)
            return await task, ends

    ending, ends = finished(main)
    assert ending == Ending(-signal.SIGKILL, "all are there\n")
    assert ends.wait() == []


def test_an_engine_that_heeds_sigterm_is_not_killed(tmp_path: Path) -> None:
    code = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("ending in order", flush=True), sys.exit(0)))
import socket
socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    signal.pause()
"""

    async def main() -> None:
        with told_pids() as link:
            run = guarded(tmp_path, python(code, port_of(link)), grace=SECONDS)
            task = asyncio.create_task(run_guarded(run))
            connection, _ = await anyio.to_thread.run_sync(link.accept)
            connection.close()
            task.cancel()
            await asyncio.wait([task])

    finished(main)
    assert (tmp_path / "logs" / "big.log").read_text() == "ending in order\n"


def test_exit_status_and_output_are_reported(tmp_path: Path) -> None:
    run = guarded(tmp_path, ["sh", "-c", "echo one; echo two >&2; exit 7"])
    assert ended(run) == Ending(7, "one\ntwo\n")
    assert run.log.read_text() == "one\ntwo\n"
    assert run.log.stat().st_mode & 0o077 == 0


def test_a_program_that_is_not_there_is_reported(tmp_path: Path) -> None:
    problem = ended(guarded(tmp_path, ["/no/such"])).problem
    assert problem == "its program cannot be run (No such file or directory)"


def test_a_log_is_bounded(tmp_path: Path) -> None:
    lines = "for i in $(seq 3000); do echo a line of the engine $i; done"
    run = guarded(tmp_path, ["sh", "-c", lines], log_bytes=20_000)
    assert ended(run).status == 0
    logs = sorted((tmp_path / "logs").iterdir())
    assert [log.name for log in logs] == ["big.log", "big.log.1"]
    assert all(log.stat().st_size <= 20_000 for log in logs)
    assert run.log.read_text().endswith("engine 3000\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_costs_log_lines_and_is_noted_once(tmp_path: Path) -> None:
    several_reads = "head -c 300000 /dev/zero | tr '\\0' x; exit 3"
    run = guarded(tmp_path, ["sh", "-c", several_reads])
    run.log.symlink_to("/dev/full")
    notes: list[str] = []
    assert ended(run, notes) == Ending(3, 65536 * "x")
    assert len(notes) == 1
    assert notes[0].startswith(f"cannot write {run.log}: No space left on device")


def test_engines_do_not_read_the_terminal(tmp_path: Path) -> None:
    assert ended(guarded(tmp_path, ["cat"])) == Ending(0)
