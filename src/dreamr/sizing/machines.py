"""Machines with prices, from a file or from a description."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamr._files import read_text
from dreamr._messages import short_path
from dreamr._option_specs import BadOption
from dreamr.errors import DreamrError
from dreamr.sizing.devices import Device, parse_devices

_CPU = "CPU-SERVER"
_FIELDS = ("gpus", "cpu", "price")
_MOST = 1e9  # of a price
_MOST_MACHINES = 100  # all pairs of them are compared


class BadMachines(DreamrError):
    """A file of machines or of measured placements cannot be used."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine to place models on.

    Attributes:
        name: Name.
        gpus: Its GPUs.
        cpu: Its CPU; None: no model runs on it.
        price: Price of an hour; None if it is unknown.
    """

    name: str
    gpus: tuple[Device, ...]
    cpu: Device | None = None
    price: float | None = None

    @property
    def devices(self) -> tuple[Device, ...]:
        """GPUs, and the CPU last."""
        return (*self.gpus, *(() if self.cpu is None else (self.cpu,)))


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Machines with prices.

    Attributes:
        machines: Machines by name.
        currency: Currency of the prices.
    """

    machines: Mapping[str, Machine]
    currency: str = ""

    def machine(self, name: str) -> Machine:
        """Return the machine of this name, or one that is described, such as 2xH100.

        Raises:
            BadOption: If the name is neither in the table nor a description.
        """
        if name in self.machines:
            return self.machines[name]
        try:
            gpus = parse_devices(name)
        except BadOption as error:
            known = f"; the price table has {', '.join(self.machines)}" if self.machines else ""
            raise BadOption(f"unknown machine {name!r}: {error}{known}") from error
        return Machine(name, gpus, parse_devices(_CPU)[0])


def read_prices(path: Path) -> PriceTable:
    """Read a price table.

    Raises:
        BadMachines: If the file cannot be read or a value is invalid.
    """
    values = read_toml(path, "price table")
    rows = values.get("machines")
    if not isinstance(rows, dict) or not rows:
        raise BadMachines(
            f"price table {short_path(path)} has no machines: add [machines.NAME] with gpus and "
            "price"
        )
    if len(rows) > _MOST_MACHINES:
        raise BadMachines(
            f"price table {short_path(path)} has {len(rows)} machines: at most {_MOST_MACHINES} "
            "can be compared"
        )
    machines = {name: _machine(path, name, row) for name, row in rows.items()}
    return PriceTable(machines, str(values.get("currency", "")))


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        BadMachines: If the file cannot be read or is not valid.
    """
    try:
        return tomllib.loads(read_text(path, kind, BadMachines))
    except tomllib.TOMLDecodeError as error:
        raise BadMachines(f"{kind} {short_path(path)}: not valid TOML: {error}") from error


def read_price(row: Mapping[str, Any], where: str) -> float | None:
    """Return the price of an hour in a row of a file, None if it has none.

    Args:
        row: The row.
        where: Its place, for messages.

    Raises:
        BadMachines: If it is not a price.
    """
    price = row.get("price")
    if price is None:
        return None
    if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < _MOST:
        raise BadMachines(f"{where}: price must be a number of at least 0, the price of an hour")
    return float(price)


def _machine(path: Path, name: str, row: object) -> Machine:
    where = f"price table {short_path(path)}, machine {name}"
    if not isinstance(row, dict):
        raise BadMachines(f"{where}: must be a table with {', '.join(_FIELDS)}")
    for key in row:
        if key not in _FIELDS:
            raise BadMachines(f"{where}: unknown field {key!r}; known: {', '.join(_FIELDS)}")
    price = read_price(row, where)
    try:
        gpus = parse_devices(str(row.get("gpus", "none")))
        cpu = str(row.get("cpu", _CPU))
        cpus = () if cpu == "none" else parse_devices(cpu)
    except BadOption as error:
        raise BadMachines(f"{where}: {error}") from error
    if not all(device.is_cpu for device in cpus):
        raise BadMachines(f"{where}: cpu must be a kind of CPU such as {_CPU}, or none, not {cpu}")
    if not gpus and not cpus:
        raise BadMachines(f"{where}: has neither gpus nor a cpu: add gpus such as 1xH100")
    return Machine(name, gpus, cpus[0] if cpus else None, price)
