"""The worker process: load one model, then serve its engine until that goes away.

Torch is imported in here only. The engine's end of the socket is all that keeps a worker alive:
when it closes, because the engine was closed or its process died in whatever way, the worker leaves
at once, even from the middle of a forward pass or of loading.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import threading
from typing import Any

from dreamr.engines.local.ipc import Failed, Frames, Ready, pack
from dreamr.engines.local.options import LocalOptions, read_hints

_LOOK_EVERY = 2000  # milliseconds between looks at the parent's id


def main(descriptor: int, parent: int) -> None:
    """Serve on an inherited stream socket. parent: the engine's process id."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = socket.socket(fileno=descriptor)
    threading.Thread(target=_watch, args=(descriptor, parent), daemon=True).start()
    line = _Line(link)
    name, options = line.receive_one()
    try:
        service = _start(name, options, line)
    except Exception as error:
        kind = type(error).__name__ if _ours(error) else "EngineError"
        line.send(Failed(None, kind, " ".join(str(error).split()) or kind))
        _wait_for_end()
        return
    while True:
        line.receive(service.handle)
        while service.work():
            line.receive(service.handle, service.patience)


def _start(name: str, options: LocalOptions, line: _Line) -> Any:
    if options.device == "cpu":
        # Before torch is imported: a second thread pool would be counted from these.
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    from pathlib import Path

    from dreamr.engines.local.folder import check_path

    check_path(name)
    import torch

    torch.set_num_threads(options.threads)
    from dreamr.engines.local.judging import Judging
    from dreamr.engines.local.load import load, resolve
    from dreamr.engines.local.scheduler import Scheduler, judging_or_why_not

    folder = resolve(name)
    hints = read_hints(Path(folder))
    questions = hints.questions(options.judge_prompt)
    with torch.inference_mode():
        loaded = load(folder, options)
        judging = judging_or_why_not(loaded, questions, options)
    gc.freeze()  # what is loaded stays: the collector need not look through it again and again
    model = loaded.model
    judges = isinstance(judging, Judging)
    line.send(Ready(model.takes_images, judges, model.context, questions.verdict, hints))
    return Scheduler(loaded, judging, options, line.send, line.peek)


class _Line:
    """The worker's end of the socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._frames = Frames()
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._unheard: list[Any] = []  # what came while a unit was under way

    def send(self, message: Any) -> None:
        self._link.sendall(pack(message))

    def receive_one(self) -> Any:
        """The first message; no other may follow until it is answered."""
        while True:
            for message in self._frames.feed(self._read()):
                return message

    def peek(self) -> list[Any]:
        """The messages that came since `receive`, which will hand them over."""
        while self._poll.poll(0):
            self._unheard += self._frames.feed(self._read())
        return self._unheard

    def receive(self, handle: Any, seconds: float | None = None) -> None:
        """Hand over the messages that are there; wait for one so long, None: until one comes."""
        wait = None if seconds is None else 1000 * seconds
        unheard, self._unheard = self._unheard, []
        for message in unheard:
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


def _ours(error: Exception) -> bool:
    from dreamr.errors import DreamrError

    return isinstance(error, DreamrError)


def _wait_for_end() -> None:
    """The engine reads why we failed, then closes; `_watch` ends us."""
    threading.Event().wait()


def _watch(descriptor: int, parent: int) -> None:
    """End this process as soon as the engine's end is gone.

    A hang-up is seen at once. The parent's id is looked at too: a child that the parent forked may
    hold the other end open without knowing it.
    """
    poll = select.poll()
    poll.register(descriptor, 0)
    while not poll.poll(_LOOK_EVERY) and os.getppid() == parent:
        pass
    os._exit(0)
