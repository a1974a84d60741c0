"""What this machine has: GPUs by nvidia-smi, memory by the operating system."""

from __future__ import annotations

import os
import shutil
import subprocess

from dreamr.sizing.devices import Device, parse_nvidia_smi

_SECONDS = 10.0
_FOR_MODELS = 0.8  # share of a machine's memory
_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")


def detect_gpus() -> tuple[Device, ...]:
    """Return the GPUs of this machine; none if nvidia-smi is not installed or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        found = subprocess.run(
            [program, *_QUERY], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_nvidia_smi(found.stdout.splitlines())


def cpu_device() -> Device:
    """Return the CPU of this machine, with the part of its memory that models may use.

    Its rates are those of a laptop or, with much memory, of a server.
    """
    size = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _FOR_MODELS)
    kind = "CPU-SERVER" if size > 64 * 10**9 else "CPU-LAPTOP"
    return Device(kind, size, assumed=True)
