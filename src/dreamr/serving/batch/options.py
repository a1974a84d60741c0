"""Options of a batch, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dreamr._option_specs import BadOption, OptionSpec, check_options

_BATCH = "Batch"
_SHARING = "Sharing"
_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Files and limits of a batch.

    Raises:
        BadOption: If a value is invalid.
    """

    requests: Annotated[
        Path,
        OptionSpec(
            "Requests: JSON Lines (OpenAI's batch format, or questions), CSV or parquet.",
            "Arguments",
            positional=True,
            reads="*",
        ),
    ]
    out: Annotated[
        Path,
        OptionSpec(
            "File to append answers to; answered requests are skipped.", _BATCH, writes=True
        ),
    ]
    retry: Annotated[
        bool, OptionSpec("Send requests again that ended in an error before.", _BATCH)
    ] = False
    max_concurrency: Annotated[
        int,
        OptionSpec(
            "Largest number of requests at the same time; fewer if more gain nothing.",
            _BATCH,
            1,
            1024,
        ),
    ] = 64
    share: Annotated[
        str | None,
        OptionSpec(
            "Redis server over which several processes share the batch: redis://HOST/0.",
            _SHARING,
            shown="not shared",
        ),
    ] = None
    job: Annotated[
        str | None,
        OptionSpec("Name of the shared batch.", _SHARING, shown="that of the --out file"),
    ] = None
    takeover_seconds: Annotated[
        float,
        OptionSpec(
            "Seconds of silence after which the requests of a process are taken over.",
            _SHARING,
            1,
            3600,
        ),
    ] = 15.0

    def __post_init__(self) -> None:
        check_options(self)
        if self.out.suffix.lower() not in (".jsonl", ".ndjson"):
            raise BadOption(f"--out {self.out} must end in .jsonl: answers are JSON Lines")

        if self.share is not None and not self.share.lower().startswith(_SCHEMES):
            raise BadOption("--share must be an address of Redis, such as redis://localhost:6379/0")

    @property
    def job_name(self) -> str:
        """Name of the shared batch."""
        return self.job or self.out.stem

    @property
    def errors(self) -> Path:
        """File of the requests that ended in an error."""
        return self.out.with_name(f"{self.out.stem}.errors{self.out.suffix}")
