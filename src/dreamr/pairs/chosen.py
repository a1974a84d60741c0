"""A pair of a pair file, chosen as `FILE` or `FILE:NAME`, and how its models are opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dreamr._messages import short_path
from dreamr._options import RunOptions
from dreamr.engines import Model, ModelSource, OpenModel, is_served
from dreamr.errors import Unsupported
from dreamr.pairs.declaration import PairEntry, PairFile
from dreamr.pairs.reading import read_pair_file
from dreamr.pairs.running import addresses_of


@dataclass(frozen=True)
class ChosenPair:
    """A pair of a pair file.

    Attributes:
        file: The file.
        pair: The pair.
        is_named: Whether it was chosen by name; if not, it is the first.
        given_addresses: Addresses of started servers by the name of their model. None: those of
            the running instance of the file.
    """

    file: PairFile
    pair: PairEntry
    is_named: bool = False
    given_addresses: Mapping[str, str] | None = field(default=None, repr=False)

    @cached_property
    def addresses(self) -> Mapping[str, str]:
        """Addresses of started servers by the name of their model."""
        if self.given_addresses is not None:
            return self.given_addresses
        started = any(model.is_started for model in self.file.models_of(self.pair.name).values())
        return addresses_of(self.file) if started else {}

    def run_options(self) -> RunOptions:
        """Return the options of its runs, with its models.

        Raises:
            NotRunning: If a model has to be started first.
        """
        return self.file.run_options(self.pair.name, self.addresses)

    def opener(self, open_model: OpenModel) -> OpenModel:
        """Return a function that opens its models with the API keys of the file.

        Args:
            open_model: Opens a model.
        """
        models = self.file.models_of(self.pair.name)

        async def open_of_pair(source: ModelSource) -> Model:
            model = models.get(source.role)
            if model is None:
                raise Unsupported(
                    f"{self.pair.name!r} of {short_path(self.file.path)} has no {source.role}: "
                    f"add one, or choose a method without a {source.role}"
                )
            return await open_model(replace(source, api_key=model.api_key))

        return open_of_pair


def choose_pair(
    path: Path | str, name: str | None = None, *, addresses: Mapping[str, str] | None = None
) -> ChosenPair:
    """Return a pair of a pair file.

    Args:
        path: The file.
        name: Name of the pair. None: the first.
        addresses: As in `ChosenPair`.

    Raises:
        BadPairFile: If the file cannot be read or has faults.
        PairNotFound: If the file has no pair of this name.
    """
    file = read_pair_file(path)
    return ChosenPair(file, file.pair(name), name is not None, addresses)


def parse_choice(text: str) -> ChosenPair:
    """Return the pair that `FILE` or `FILE:NAME` names; see `choose_pair`."""
    return choose_pair(*next(_places(text), (text, None)))


def with_keys(
    file: PairFile, open_model: OpenModel, addresses: Callable[[], Mapping[str, str]] = dict
) -> OpenModel:
    """Return a function that opens the models of any pair of a file with their API keys.

    Args:
        file: The file.
        open_model: Opens a model.
        addresses: Returns the addresses of started servers by the name of their model.
    """

    def key_of(source: ModelSource) -> str | None:
        if source.name is None or not is_served(source.name):
            return source.api_key
        started = addresses()
        for model in file.models.values():
            urls = (*model.urls, started.get(model.name))
            if source.name in urls and source.server_model == model.model:
                return model.api_key
        return source.api_key

    async def open_with_key(source: ModelSource) -> Model:
        return await open_model(replace(source, api_key=key_of(source)))

    return open_with_key


def _places(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield files that are there, with the rest of the text as the name of a pair."""
    parts = text.split(":")  # names of pairs may have colons too
    for end in range(len(parts), 0, -1):
        path, name = ":".join(parts[:end]), ":".join(parts[end:])
        if os.path.exists(os.path.expanduser(path)):
            yield path, name or None
    if len(parts) > 1:
        yield ":".join(parts[:-1]), parts[-1]
