"""Options of a batch, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dreamr._option_specs import BadOption, OptionSpec, check_options

_BATCH = "Batch"


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
        OptionSpec("Most requests at the same time; fewer if more do not pay.", _BATCH, 1, 1024),
    ] = 64

    def __post_init__(self) -> None:
        check_options(self)
        if self.out.suffix.lower() not in (".jsonl", ".ndjson"):
            raise BadOption(f"--out {self.out} must end in .jsonl: answers are JSON Lines")

    @property
    def errors(self) -> Path:
        """File of the requests that ended in an error."""
        return self.out.with_name(f"{self.out.stem}.errors{self.out.suffix}")
