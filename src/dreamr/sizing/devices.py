"""Devices to place models on: a description such as 4x80GB, or what nvidia-smi reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dreamr._messages import one_line
from dreamr._option_specs import BadOption
from dreamr.evaluation.simulator.machines import Gpu, rates

GB = 10**9
MOST_DEVICES = 64
_PART = re.compile(r"(?:(\d+)\s*x\s*)?([\w.-]+?)\s*", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*gi?b?", re.IGNORECASE)
_EXAMPLES = "4x80GB, 2xH100 or 1xL40S,1x24GB"


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or the CPU of a machine.

    Attributes:
        kind: Key in the table of rates.
        memory: Memory in bytes.
        assumed: Whether the kind is assumed, since only the memory is known.
    """

    kind: str
    memory: int
    assumed: bool = False

    @property
    def rates(self) -> Gpu:
        """Bandwidth and arithmetic."""
        return rates().gpus[self.kind]

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU."""
        return self.kind.startswith("CPU")


def parse_devices(text: str) -> tuple[Device, ...]:
    """Return the devices of a description, such as 4x80GB or 2xH100; none for 'none' and 'cpu'.

    Raises:
        BadOption: If the description cannot be read.
    """
    if text.strip().lower() in ("none", "cpu", "0"):
        return ()
    found: list[Device] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise BadOption(f"describe GPUs as {_EXAMPLES}, not {one_line(text, 60)!r}")
        count = int(match[1] or 1)
        if not 1 <= count <= MOST_DEVICES:
            raise BadOption(f"the number of GPUs must be from 1 to {MOST_DEVICES}, not {count}")
        found += [_device(match[2])] * count
    if len(found) > MOST_DEVICES:
        raise BadOption(f"at most {MOST_DEVICES} GPUs can be planned for, not {len(found)}")
    return tuple(found)


def _device(name: str) -> Device:
    if memory := _MEMORY.fullmatch(name):
        size = float(memory[1])
        if size <= 0:
            raise BadOption(f"the memory of a GPU must be above 0, not {name}")
        return of_memory(int(size * GB))
    for kind, gpu in rates().gpus.items():
        if kind.lower() == name.lower():
            return Device(kind, int(gpu.memory * GB))
    raise BadOption(
        f"unknown GPU {one_line(name, 60)!r}: describe it by its memory, such as 1x24GB, or name "
        f"one of {', '.join(rates().gpus)}"
    )


def of_memory(size: int) -> Device:
    """Return a device of this many bytes, with the rates of the kind that is closest in memory."""
    gpus = {kind: gpu for kind, gpu in rates().gpus.items() if not kind.startswith("CPU")}
    kind = min(gpus, key=lambda name: abs(gpus[name].memory * GB - size))
    return Device(kind, size, assumed=True)


def parse_nvidia_smi(lines: Sequence[str]) -> tuple[Device, ...]:
    """Return the devices in the output of `nvidia-smi --query-gpu=name,memory.total`.

    Lines that cannot be read are left out.
    """
    found = []
    for line in lines:
        name, _, memory = line.rpartition(",")
        if memory.strip().isdigit():
            found.append(_reported(name.strip(), int(memory) * 2**20))
    return tuple(found)


def _reported(name: str, memory: int) -> Device:
    """Return the device of a product name, such as NVIDIA H100 80GB HBM3."""
    plain = re.sub(r"[\s-]", "", name).upper()
    for kind in sorted(rates().gpus, key=len, reverse=True):
        if kind.replace("-", "").upper() in plain:
            return Device(kind, memory)
    return of_memory(memory)


def described(devices: Sequence[Device]) -> str:
    """Return a short description, such as 4 x 80 GB."""
    parts: list[tuple[str, int]] = []
    for device in devices:
        name = f"{device.memory / GB:.0f} GB"
        if not device.assumed:
            name = f"{device.kind} ({name})"
        if parts and parts[-1][0] == name:
            parts[-1] = (name, parts[-1][1] + 1)
        else:
            parts.append((name, 1))
    return " + ".join(f"{count} x {name}" for name, count in parts) or "no GPU"
