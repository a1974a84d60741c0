"""`dreamr serve`: serve a pair of models with an OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import typer

from dreamr._option_rules import RUN_RULES, request_cases
from dreamr._option_specs import BadOption, OptionRules, option_specs
from dreamr._options import RunOptions
from dreamr.cli import interrupts
from dreamr.cli.epilog import ENVIRONMENT, EXIT_STATUS, METHODS, epilog
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.cli.pair_flag import PairUse
from dreamr.cli.screen import stderr_console
from dreamr.engines import OpenModel
from dreamr.errors import Unsupported
from dreamr.runner import RunHook
from dreamr.serving.options import SERVE_CONFLICTS, SERVE_RULES, ServeOptions

EPILOG = epilog(
    "dreamr serve",
    "dreamr serve --target http://gpu1:8000/v1 --draft http://gpu2:8000/v1",
    "dreamr serve --target http://gpu1:8000 --draft http://gpu2:8000 --wait 600",
    "dreamr serve --host 0.0.0.0 --keys-file keys.txt",
    "dreamr serve --pair pair.yaml",
    "dreamr serve --gate cascade --draft-confidence 0.95 --final-answer draft",
    notes=(
        METHODS,
        f"{ENVIRONMENT} Options of the gateway have variables with DREAMR_SERVE_.",
        f"{EXIT_STATUS[:-1]}, 3 a model was lost with --on-lost exit.",
        "Guides: docs/guides/serve.md, docs/guides/gates.md",
    ),
)
_ALL_INTERFACES = ("0.0.0.0", "::")
_LOST = 3  # exit status after the loss of a model


@contextmanager
def _spans(endpoint: str | None) -> Iterator[tuple[RunHook, ...]]:
    """Yield the hooks that send spans of runs to a collector, none without one.

    Raises:
        Unsupported: If OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield ()
        return
    try:
        from dreamr.serving.spans import RunSpans, open_exporter
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"--otlp-traces-endpoint needs {error.name}, which is not installed: "
            "pip install 'dreamr[otel]'"
        ) from error
    from dreamr.serving.gateway.request_ids import trace_headers

    with open_exporter(endpoint) as tracer:
        yield (RunSpans(tracer, trace_headers),)


# The gateway has a deadline of its own, which includes the time that a request waits.
_RUN_FLAGS = [name for name in option_specs(RunOptions) if name != "deadline"]
_RULES = OptionRules((*SERVE_RULES, *RUN_RULES), SERVE_CONFLICTS, request_cases)


def serve_command(open_model: OpenModel) -> Callable[..., None]:
    """Return the command."""
    gateway = Declared(ServeOptions, "DREAMR_SERVE_")
    flags = run_flags(_RUN_FLAGS)
    pair = PairUse(serves=True)
    return command(_serve, gateway, flags, rules=_RULES, pair=pair, open_model=open_model)


def _serve(
    gateway: ServeOptions,
    options: RunOptions,
    open_model: OpenModel,
    pairs: Mapping[str, RunOptions],
) -> None:
    """Serve draft and target as one model with an OpenAI-compatible API, and a live page.

    A pair file may have several pairs: the model of a request chooses. The base URL for clients
    ends in /v1. Ctrl-C lets running requests finish; a second Ctrl-C cancels them.
    """
    name = gateway.served_model_name  # that of the first pair
    first, *others = (pairs or {name: options}).items()
    served = {name: first[1], **dict(others)}
    if len(served) <= len(others):
        raise BadOption(f"--served-model-name {name} is the name of another pair: choose a new one")
    interrupts.run(_listen, gateway, served, open_model)


async def _listen(
    gateway: ServeOptions, pairs: Mapping[str, RunOptions], open_model: OpenModel
) -> None:
    @asynccontextmanager
    async def options_of_runs() -> AsyncIterator[Mapping[str, RunOptions]]:
        yield pairs

    await serve_models(gateway, options_of_runs(), open_model)


async def serve_models(
    gateway: ServeOptions,
    prepared: AbstractAsyncContextManager[Mapping[str, RunOptions]],
    open_model: OpenModel,
    serving: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve pairs of models until a signal ends the gateway.

    Args:
        gateway: Options of the gateway.
        prepared: Gives the options of the runs of each pair, by its served name. It is entered when
            the gateway has its port and its keys, and left after the last run.
        open_model: Opens the models.
        serving: Called with the gateway's URL when it accepts requests.

    Raises:
        Exit: If a model is lost with `--on-lost exit`.
        Unsupported: If the gateway is not installed.
    """
    try:
        from dreamr.serving.gateway import listen, open_pairs, reasoners_for, serve
        from dreamr.serving.gateway.keys import ApiKeys, read_keys
        from dreamr.serving.gateway.logs import configure_log
        from dreamr.serving.gateway.proxies import TrustedProxies
        from dreamr.serving.store.opening import opened_store
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"the gateway needs {error.name}, which is not installed: pip install 'dreamr[serve]'"
        ) from error
    console = stderr_console()
    # Read before the models are loaded, so that errors are reported at once.
    keys = ApiKeys(read_keys(gateway), TrustedProxies(gateway.trusted_proxies))
    configure_log(gateway)

    names: list[str] = []

    def ready(url: str) -> None:
        serving(url)
        for line in _addresses(url, names):
            console.print(line)
        if keys.open and gateway.host in _ALL_INTERFACES:
            console.print(
                "warning: other machines can use this gateway without a key: set --keys-file",
                style="yellow",
            )

    with _spans(gateway.otlp_traces_endpoint) as hooks, listen(gateway) as listening:
        async with opened_store(gateway) as store, prepared as pairs:
            console.print("loading the models")
            names += pairs
            reasoners = reasoners_for(pairs, gateway, open_model, console.print)
            async with open_pairs(reasoners, gateway) as served:
                lost = await serve(served, gateway, listening, ready, keys, hooks, store)
    if lost is None:
        console.print("stopped")
        return
    name, role = lost
    where = f" of {name}" if len(names) > 1 else ""
    console.print(f"stopped: the {role}{where} is lost")
    raise typer.Exit(_LOST)


def _addresses(url: str, names: Collection[str]) -> tuple[str, str]:
    """Return lines on where the page is, and what clients need."""
    local = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    return f"live page: {local}", f"for clients: base URL {local}/v1, model {' or '.join(names)}"
