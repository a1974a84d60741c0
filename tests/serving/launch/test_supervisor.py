"""Servers are started in order, reported, kept up, and ended."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from dreamr.errors import DreamrError
from dreamr.pairs import Launch
from dreamr.pairs.running import is_up, read_state
from dreamr.serving.launch.down import NotUp, bring_down
from dreamr.serving.launch.instance import AlreadyUp, Instance
from dreamr.serving.launch.leftovers import marked
from dreamr.serving.launch.ports import free_port
from dreamr.serving.launch.program import EngineCommand, Program
from dreamr.serving.launch.supervisor import LaunchFailed, Pauses, Supervisor
from support.launched import SECONDS, SERVER, python

PAUSES = Pauses(first=0.01, longest=0.02)


@pytest.fixture(autouse=True)
def _state_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def server(model: str, code: str = SERVER, devices: tuple[int, ...] = ()) -> Program:
    port = free_port()
    return Program(model, "scripted", EngineCommand(python(code, port)), port, devices)


class Up:
    """A pair that is up, and what was shown about it."""

    def __init__(self, *programs: Program, start_seconds: float = SECONDS) -> None:
        self.programs, self.start_seconds = programs, start_seconds
        self.shown: list[str] = []

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Instance]:
        """Start the pair, and yield it when it is ready."""
        instance = Instance("small-pair", Path("pair.yaml"), "digest")
        supervisor = Supervisor(
            self.programs, instance, self.shown.append, self.start_seconds, 1.0, PAUSES
        )
        try:
            with anyio.fail_after(2 * SECONDS):
                async with supervisor:
                    await supervisor.ready()
                    yield instance
        finally:
            instance.release()
            assert not marked(instance.folder)

    def fails(self) -> str:
        """Return why the pair does not start."""

        async def main() -> None:
            async with self.start():
                pass

        with pytest.raises(DreamrError) as raised:
            anyio.run(main)
        assert isinstance(raised.value, LaunchFailed)
        return str(raised.value)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    with anyio.fail_after(SECONDS):
        while not condition():
            await anyio.lowlevel.checkpoint()


def test_servers_are_ready_with_their_state_and_gone_afterwards() -> None:
    up = Up(server("big"), server("small"))

    async def main() -> None:
        async with up.start() as instance:
            state = read_state("small-pair")
            assert state == instance.state
            assert is_up("small-pair")
            assert state.addresses == {one.model: one.url for one in up.programs}
            assert [model.phase for model in state.models.values()] == ["ready", "ready"]
            assert all(os.path.exists(f"/proc/{model.pid}") for model in state.models.values())
            assert "serving" in Path(state.models["big"].log).read_text()

    anyio.run(main)
    assert not is_up("small-pair")
    assert read_state("small-pair") is None


@pytest.mark.parametrize("second", [(0,), (1,)])
def test_servers_of_one_device_start_one_after_the_other(second: tuple[int, ...]) -> None:
    up = Up(server("big", devices=(0,)), server("small", devices=second))

    async def main() -> None:
        async with up.start():
            pass

    anyio.run(main)
    ready = next(i for i, line in enumerate(up.shown) if line.startswith("big: ready"))
    started = next(i for i, line in enumerate(up.shown) if line.startswith("small: starting"))
    assert (started > ready) is (second == (0,))


def test_a_server_that_ends_while_starting_is_reported_with_its_log() -> None:
    fails = "print('loading weights'); print('ValueError: head size 31'); raise SystemExit(3)"
    up = Up(server("big"), server("small", fails))
    line = up.fails()
    assert "\n" not in line
    assert line.startswith(
        "small (scripted) ended while starting, exit status 3: ValueError: head size 31; log: "
    )
    assert "small | loading weights" in up.shown


def test_a_server_that_does_not_answer_is_reported() -> None:
    line = Up(server("big", "import signal; signal.pause()"), start_seconds=0.5).fails()
    assert line.startswith("big (scripted) does not answer after 0.5 s (--start-timeout)")


def test_what_no_process_can_be_given_is_reported_instead_of_waited_for() -> None:
    command = EngineCommand((*python(SERVER), "\0"))
    line = Up(Program("big", "scripted", command, free_port())).fails()
    assert line == "big: internal error (ValueError: embedded null byte): report it"


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]
        program = Program("big", "scripted", EngineCommand(python(SERVER, port)), port)
        assert f"is in use by process {os.getpid()}" in Up(program).fails()


def test_secrets_are_in_a_file_while_the_server_is_there() -> None:
    shows = "import sys\nprint('read', open(sys.argv[3]).read(), flush=True)\n"
    port = free_port()
    command = EngineCommand(python(shows + SERVER, port), secrets={"api-key": "sk-1"})
    up = Up(Program("big", "scripted", command, port))

    async def main() -> None:
        async with up.start() as instance:
            state = instance.state.models["big"]
            assert 'read {"api-key": "sk-1"}' in Path(state.log).read_text()
            assert b"sk-1" not in Path(f"/proc/{state.pid}/cmdline").read_bytes()
            [file] = instance.folder.glob("*.yaml")
            assert file.stat().st_mode & 0o777 == 0o600
        assert not [*instance.folder.glob("*.yaml")]

    anyio.run(main)


def test_a_server_that_dies_is_started_again_at_its_address() -> None:
    up = Up(server("big"))

    async def main() -> None:
        async with up.start() as instance:
            first = instance.state.models["big"].pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: instance.state.models["big"].restarts == 1)
            await until(lambda: instance.state.models["big"].phase == "ready")
            assert instance.state.models["big"].pid != first

    anyio.run(main)
    assert any("starting it again in 0.01 s" in line for line in up.shown)


def test_a_server_that_is_started_again_gets_its_share_of_what_the_others_leave() -> None:
    taken: dict[str, list[float]] = {"big": [], "small": []}

    def holding(name: str, memory: float) -> Program:
        found = server(name, devices=(0,))

        def command(share: float) -> EngineCommand:
            taken[name].append(share)
            return found.command

        launch = Launch(engine="sglang", model="a/b", devices=(0,), memory=memory)
        return replace(found, launch=launch, command_beside=command)

    up = Up(holding("big", 0.6), holding("small", 0.25))

    async def main() -> None:
        async with up.start() as instance:
            first = instance.state.models["big"].pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: instance.state.models["big"].restarts == 1)
            await until(lambda: instance.state.models["big"].phase == "ready")

    anyio.run(main)
    assert taken == {"big": [0.0, 0.25], "small": [0.6]}


def test_pauses_grow_to_a_bound_and_begin_again_after_service() -> None:
    pauses, found, pause = Pauses(), [], 0.0
    for served in (0, 0, 0, 0, 0, 0, 0, 0, 100):
        pause = pauses.after(pause, served)
        found.append(pause)
    assert found == [1, 2, 4, 8, 16, 32, 60, 60, 1]


def test_a_second_pair_of_the_same_name_is_refused() -> None:
    instance = Instance("small-pair", Path("pair.yaml"), "digest")
    with pytest.raises(AlreadyUp, match=r"small-pair is up already \(process .*pair\.yaml\): run"):
        Instance("small-pair", Path("other.yaml"), "digest")
    instance.release()
    Instance("small-pair", Path("other.yaml"), "digest").release()


def test_down_of_a_pair_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NotUp, match="no-such is not up"):
        anyio.run(bring_down, "no-such", 1.0, lambda line: None)


def test_a_stale_state_is_not_up_and_down_removes_it() -> None:
    instance = Instance("small-pair", Path("pair.yaml"), "digest")
    instance._lock.close()  # as the system does when a process dies
    secrets = instance.folder / "big.secret.yaml"
    secrets.touch()
    assert not is_up("small-pair")
    assert read_state("small-pair") == instance.state
    shown: list[str] = []
    anyio.run(bring_down, "small-pair", 1.0, shown.append)
    assert shown == ["small-pair: had died; 0 of its processes ended"]
    assert read_state("small-pair") is None
    assert not secrets.exists()
