"""Start the servers of a pair, keep them up, and end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import anyio
import httpx2

from dreamr._messages import describe
from dreamr.errors import DreamrError
from dreamr.pairs.running import ModelState
from dreamr.serving.launch.guarded import Ending, GuardedRun, log_of, run_guarded
from dreamr.serving.launch.instance import Instance
from dreamr.serving.launch.joining import join
from dreamr.serving.launch.log_files import last_line
from dreamr.serving.launch.program import (
    EngineCommand,
    Program,
    check_port,
    earlier,
    log_name,
    memory_taken,
)
from dreamr.serving.launch.reasons import describe_ending, last_lines
from dreamr.serving.launch.secret_files import secret_file

_POLL = 0.25  # seconds between two looks at a server that is starting
_ANSWER_SECONDS = 5.0  # for a server to answer whether it is healthy


class LaunchFailed(DreamrError):
    """A server of a pair did not start."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses before a server is started again: each is twice the one before.

    Attributes:
        first: The first pause in seconds.
        longest: The longest pause in seconds.
        reset: Seconds of service after which the next pause is the first again.
    """

    first: float = 1.0
    longest: float = 60.0
    reset: float = 60.0

    def after(self, pause: float, served: float) -> float:
        """Return the pause after a server has ended.

        Args:
            pause: The pause before that, 0 if there was none.
            served: Seconds for which it was ready.
        """
        if not pause or served >= self.reset:
            return self.first
        return min(2 * pause, self.longest)


@dataclass(slots=True)
class Watched:
    """A server and what it does.

    Attributes:
        program: The server.
        began: Time at which it was last started, None if it waits for others.
        is_ready: Set when it has answered for the first time.
    """

    program: Program
    began: float | None = None
    is_ready: anyio.Event = field(default_factory=anyio.Event)


class Supervisor:
    """Keeps the servers of a pair up while it is entered.

    Args:
        programs: The servers.
        instance: State folder of the pair.
        show: Called with a line on each event.
        start_seconds: Longest time of a start.
        grace: Seconds that a server has to end after SIGTERM.
        pauses: Pauses before a server is started again.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        instance: Instance,
        show: Callable[[str], None],
        start_seconds: float,
        grace: float,
        pauses: Pauses | None = None,
    ) -> None:
        self._instance, self._show = instance, show
        self._start_seconds, self._grace = start_seconds, grace
        self._pauses = pauses or Pauses()
        self._watched = {program.model: Watched(program) for program in programs}
        self._failure: DreamrError | None = None
        self._settled = anyio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        folder = self._instance.folder
        self._instance.add_models(
            {
                name: ModelState(
                    engine=one.program.engine,
                    url=one.program.url,
                    log=str(log_of(folder, name)),
                )
                for name, one in self._watched.items()
            }
        )
        self._tasks = [asyncio.create_task(self._keep(one)) for one in self._watched.values()]
        if not self._tasks:
            self._settled.set()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def ready(self, watch: Callable[[list[str]], None] = lambda lines: None) -> None:
        """Wait until all servers answer.

        Args:
            watch: Called several times a second with a line for each server that is starting.

        Raises:
            LaunchFailed: If one of them ends, or does not answer in time.
            BadOption: If a port is in use.
        """
        while not self._settled.is_set():
            watch([self._line(one) for one in self._watched.values() if _is_starting(one)])
            with anyio.move_on_after(_POLL):
                await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def _line(self, one: Watched) -> str:
        """Return what a server that is starting does, with the last line of its log."""
        passed = anyio.current_time() - (one.began or 0)
        last = last_line(log_of(self._instance.folder, one.program.model))
        return f"{one.program.model}: starting for {passed:.0f} s{last and ': '}{last}"

    async def _keep(self, one: Watched) -> None:
        """Keep a server up until canceled, or until its first start fails."""
        try:
            await self._keep_up(one)
        except Exception as error:  # it would be lost with the task, and `ready` would wait
            why = f"{one.program.model}: internal error ({describe(error)}): report it"
            self._show(why)
            self._fail(why)

    async def _keep_up(self, one: Watched) -> None:
        programs = [other.program for other in self._watched.values()]
        for program in earlier(programs, one.program):
            await self._watched[program.model].is_ready.wait()
        pause = 0.0
        while True:
            try:
                served, why = await self._serve_once(one)
            except DreamrError as error:  # its port is in use
                served, why = 0.0, str(error)
            if not one.is_ready.is_set():
                self._fail(why)
                return
            pause = self._pauses.after(pause, served)
            self._show(f"{why}; starting it again in {pause:g} s")
            restarts = self._instance.state.models[one.program.model].restarts + 1
            self._instance.change_model(
                one.program.model, phase="restarting", pid=None, restarts=restarts
            )
            await anyio.sleep(pause)

    async def _serve_once(self, one: Watched) -> tuple[float, str]:
        """Run a server until it ends; return for how long it was ready, and why it ended.

        Raises:
            BadOption: If its port is in use.
        """
        program, name = one.program, one.program.model
        check_port(program)
        one.began = anyio.current_time()
        self._show(f"{name}: starting {program.engine} on port {program.port}")
        try:
            with secret_file(self._command(program), self._instance.folder, name) as command:
                ending, ready_at = await self._run(one, command)
        except OSError as error:
            problem = f"no process can be started: {error.strerror or error}"
            ending, ready_at = Ending(None, problem=problem), None
        served = 0.0 if ready_at is None else anyio.current_time() - ready_at
        if ending is None:
            return served, self._late(program)
        return served, self._ended(program, ending, ready_at is not None)

    def _command(self, program: Program) -> EngineCommand:
        """Return how a program is started beside the servers that run now."""
        if program.launch is None or program.command_beside is None:
            return program.command
        models = self._instance.state.models
        others = (one.program for one in self._watched.values() if one.program is not program)
        running = (one.launch for one in others if models[one.model].pid is not None)
        return program.command_beside(
            memory_taken((one for one in running if one is not None), program.launch)
        )

    async def _run(
        self, one: Watched, command: tuple[str, ...]
    ) -> tuple[Ending | None, float | None]:
        """Run a server until it ends, or is not ready in time.

        Returns:
            How it ended, None if it was not ready in time; and the time at which it was ready.

        Raises:
            OSError: If no process can be started.
        """
        program, name = one.program, one.program.model
        environment = program.command.environment
        run = GuardedRun(command, environment, name, self._instance.folder, self._grace)
        ready_at: list[float] = []

        joined = anyio.Event()

        async def wait_until_ready() -> None:
            await (joined.wait() if program.servers else _healthy(program.root))
            ready_at.append(anyio.current_time())
            self._is_ready(one)

        def started(pid: int) -> None:
            self._instance.change_model(name, phase="starting", pid=pid)

        waiting = asyncio.create_task(wait_until_ready())
        running = asyncio.create_task(run_guarded(run, started, self._show))
        joining = asyncio.create_task(self._join(program, joined))
        try:
            await asyncio.wait(
                (waiting, running),
                timeout=self._start_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not waiting.done() and not running.done():
                return None, None
            return await running, next(iter(ready_at), None)
        finally:
            for task in (waiting, running, joining):
                task.cancel()
            await asyncio.wait((waiting, running, joining))

    async def _join(self, program: Program, joined: anyio.Event) -> None:
        """Let the servers of a router join it, those that are not healthy later."""

        def ready(left: Sequence[str]) -> None:
            for server in left:
                self._show(f"{program.model}: {server} is not healthy: others get its requests")
            joined.set()

        def show(server: str) -> None:
            self._show(f"{program.model}: {server} is healthy and gets requests")

        if program.servers:
            await join(program.root, program.servers, ready, show)

    def _is_ready(self, one: Watched) -> None:
        passed = anyio.current_time() - (one.began or 0)
        self._show(f"{one.program.model}: ready after {passed:.0f} s")
        self._instance.change_model(one.program.model, phase="ready")
        one.is_ready.set()
        if all(other.is_ready.is_set() for other in self._watched.values()):
            self._settled.set()

    def _late(self, program: Program) -> str:
        log = log_of(self._instance.folder, program.model)
        last = last_line(log)
        return (
            f"{program.model} ({program.engine}) does not answer after {self._start_seconds:g} s "
            f"(--start-timeout){last and ': '}{last}; log: {log_name(log)}"
        )

    def _ended(self, program: Program, ending: Ending, was_ready: bool) -> str:
        if not was_ready:
            for line in last_lines(ending.tail):
                self._show(f"{program.model} | {line}")
        when = "" if was_ready else " while starting"
        log = log_name(log_of(self._instance.folder, program.model))
        return (
            f"{program.model} ({program.engine}) ended{when}, {describe_ending(ending)}; log: {log}"
        )

    def _fail(self, why: str) -> None:
        self._failure = self._failure or LaunchFailed(why)
        self._settled.set()


def _is_starting(one: Watched) -> bool:
    return one.began is not None and not one.is_ready.is_set()


async def _healthy(root: str) -> None:
    """Wait until a server says that it is healthy."""
    async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
        while True:
            try:
                if (await client.get(f"{root}/health")).status_code == httpx2.codes.OK:
                    return
            except httpx2.HTTPError:
                pass  # it does not listen yet
            await anyio.sleep(_POLL)
