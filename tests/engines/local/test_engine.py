"""Real worker processes: what callers get, and that no process is left over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from dreamr.engines import Context, SamplingParams
from dreamr.engines.call_labels import CallLabels, labeled_calls
from dreamr.engines.local import LocalEngine, LocalOptions
from dreamr.engines.local import remembered as _remembered
from dreamr.engines.local.load import Loaded
from dreamr.errors import EngineError, EngineLost, ModelNotFound, Unsupported
from support.local_calls import judge, same, session_of, stream
from support.local_models import conversation, image, judging

TALK = conversation()
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine; fail if it hangs."""

    async def bounded() -> Any:
        async with asyncio.timeout(120):
            return await work

    return asyncio.run(bounded())


@pytest.fixture(scope="module")
def engine(folders: dict[str, Path]) -> Any:
    """One worker for all tests that keep it alive. Each test has its own event loop."""
    engine = LocalEngine(str(folders["qwen3"]), LocalOptions(ahead=4))
    yield engine
    asyncio.run(engine.aclose())
    assert gone(engine.pid)


def test_conversations_are_remembered_up_to_a_number_of_bytes(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_remembered, "MOST_BYTES", 2 * len(image(0).pixels))

    async def remember() -> list[bool]:
        await engine.start()
        talks = [conversation("What is it?", image(number)) for number in range(4)]
        for talk in talks:
            with contextlib.suppress(Unsupported):  # the model accepts text only
                await engine.count(talk)
        return [(talk, None) in engine._remembered for talk in talks]

    assert run(remember()) == [False, False, True, True]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def texts(engine: LocalEngine, context: Context, tokens: int) -> list[str]:
    return [chunk.text async for chunk in engine.stream(context, SamplingParams(tokens))]


def test_streams_and_evidence_equal_those_of_the_model(
    engine: LocalEngine, text_model: Loaded
) -> None:
    session = session_of(text_model, TALK)
    expected = [piece.text for piece in stream(text_model, session, sampling=SamplingParams(30))]
    steps = ("Tea.\n\n", "Milk.")

    async def both() -> Any:
        return await asyncio.gather(
            texts(engine, Context(TALK), 30), engine.judge(Context(TALK, steps[:1]), steps[1:])
        )

    pieces, evidence = run(both())
    alone = judge(judging(text_model), session_of(text_model, TALK), steps[:1], steps[1:])
    assert "".join(pieces) == "".join(expected)
    assert same(evidence[0], alone[0])
    assert engine.judge_prompt.startswith("Is the last step right?")
    assert engine.context == 640
    assert not engine.capabilities.images
    assert engine.capabilities.logprobs


def test_count_is_the_length_of_the_prompt(engine: LocalEngine, text_model: Loaded) -> None:
    assert run(engine.count(TALK)) == len(session_of(text_model, TALK).prompt)


def test_concurrent_calls_get_their_own_replies(engine: LocalEngine) -> None:
    contexts = [Context(conversation(f"Case {number}?")) for number in range(6)]

    async def together() -> list[list[str]]:
        return await asyncio.gather(*(texts(engine, context, 20) for context in contexts))

    async def apart() -> list[list[str]]:
        return [await texts(engine, context, 20) for context in contexts]

    assert ["".join(pieces) for pieces in run(together())] == [
        "".join(pieces) for pieces in run(apart())
    ]


def test_an_engine_is_usable_after_a_closed_stream(engine: LocalEngine) -> None:
    async def some() -> list[str]:
        stream = engine.stream(Context(TALK), SamplingParams(500))
        async for _ in stream:
            break
        await stream.aclose()
        return await texts(engine, Context(TALK), 10)

    pieces = run(some())
    assert "".join(pieces) == "".join(run(texts(engine, Context(TALK), 10)))
    assert engine._calls == {}


def test_an_engine_is_usable_after_a_canceled_call(engine: LocalEngine) -> None:
    async def canceled() -> None:
        task = asyncio.ensure_future(engine.judge(Context(TALK), ["Tea. " * 50] * 3))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await texts(engine, Context(TALK), 3)

    run(canceled())
    assert engine._calls == {}


def test_a_stream_stays_within_a_bound_ahead_of_its_consumer(engine: LocalEngine) -> None:
    """While one consumer does not read, its stream waits and others continue."""

    async def slow() -> int:
        idle = engine.stream(Context(TALK), SamplingParams(400))
        await anext(idle)
        await texts(engine, Context(conversation("Another?")), 60)
        (call,) = engine._calls.values()
        waiting = len(call._arrived)
        await idle.aclose()
        return waiting

    assert run(slow()) <= 4


def test_a_message_larger_than_the_socket_buffer_arrives(engine: LocalEngine) -> None:
    async def sent() -> None:
        talk = conversation("See?", image(1, 1500, 1000))
        with pytest.raises(Unsupported, match="text only"):
            await texts(engine, Context(talk), 3)
        await texts(engine, Context(TALK), 3)

    run(sent())


def test_a_second_event_loop_at_the_same_time_is_an_error(engine: LocalEngine) -> None:
    async def from_a_thread() -> None:
        stream = engine.stream(Context(TALK), SamplingParams(3))
        await anext(stream)
        with pytest.raises(EngineError, match="in use by another event loop"):
            await asyncio.to_thread(asyncio.run, engine.start())
        await stream.aclose()

    run(from_a_thread())


def test_a_dead_worker_fails_all_calls_without_a_hang(
    folders: dict[str, Path],
) -> None:
    async def killed() -> None:
        async with LocalEngine(str(folders["qwen3"])) as engine:
            stream = engine.stream(Context(TALK), SamplingParams(600))
            await anext(stream)
            other = asyncio.ensure_future(engine.judge(Context(TALK), ["Tea. " * 90] * 2))
            await asyncio.sleep(0)
            os.kill(engine.pid, signal.SIGKILL)
            await expect_lost(drained(stream))
            await expect_lost(other)
            await expect_lost(engine.judge(Context(TALK), ["Tea."]))
            await expect_lost(anext(engine.stream(Context(TALK), SamplingParams(3))))
            await expect_lost(engine.start())
            engine.forget(TALK)  # no-op: the worker has died
        assert gone(engine.pid)

    run(killed())


def test_calls_with_different_salts_share_no_cached_prompt(engine: LocalEngine) -> None:
    async def keys() -> list[int]:
        found = []
        for salt in ("a", "b", "a", None):
            with labeled_calls(CallLabels(cache_salt=salt)):
                assert await engine.count(TALK)
                found.append(engine._key(TALK))
        return found

    first, other, again, unlabeled = run(keys())
    assert first == again
    assert len({first, other, unlabeled}) == 3


async def drained(stream: Any) -> None:
    async for _ in stream:
        pass


async def expect_lost(call: Awaitable[Any]) -> None:
    with pytest.raises(EngineLost, match="killed, perhaps because memory ran out"):
        await call


def test_a_missing_model_is_a_one_line_error(tmp_path: Path) -> None:
    async def refused() -> int:
        engine = LocalEngine(str(tmp_path / "none"))
        for _ in range(2):
            with pytest.raises(ModelNotFound) as error:
                await engine.start()
            assert str(error.value) == f"there is no model at {tmp_path / 'none'}"
        with pytest.raises(ModelNotFound):
            await engine.judge(Context(TALK), ["Tea."])
        await engine.aclose()
        return engine.pid

    assert gone(run(refused()))


def test_closing_ends_the_process_and_fails_waiting_calls(folders: dict[str, Path]) -> None:
    async def closed() -> int:
        engine = LocalEngine(str(folders["qwen3"]))
        waiting = asyncio.ensure_future(engine.start())
        await asyncio.sleep(0)
        await engine.aclose()
        await engine.aclose()
        with pytest.raises(EngineLost, match="was closed"):
            await waiting
        return engine.pid

    pid = run(closed())
    assert pid == 0 or gone(pid)  # 0: closed before the worker was started


def descendants(owner: int) -> list[int]:
    """The ids of the template processes of a process and of their workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = entry.read_bytes().split(b"\0")
            if b"engines.local.template" in b" ".join(command) and str(owner).encode() in command:
                found.append(int(entry.parent.name))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_engines_of_a_process_share_a_template_and_survive_its_death(
    folders: dict[str, Path],
) -> None:
    async def killed() -> None:
        async with LocalEngine(str(folders["qwen3"])) as engine:
            async with LocalEngine(str(folders["qwen3"])) as other:
                (template,) = {parent_of(engine.pid), parent_of(other.pid)}
            os.kill(template, signal.SIGKILL)
            wait_until_gone(engine.pid)
            with pytest.raises(EngineLost):
                await engine.judge(Context(TALK), ["Tea."])
        async with LocalEngine(str(folders["qwen3"])) as engine:
            assert await engine.judge(Context(TALK), ["Tea."])

    run(killed())


def test_a_worker_from_which_nothing_comes_is_lost_after_a_stall(folders: dict[str, Path]) -> None:
    async def hung() -> int:
        async with LocalEngine(str(folders["qwen3"])) as engine:
            pid = engine.pid
            engine.note_stall(3600.0)
            assert engine.alive  # it has responded to other calls
            os.kill(pid, signal.SIGSTOP)
            engine.note_stall(0.0)
            assert not engine.alive
            with pytest.raises(EngineLost, match="stopped responding"):
                await engine.judge(Context(TALK), ["Tea."])
        return pid

    wait_until_gone(run(hung()))


PARENT = """
import asyncio, sys
from dreamr.engines import Context, SamplingParams
from dreamr.engines.local import LocalEngine
from dreamr.conversation import Conversation, Text, Turn

async def main():
    engine = LocalEngine(sys.argv[1])
    if sys.argv[2] == "SIGKILL":
        talk = Conversation((Turn("user", (Text("Tea?"),)),))
        stream = engine.stream(Context(talk), SamplingParams(600))
        await anext(stream)
    loading = LocalEngine(sys.argv[1])
    assert "torch" not in sys.modules
    print(engine.pid, loading.pid, flush=True)
    if sys.argv[2] != "end":
        await asyncio.sleep(600)

asyncio.run(main())
"""
# Imported by the template, it fails; in a worker, it lasts until the worker is ended.
LOADING = """
import os, time
if os.environ.setdefault("IMPORTED_IN", str(os.getpid())) == str(os.getpid()):
    raise ImportError
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["end", "SIGINT", "SIGKILL"])
def test_no_worker_outlives_its_parent(folders: dict[str, Path], how: str, tmp_path: Path) -> None:
    """The parent is killed during a stream, or ends while its workers still import torch.

    The workers print nothing.
    """
    path = sys.path
    if how != "SIGKILL":
        (tmp_path / "torch.py").write_text(LOADING)
        path = [str(tmp_path), *path]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folders["qwen3"]), how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        if how != "end":
            # To the whole process group, as a terminal does.
            os.killpg(parent.pid, getattr(signal, how))
        noise = parent.stderr.read()
    assert len(pids) == 2, noise
    for pid in [*pids, *descendants(parent.pid)]:
        wait_until_gone(pid)
    assert "engines.local.worker" not in noise  # the command
    assert "engines/local/worker" not in noise  # a traceback
    assert ("Traceback" in noise) == (how == "SIGINT")  # the parent's own


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended; fail if it does not end."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(30_000), f"worker {pid} is still there"
    finally:
        os.close(descriptor)
