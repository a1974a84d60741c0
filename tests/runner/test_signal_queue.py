"""Messages arrive once and in order."""

from __future__ import annotations

import anyio
from hypothesis import given
from hypothesis import strategies as st

from dreamr.runner.signal_queue import SignalQueue


@given(st.lists(st.lists(st.integers())))
def test_every_message_comes_once_and_in_order(bursts: list[list[int]]) -> None:
    sent = [message for burst in bursts for message in burst]
    read: list[int] = []

    async def reader(queue: SignalQueue[int]) -> None:
        while len(read) < len(sent):
            read.append(await queue.get())

    async def main() -> None:
        queue = SignalQueue[int]()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader, queue)
                for burst in bursts:
                    for message in burst:
                        queue.put(message)
                    await anyio.lowlevel.checkpoint()

    anyio.run(main)
    assert read == sent


def test_a_reader_that_is_canceled_loses_nothing() -> None:
    async def main() -> None:
        queue = SignalQueue[str]()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await queue.get()
        queue.put("kept")
        assert await queue.get() == "kept"

    anyio.run(main)
