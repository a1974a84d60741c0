"""Everything that can be chosen about the gateway, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dreamr._option_specs import OptionSpec, check_options

_DOOR, _LIMITS = "Gateway", "Limits of the gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How the gateway listens and what it allows; `dreamr._option_specs.option_specs` tells of
    each.

    Raises:
        BadOption: a value outside its bounds.
    """

    host: Annotated[str, OptionSpec("Address to listen on; 0.0.0.0 lets others in.", _DOOR)] = (
        "127.0.0.1"
    )
    port: Annotated[int, OptionSpec("Port to listen on; 0 takes a free one.", _DOOR, 0, 65535)] = (
        8500
    )
    served_model_name: Annotated[str, OptionSpec("The model's name for clients.", _DOOR)] = "dreamr"
    keys_file: Annotated[
        str | None,
        OptionSpec(
            "File of the API keys to accept, one a line; or DREAMR_SERVE_KEYS, with commas between "
            "them.",
            _DOOR,
            shown="none: everybody who reaches the port",
        ),
    ] = None
    allowed_origins: Annotated[
        str | None,
        OptionSpec(
            "Web pages of other origins that browsers may let in, with commas between them.",
            _DOOR,
            shown="none",
        ),
    ] = None
    allowed_media_domains: Annotated[
        str | None,
        OptionSpec(
            "Hosts that pictures may be fetched from, with commas between them. Never internal "
            "addresses.",
            _DOOR,
            shown="none: pictures come in the request",
        ),
    ] = None
    load_aware: Annotated[
        bool,
        OptionSpec(
            "Give up the fallback, then the window, then the draft as the target saturates.", _DOOR
        ),
    ] = True
    tune: Annotated[
        bool,
        OptionSpec(
            "Let window, fallback and resamples follow how fast earlier runs were with them, where "
            "nothing has to be given up and a request does not set them.",
            _DOOR,
        ),
    ] = False
    audit_every: Annotated[
        int,
        OptionSpec(
            "Of how many accepted steps one is compared, after the answer, with what the target "
            "writes itself; 0: none.",
            _DOOR,
            0,
        ),
    ] = 0
    audit_risk: Annotated[
        float,
        OptionSpec(
            "Share of these with which the target may disagree before there is an alarm.",
            _DOOR,
            0.001,
            0.5,
        ),
    ] = 0.02
    audit_lower: Annotated[
        bool, OptionSpec("Let audits lower the gate's threshold below its own too.", _DOOR)
    ] = False
    log_text: Annotated[
        bool, OptionSpec("Write questions and answers into the log, for debugging.", _DOOR)
    ] = False
    max_running: Annotated[
        int, OptionSpec("Requests that are reasoned about at once; others wait.", _LIMITS, 1)
    ] = 32
    max_waiting: Annotated[
        int, OptionSpec("Requests that may wait; more are told to come again.", _LIMITS, 0)
    ] = 128
    deadline: Annotated[
        float, OptionSpec("Seconds that a request may take, waiting included.", _LIMITS, 0.001)
    ] = 600.0
    grace: Annotated[
        int, OptionSpec("Seconds that running requests get when the gateway stops.", _LIMITS, 0)
    ] = 30
    max_body: Annotated[int, OptionSpec("Bytes of a request.", _LIMITS, 1024)] = 32 * 2**20
    max_parts: Annotated[int, OptionSpec("Messages and parts of them, together.", _LIMITS, 1)] = 512
    max_images: Annotated[int, OptionSpec("Pictures of a request.", _LIMITS, 0)] = 16
    max_pixels: Annotated[int, OptionSpec("Pixels of a picture.", _LIMITS, 1)] = 64_000_000
    max_text: Annotated[int, OptionSpec("Characters of a request's texts.", _LIMITS, 1)] = 500_000

    def __post_init__(self) -> None:
        check_options(self)
