"""`dreamr serve`: the gateway."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from rich.console import Console

from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel
from dreamr.errors import Unsupported
from dreamr.serving.options import ServeOptions

_EVERYBODY = ("0.0.0.0", "::")


def serve_command(open_model: OpenModel) -> Callable[..., None]:
    """The command."""
    gateway = Declared(ServeOptions, "DREAMR_SERVE_")
    return command(_serve, gateway, run_flags(), open_model=open_model)


def _serve(gateway: ServeOptions, options: RunOptions, open_model: OpenModel) -> None:
    """Serve the pair under OpenAI's API, with a page to watch it work.

    Clients need the address with /v1 as their base URL. Ctrl-C lets running requests
    finish; a second Ctrl-C cancels them.
    """
    anyio.run(_listen, gateway, options, open_model)


async def _listen(gateway: ServeOptions, options: RunOptions, open_model: OpenModel) -> None:
    try:
        from dreamr.serving.gateway import listen, serve
        from dreamr.serving.gateway.keys import ApiKeys, read_keys
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"the gateway needs {error.name}, which is not installed: pip install 'dreamr[serve]'"
        ) from error
    console = stderr_console()
    everybody = ApiKeys(read_keys(gateway)).open
    _log(console)

    def ready(url: str) -> None:
        local = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
        console.print(f"a page to watch: {local}")
        console.print(f"for clients: base URL {local}/v1, model {gateway.served_model_name}")
        if everybody and gateway.host in _EVERYBODY:
            console.print(
                "everybody who reaches this port is let in: set --keys-file", style="yellow"
            )

    with listen(gateway) as listening:
        console.print("loading the models")
        async with Reasoner(options, open_model=open_model) as reasoner:
            await serve(reasoner, gateway, listening, ready)
    console.print("stopped")


def _log(console: Console) -> None:
    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_path=False, markup=False, highlighter=None)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    for loud in ("httpx2", "httpcore2", "uvicorn"):
        logging.getLogger(loud).setLevel(logging.WARNING)
