"""Why an engine ended, in one line."""

from __future__ import annotations

import signal

import pytest

from dreamr.serving.launch.guarded import Ending
from dreamr.serving.launch.reasons import describe_ending, last_lines

VLLM_MEMORY = """
(EngineCore pid=411) INFO 11-29 14:17:01 [gpu_worker.py:101] starting
(EngineCore pid=411) ERROR 11-29 14:17:05 ValueError: Free memory on device (3.1/79.2 GiB) on \
startup is less than desired GPU memory utilization (0.9, 71.3 GiB).
(APIServer pid=399) Traceback (most recent call last):
(APIServer pid=399) RuntimeError: Engine core initialization failed. See root cause above.
"""
LLAMA_MODEL = """
0.00.031.002 I srv    load_model: loading model '/no/such.gguf'
gguf_init_from_file: failed to open GGUF file '/no/such.gguf' (No such file or directory)
srv    operator(): exiting due to model loading error
"""
OTHER = """
INFO all is well
ValueError: head size 31 is not supported
(APIServer pid=399) RuntimeError: Engine core initialization failed. See root cause above.
"""


@pytest.mark.parametrize(
    ("tail", "parts"),
    [
        (VLLM_MEMORY, ("out of memory", "'memory' or 'context'", "(3.1/79.2 GiB)")),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", ("out of memory", "'devices'")),
        ("RuntimeError: CUDA error: invalid device ordinal", ("no such GPU: change 'devices'",)),
        ("OSError: [Errno 98] Address already in use", ("choose another 'port'",)),
        ("vllm: error: unrecognized arguments: --no-such", ("change 'flags'", "--no-such")),
        ("error: invalid argument: --no-such", ("change 'flags'",)),
        (LLAMA_MODEL, ("check 'model'", "/no/such.gguf")),
        ("ModuleNotFoundError: No module named 'torch'", ("reinstall it", "'torch'")),
        (OTHER, ("ValueError: head size 31 is not supported",)),
    ],
)
def test_the_reason_is_found_in_the_log_with_advice(tail: str, parts: tuple[str, ...]) -> None:
    line = describe_ending(Ending(1, tail))
    assert line.startswith("exit status 1: ")
    assert "\n" not in line
    assert "See root cause" not in line
    for part in parts:
        assert part in line


def test_without_a_reason_the_last_line_is_quoted() -> None:
    assert describe_ending(Ending(2, "loading\nbye\n")) == "exit status 2: bye"
    assert describe_ending(Ending(2)) == "exit status 2"


def test_signals_are_named() -> None:
    assert "memory ran out" in describe_ending(Ending(-signal.SIGKILL, "loading"))
    assert describe_ending(Ending(-signal.SIGSEGV)) == "ended by SIGSEGV"
    assert describe_ending(Ending(-99)) == "ended by signal 99"


def test_a_guard_that_was_killed_is_named() -> None:
    assert describe_ending(Ending(None)) == "its guard process was killed"


def test_last_lines_are_printable_and_few() -> None:
    tail = "".join(f"line {number}\n\n" for number in range(50)) + "\x1b[31mred\n"
    found = last_lines(tail)
    assert len(found) == 12
    assert found[-2] == "line 49"
    assert "\x1b" not in found[-1]
