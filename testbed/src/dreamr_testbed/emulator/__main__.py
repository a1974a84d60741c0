"""Serve an emulated model: `python -m dreamr_testbed.emulator --help`."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn

from dreamr_testbed.emulator.batching import Rates
from dreamr_testbed.emulator.chains import Chains
from dreamr_testbed.emulator.server import build_app


def main(
    role: Annotated[str, typer.Argument(help="draft or target.")],
    model: Annotated[str, typer.Option(help="A model of the simulator's table.")] = "32B",
    gpu: Annotated[str, typer.Option(help="A device of the simulator's table.")] = "H100",
    devices: Annotated[int, typer.Option(help="Devices of the model.", min=1)] = 1,
    block: Annotated[int, typer.Option(help="Tokens of a prefix cache block.", min=1)] = 16,
    acceptance: Annotated[
        float, typer.Option(help="Probability that a drafted step is right.", min=0, max=1)
    ] = 0.8,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
) -> None:
    """Serve an emulated model on 127.0.0.1 until it is interrupted."""
    if role not in ("draft", "target"):
        raise typer.BadParameter(f"the role is draft or target, not {role}")
    rates = Rates.named(model, gpu, devices, block)
    app = build_app("draft" if role == "draft" else "target", Chains(acceptance), rates)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
