"""Ports of servers, and which server waits for which."""

from __future__ import annotations

import os
import socket

import pytest

from dreamr._option_specs import BadOption
from dreamr.serving.launch.ports import free_port, is_free, listener
from dreamr.serving.launch.program import EngineCommand, Program, check_port, earlier


def program(model: str, devices: tuple[int, ...] | None, port: int = 1) -> Program:
    return Program(model, "vllm", EngineCommand(("vllm",)), port, devices)


@pytest.mark.parametrize(
    ("devices", "waits_for"),
    [
        ([(0,), (0,)], ["a"]),
        ([(0,), (1,)], []),
        ([(0, 1), (1,)], ["a"]),
        ([(), ()], ["a"]),
        ([(), (0,)], []),
        ([(0,), None], ["a"]),
        ([None, ()], ["a"]),
    ],
)
def test_a_server_waits_for_earlier_ones_on_its_devices(
    devices: list[tuple[int, ...] | None], waits_for: list[str]
) -> None:
    both = [program(name, one) for name, one in zip("ab", devices, strict=True)]
    assert [one.model for one in earlier(both, both[1])] == waits_for
    assert earlier(both, both[0]) == []


def test_a_router_waits_for_its_servers_alone() -> None:
    servers = [program(name, ()) for name in ("a.1", "a.2", "b")]
    router = Program("a", "router", EngineCommand(("r",)), 1, after=("a.1", "a.2"))
    last = program("c", ())
    programs = [*servers, router, last]
    assert earlier(programs, router) == servers[:2]
    assert earlier(programs, last) == servers


def test_a_port_in_use_is_refused_with_the_process_that_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]
        assert not is_free(port)
        assert listener(port).startswith(f"process {os.getpid()} (")
        with pytest.raises(BadOption) as raised:
            check_port(program("big", (0,), port))
    assert str(raised.value).startswith(f"port {port} of model big is in use by process ")
    assert is_free(port)


def test_free_ports_are_not_given_twice() -> None:
    taken: set[int] = set()
    for _ in range(20):
        port = free_port(taken)
        assert port not in taken
        assert is_free(port)
        taken.add(port)
