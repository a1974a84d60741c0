"""Options of the gateway, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dreamr._option_specs import Conflict, OptionSpec, Unused, check_options

_GATEWAY, _LOAD, _AUDITS = "Gateway", "Load", "Audits"
_LIMITS = "Limits of the gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of the gateway: where it listens, what it allows and how it reacts to load.

    `dreamr serve --help` describes each.

    Raises:
        BadOption: If a value is invalid.
    """

    host: Annotated[
        str,
        OptionSpec("Address to listen on. 0.0.0.0 accepts other machines.", _GATEWAY),
    ] = "127.0.0.1"
    port: Annotated[
        int, OptionSpec("Port to listen on, 0 (any free port) to 65535.", _GATEWAY, 0, 65535)
    ] = 8500
    served_model_name: Annotated[str, OptionSpec("Model name for clients.", _GATEWAY)] = "dreamr"
    keys_file: Annotated[
        str | None,
        OptionSpec(
            "File of API keys and limits, one per line. Alternative: DREAMR_SERVE_KEYS.",
            _GATEWAY,
            shown="no key needed",
        ),
    ] = None
    trusted_proxies: Annotated[
        str | None,
        OptionSpec(
            "Comma-separated addresses and networks of proxies that name the client's address.",
            _GATEWAY,
            shown="none",
        ),
    ] = None
    allowed_origins: Annotated[
        str | None,
        OptionSpec(
            "Comma-separated origins of web pages that may call the gateway.",
            _GATEWAY,
            shown="none",
        ),
    ] = None
    allowed_media_domains: Annotated[
        str | None,
        OptionSpec(
            "Comma-separated hosts (HOST or HOST:PORT) to fetch images, PDF files, videos and "
            "sounds from.",
            _GATEWAY,
            shown="none",
        ),
    ] = None
    on_lost: Annotated[
        Literal["restart", "exit"],
        OptionSpec("Restart a lost model, or exit with status 3 for a service manager.", _GATEWAY),
    ] = "restart"
    wait: Annotated[
        float,
        OptionSpec(
            "Seconds to wait for servers that are still starting. A late draft can join later.",
            _GATEWAY,
            0,
            86400,
        ),
    ] = 0.0
    ready_interval: Annotated[
        float,
        OptionSpec(
            "Seconds between checks of each model; /ready needs an answer to one of the last 3.",
            _GATEWAY,
            0.1,
            3600,
        ),
    ] = 5.0
    log_format: Annotated[
        Literal["text", "json"], OptionSpec("Format of the log, one line per record.", _GATEWAY)
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        OptionSpec("Lowest level of records in the log.", _GATEWAY),
    ] = "info"
    otlp_traces_endpoint: Annotated[
        str | None,
        OptionSpec(
            "URL of an OpenTelemetry collector for spans of runs: http://host:4318/v1/traces.",
            _GATEWAY,
            shown="none",
        ),
    ] = None
    log_text: Annotated[bool, OptionSpec("Log questions and answers, for debugging.", _GATEWAY)] = (
        False
    )
    store: Annotated[
        str | None,
        OptionSpec(
            "Redis server with the state that replicas share, such as redis://host:6379/0.",
            _GATEWAY,
            shown="none",
        ),
    ] = None
    tune: Annotated[
        bool,
        OptionSpec("Adapt window, fallback and resamples to measured run times.", _LOAD),
    ] = False
    audit_every: Annotated[
        int,
        OptionSpec(
            "Audit one of this many accepted steps with the target's own; 0 disables audits.",
            _AUDITS,
            0,
        ),
    ] = 0
    audit_risk: Annotated[
        float,
        OptionSpec(
            "Share of audited steps that may differ before the alarm, 0.001 to 0.5.",
            _AUDITS,
            0.001,
            0.5,
        ),
    ] = 0.02
    audit_lower: Annotated[
        bool,
        OptionSpec("Let audits also lower the threshold below the gate's own.", _AUDITS),
    ] = False
    max_running: Annotated[
        int, OptionSpec("Requests that run at the same time; others wait.", _LIMITS, 1)
    ] = 32
    max_waiting: Annotated[
        int, OptionSpec("Requests that may wait; others get status 429.", _LIMITS, 0)
    ] = 128
    deadline: Annotated[
        float,
        OptionSpec("Longest deadline of a request in seconds, including waiting.", _LIMITS, 0.001),
    ] = 600.0
    drain: Annotated[
        float,
        OptionSpec(
            "Seconds after SIGTERM in which new requests get status 503, before the shutdown.",
            _LIMITS,
            0,
            3600,
        ),
    ] = 5.0
    grace: Annotated[
        int, OptionSpec("Seconds that running requests get at shutdown.", _LIMITS, 0)
    ] = 30
    max_body: Annotated[
        int, OptionSpec("Largest request body in bytes, at least 1024.", _LIMITS, 1024)
    ] = 32 * 2**20
    max_parts: Annotated[
        int, OptionSpec("Largest number of messages and parts in a request.", _LIMITS, 1)
    ] = 512
    max_images: Annotated[
        int, OptionSpec("Largest number of images, pages and frames in a request.", _LIMITS, 0)
    ] = 16
    max_upload_pixels: Annotated[
        int, OptionSpec("Largest number of pixels of an image in a request.", _LIMITS, 1)
    ] = 64_000_000
    max_text: Annotated[
        int, OptionSpec("Largest number of characters of text in a request.", _LIMITS, 1)
    ] = 500_000
    max_total_pixels: Annotated[
        int,
        OptionSpec(
            "Pixels of the images, pages and frames of all running requests; others wait.",
            _LIMITS,
            1024,
        ),
    ] = 64 * 2**20
    max_total_body: Annotated[
        int,
        OptionSpec(
            "Bytes of all large bodies in memory, at least 1024; others get status 503.",
            _LIMITS,
            1024,
        ),
    ] = 128 * 2**20
    max_stored_bytes: Annotated[
        int,
        OptionSpec(
            "Bytes of all files that clients upload to /v1/files; 0 refuses uploads.", _LIMITS, 0
        ),
    ] = 512 * 2**20
    stored_seconds: Annotated[
        int,
        OptionSpec(
            "Seconds for which uploaded files and responses are kept.",
            _LIMITS,
            1,
            30 * 86400,
        ),
    ] = 3600
    max_connections: Annotated[
        int, OptionSpec("Connections at the same time; others get status 503.", _LIMITS, 1)
    ] = 512

    def __post_init__(self) -> None:
        check_options(self)


# Combinations with the options of a run, whose names are given without a prefix.
SERVE_RULES = (
    Unused(("audit_risk", "audit_lower"), lambda o: not o.audit_every, "without --audit-every"),
    Unused(
        ("audit_every", "audit_risk", "audit_lower"),
        lambda o: o.method in ("target", "draft", "prompt-lookup"),
        "with --method {method}",
    ),
    Unused(("tune",), lambda o: o.method != "fpsr", "with --method {method}"),
    Unused(("window", "fallback", "resamples"), lambda o: o.tune, "with --tune"),
)
SERVE_CONFLICTS = (
    Conflict(
        lambda o: o.tune and o.deterministic,
        "--tune follows measured times, which --deterministic rules out: leave out one of them",
    ),
)
