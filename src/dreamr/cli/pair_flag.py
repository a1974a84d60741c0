"""The option `--pair`: models and options from a pair file, which flags override."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any

from dreamr._model_options import MODELS
from dreamr._option_specs import BadOption, OptionSpec
from dreamr._options import RunOptions
from dreamr.engines import OpenModel
from dreamr.pairs import OF_MODELS, ChosenPair, parse_choice, with_keys
from dreamr.serving.options import ServeOptions

# Options that choose the models; a pair file chooses them too.
_CHOOSING = ("target", "draft", "target_model", "draft_model", "revision", "draft_revision")
_NO_FLAGS: Mapping[str, Any] = MappingProxyType({})
_FLAG, _VARIABLE = "COMMANDLINE", "ENVIRONMENT"  # where a parameter has its value from


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFlag:
    """The option that names a pair file."""

    pair: Annotated[
        str | None,
        OptionSpec(
            "Pair file with models and options, or FILE:NAME for one of its pairs.",
            MODELS,
            shown="none",
            reads="*",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class PairUse:
    """How a command uses a pair file.

    Attributes:
        values: Functions that return the values of a dataclass of options by name, by dataclass.
            They get the pair, and a function that tells whether the user gives an option. Those of
            the options of a run and of the gateway are known.
        takes: Options that choose a model and may be given beside the file.
        serves: Whether the command takes all pairs of a file, unless one is named. Its argument
            `pairs` gets the options of their runs by name, none without a file.
    """

    values: Mapping[
        Callable[..., Any],
        Callable[[ChosenPair, Callable[[str], bool]], Mapping[str, Any]],
    ] = field(default_factory=dict)
    takes: Collection[str] = ()
    serves: bool = False


class PairValues:
    """What a command line takes from a pair file.

    Attributes:
        chosen: The pair. None: no file is named, or other options choose the models.
        warnings: Options without effect, each with the reason.

    Args:
        use: How the command uses a pair file. None: not at all.
        values: Values of the command's parameters by name.
        source: Returns where a parameter has its value from: 'COMMANDLINE', 'ENVIRONMENT' or
            another text for its default.

    Raises:
        BadOption: If the file cannot be used, or the models are chosen twice.
    """

    def __init__(
        self, use: PairUse | None, values: Mapping[str, Any], source: Callable[[str], str]
    ) -> None:
        self.chosen: ChosenPair | None = None
        self.warnings: list[str] = []
        self._use, self._source = use or PairUse(), source
        self._ignored: Collection[str] = ()
        text = values.get("pair") if use is not None else None
        if text is None or not self._applies(values):
            return
        self.chosen = parse_choice(text)

    def _applies(self, values: Mapping[str, Any]) -> bool:
        """Return whether the file chooses the models, and not other options of the command."""
        choosing = [n for n in _CHOOSING if n in values and n not in self._use.takes]
        flags = [f"--{n.replace('_', '-')}" for n in choosing if self._source(n) == _FLAG]
        variables = [name for name in choosing if self._source(name) == _VARIABLE]
        if self._source("pair") == _FLAG:
            if flags:
                raise _both("--pair", flags[0], "leave out")
            self._ignored = variables
            self.warnings += [f"{_variable(name)} has no effect with --pair" for name in variables]
            return True
        if flags:
            self.warnings.append(f"DREAMR_PAIR has no effect with {flags[0]}")
            return False
        if variables:
            raise _both("DREAMR_PAIR", _variable(variables[0]), "unset")
        return True

    def of(self, options: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
        """Yield the values of a dataclass of options that the command line does not give."""
        if self.chosen is None:
            return
        for name, value in self._values(self.chosen, options).items():
            if not self._is_given(name) or name in self._ignored:
                yield name, value

    def arguments(
        self, given: Mapping[str, Any], flags: Mapping[str, Any] = _NO_FLAGS
    ) -> Mapping[str, Any]:
        """Return further arguments of a command, with models that are opened as the file says.

        Args:
            given: Arguments without the file.
            flags: Values of the flags of a run, which count for all pairs that are served.

        Raises:
            BadOption: If the flags do not fit a pair.
            NotRunning: If a model of a pair has to be started first.
        """
        if self._use.serves:
            return {**given, **self._served(given["open_model"], flags)}
        if self.chosen is None or "open_model" not in given:
            return given
        return {**given, "open_model": self.chosen.opener(given["open_model"])}

    def _served(self, open_model: OpenModel, flags: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments of a command that serves pairs."""
        if self.chosen is None:
            return {"pairs": {}}
        file, named = self.chosen.file, self.chosen.is_named
        entries = [self.chosen.pair] if named else file.pairs.values()
        chosen = [replace(self.chosen, pair=entry) for entry in entries]
        changes = {
            name: value
            for name, value in flags.items()
            if self._is_given(name) and name not in self._ignored
        }
        addresses = {name: url for one in chosen for name, url in one.addresses.items()}
        return {
            "pairs": {one.pair.name: _changed(one, changes) for one in chosen},
            "open_model": with_keys(file, open_model, lambda: addresses),
        }

    def _is_given(self, name: str) -> bool:
        return self._source(name) in (_FLAG, _VARIABLE)

    def _values(self, chosen: ChosenPair, options: Callable[..., Any]) -> Mapping[str, Any]:
        if options in self._use.values:
            return self._use.values[options](chosen, self._is_given)
        if options is ServeOptions:
            gateway = chosen.file.gateway
            values = {name: getattr(gateway, name) for name in chosen.file.gateway_given}
            return {**values, "served_model_name": chosen.pair.name}
        if options is RunOptions:
            run = chosen.run_options()
            return {name: getattr(run, name) for name in (*OF_MODELS, *chosen.pair.given)}
        return {}


def _changed(chosen: ChosenPair, changes: Mapping[str, Any]) -> RunOptions:
    """Return the options of runs of a pair with those that the user gives."""
    name = chosen.pair.name
    try:
        run = replace(chosen.run_options(), **changes)
    except BadOption as error:
        raise BadOption(f"pair {name}: {error}") from error
    for role in run.roles:
        if role not in chosen.pair.roles:
            raise BadOption(
                f"the pair {name} has no {role}, which method {run.method} needs: name one of the "
                "other pairs with --pair FILE:NAME, or leave out --method"
            )
    return run


def _both(one: str, other: str, remedy: str) -> BadOption:
    return BadOption(f"{one} and {other} both choose the models: {remedy} one of them")


def _variable(name: str) -> str:
    return f"DREAMR_{name.upper()}"
