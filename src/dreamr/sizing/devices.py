"""Devices to place models on: a description such as 4x80GB, or what nvidia-smi reports."""

from __future__ import annotations

import re
from collections import Counter
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
_SAME = {"A10G": "A10", "T4G": "T4"}  # products with the rates of another one
_VARIANTS = {"PCIE", "NVL", "LAPTOP", "TI", "D"}  # words of products with other rates
_NEAR = 0.1  # of the memory in the table; products of another memory have other rates


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


def equal_groups(devices: Sequence[Device]) -> list[tuple[int, ...]]:
    """Return the indices of devices of each kind and memory, in the order of the devices."""
    found: dict[tuple[str, int], list[int]] = {}
    for index, device in enumerate(devices):
        found.setdefault((device.kind, device.memory), []).append(index)
    return [tuple(group) for group in found.values()]


def copies_of(used: Sequence[Device], devices: Sequence[Device]) -> int:
    """Return how many times devices are among others, by kind and memory; at least 1.

    Args:
        used: Devices of one copy.
        devices: All devices.
    """
    needed = Counter((one.kind, one.memory) for one in used)
    there = Counter((one.kind, one.memory) for one in devices)
    return max(1, min((there[kind] // count for kind, count in needed.items()), default=1))


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
    words = re.findall(r"[A-Z0-9]+", name.upper())
    words = [_SAME.get(word, word) for word in words]
    ends = range(1, len(words) + 1)
    # A kind is one word, or several in a row: RTX 4090.
    runs = {"".join(words[start:end]) for end in ends for start in range(end)}
    for kind, gpu in rates().gpus.items():
        if _joined(kind) in runs or _joined(gpu.name) in runs:
            usual = gpu.memory * GB
            is_other = bool(_VARIANTS & {*words}) or abs(memory - usual) > _NEAR * usual
            return Device(kind, memory, assumed=is_other)
    return of_memory(memory)


def _joined(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


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
