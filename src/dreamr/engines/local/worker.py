"""Worker process: loads one model, then serves its engine until the connection closes.

Only this process imports torch. It lives as long as the engine's end of the socket is open. When
that closes, because the engine was closed or its process died, the worker exits at once, even
during loading or a forward pass.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import threading
from dataclasses import replace
from typing import Any

from dreamr._hangups import exit_at_hangup
from dreamr._messages import describe
from dreamr.engines.local.allocator import keep_freed_memory
from dreamr.engines.local.ipc import Failed, Frames, Ready, pack
from dreamr.engines.local.options import LocalOptions, placed, read_hints


def main(descriptor: int, parent: int) -> None:
    """Serve on an inherited stream socket.

    Args:
        descriptor: File descriptor of the socket.
        parent: Process id of the template.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    link = socket.socket(fileno=descriptor)
    exit_at_hangup(descriptor, parent)
    connection = _Connection(link)
    name, options = connection.receive_one()
    try:
        scheduler = _start(name, options, connection)
    except Exception as error:
        ours = _is_dreamr_error(error)
        kind = type(error).__name__ if ours else "EngineError"
        connection.send(Failed(None, kind, str(error) if ours else describe(error)))
        _wait_for_end()
        return
    while True:
        connection.receive(scheduler.handle)
        while scheduler.work():
            connection.receive(scheduler.handle, scheduler.patience)


def _start(name: str, options: LocalOptions, connection: _Connection) -> Any:
    from pathlib import Path

    from dreamr.engines.local.folder import check_path

    for variable, text in options.variables.items():
        os.environ.setdefault(variable, text)
    check_path(name)
    import torch

    torch.set_num_threads(options.threads)
    from dreamr.engines.local.judging import Judging, judging_or_reason
    from dreamr.engines.local.load import load, resolve
    from dreamr.engines.local.scheduler import Scheduler

    folder = resolve(name, options.revision)
    weights = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    options = placed(options, cuda=torch.cuda.is_available(), weights=weights)
    hints = read_hints(Path(folder))
    if options.untrained:
        hints = replace(hints, max_images=None)
    questions = hints.questions(options.judge_prompt)
    with torch.inference_mode():
        loaded = load(folder, options)
        judging = judging_or_reason(loaded, questions, options)
    gc.freeze()  # keeps the collector from scanning the loaded objects again and again
    model = loaded.model
    judges = isinstance(judging, Judging)
    connection.send(
        Ready(
            model.takes_images,
            judges,
            model.context,
            questions.verdict,
            hints,
            loaded.prompter.opens_thought(),
            image_pixels=model.image_pixels,
            device=options.device,
            dtype=model.dtype,
            calls=loaded.prompter.writes_calls,
        )
    )
    return Scheduler(loaded, judging, options, connection.send, connection.peek)


class _Connection:
    """The worker's end of the socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._frames = Frames()
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._pending: list[Any] = []  # messages that arrived during the current unit

    def send(self, message: Any) -> None:
        self._link.sendall(pack(message))

    def receive_one(self) -> Any:
        """Return the first message. The engine sends no other before the reply."""
        while True:
            for message in self._frames.feed(self._read()):
                return message

    def peek(self) -> list[Any]:
        """Return the messages that came since `receive`; the next `receive` handles them."""
        while self._poll.poll(0):
            self._pending += self._frames.feed(self._read())
        return self._pending

    def receive(self, handle: Any, seconds: float | None = None) -> None:
        """Handle the messages that are there; if there is none, wait for one.

        Args:
            handle: Called with each message.
            seconds: Longest time to wait; None waits without limit.
        """
        wait = None if seconds is None else 1000 * seconds
        pending, self._pending = self._pending, []
        for message in pending:
            wait = 0
            handle(message)
        while self._poll.poll(wait):
            for message in self._frames.feed(self._read()):
                wait = 0
                handle(message)

    def _read(self) -> bytes:
        data = self._link.recv(2**16)
        if not data:
            os._exit(0)
        return data


def _is_dreamr_error(error: Exception) -> bool:
    from dreamr.errors import DreamrError

    return isinstance(error, DreamrError)


def _wait_for_end() -> None:
    """Wait until the engine has read the error and closed the socket, which ends this process."""
    threading.Event().wait()
