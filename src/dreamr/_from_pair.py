"""The Reasoner of a pair file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from dreamr.engines import OpenModel, open_model
from dreamr.pairs import choose_pair


class FromPair:
    """Base of `Reasoner`, which makes one from a pair file."""

    @classmethod
    def from_pair(
        cls,
        path: Path | str,
        name: str | None = None,
        *,
        addresses: Mapping[str, str] | None = None,
        open_model: OpenModel = open_model,
        **options: Any,
    ) -> Self:
        """Return a Reasoner with models, API keys and options of a pair file.

        Example:
            ```python
            with Reasoner.from_pair("pair.yaml", window=6) as reasoner:
                print(reasoner.ask("What do tea and milk cost?", "receipt.png").answer)
            ```

        Args:
            path: The file.
            name: Name of one of its pairs. None: the first.
            addresses: Addresses of servers that were started for the file, by the name of their
                model. None: those of the running instance.
            open_model: Opens a model.
            options: Options of `RunOptions` that come before those of the file.

        Raises:
            BadOption: If the file has faults, has no such pair, or an option is invalid.
            NotRunning: If a model has to be started first, by `dreamr up`.
        """
        chosen = choose_pair(path, name, addresses=addresses)
        made: Any = cls
        run_options = replace(chosen.run_options(), **options)
        return made(run_options, open_model=chosen.opener(open_model))  # type: ignore[no-any-return]
