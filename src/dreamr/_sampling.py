"""How tokens are chosen: the options, and what vendors recommend for their models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeAlias

from dreamr._families import Family, VendorSampling
from dreamr._option_specs import BadOption, OptionSpec
from dreamr.conversation import Conversation
from dreamr.engines import NEUTRAL, Model, SamplingParams
from dreamr.steps import THINK, THOUGHT, Role

_SAMPLING = "Sampling and limits"
_BIAS = re.compile(r"([0-9]{1,9})=([-+]?[0-9.]+(?:e[-+]?[0-9]{1,3})?)")
_MOST_BIAS = 100.0

Temperature: TypeAlias = Annotated[
    float | None,
    OptionSpec(
        "Sampling temperature, 0 (greedy) to 100.",
        _SAMPLING,
        0,
        100,
        shown="recommended by the vendor, or 0",
    ),
]
TopP: TypeAlias = Annotated[
    float, OptionSpec("Probability mass to sample from, 0.01 to 1.", _SAMPLING, 0.01, 1)
]
TopK: TypeAlias = Annotated[
    int,
    OptionSpec("Number of likeliest tokens to sample from; 0 for all.", _SAMPLING, 0, 10**6),
]
MinP: TypeAlias = Annotated[
    float,
    OptionSpec("Lowest share of the likeliest token's probability, 0 to 1.", _SAMPLING, 0, 1),
]
PresencePenalty: TypeAlias = Annotated[
    float,
    OptionSpec("Penalty of tokens that are in the text so far, -2 to 2.", _SAMPLING, -2, 2),
]
FrequencyPenalty: TypeAlias = Annotated[
    float,
    OptionSpec("Penalty of tokens for each time they are in the text, -2 to 2.", _SAMPLING, -2, 2),
]
RepetitionPenalty: TypeAlias = Annotated[
    float,
    OptionSpec(
        "Factor against tokens of prompt and text, 0.1 to 10; 1 for none.", _SAMPLING, 0.1, 10
    ),
]
Stop: TypeAlias = Annotated[
    tuple[str, ...],
    OptionSpec(
        "Text that ends the run outside a thought, and is not part of it. Repeatable.", _SAMPLING
    ),
]
LogitBias: TypeAlias = Annotated[
    tuple[str, ...],
    OptionSpec(
        "TOKEN=BIAS: number added to the logit of a token id, -100 to 100. Repeatable.", _SAMPLING
    ),
]
ModelDefaults: TypeAlias = Annotated[
    bool,
    OptionSpec("Use the vendor's recommended sampling.", _SAMPLING),
]


NO_VENDORS: Mapping[Role, VendorSampling] = {}
PLAIN = Conversation.from_prompt("?")  # of text, for options that are checked before any run
_GREEDY = ("token-sd", "prompt-lookup")  # methods that other sampling would make pointless


def as_biases(given: Any) -> Any:
    """Return a mapping of token ids to biases in the form of the option; others unchanged."""
    if isinstance(given, Mapping):
        return tuple(f"{token}={bias}".removesuffix(".0") for token, bias in given.items())
    return given


def read_biases(texts: tuple[str, ...]) -> tuple[tuple[int, float], ...]:
    """Parse the option for biases.

    Raises:
        BadOption: If one is not TOKEN=BIAS, or its bias is out of bounds.
    """
    found = {}
    for text in texts:
        match = _BIAS.fullmatch(text)
        try:
            bias = float(match[2]) if match else None
        except ValueError:
            bias = None
        if match is None or bias is None:
            raise BadOption(f"--logit-bias {text!r} must be TOKEN=BIAS, such as 1234=-100")
        if abs(bias) > _MOST_BIAS:
            raise BadOption(f"--logit-bias {text!r}: the bias must be between -100 and 100")
        found[int(match[1])] = bias
    return tuple(found.items())


def is_set(options: Any) -> bool:
    """Return whether the user has set an option of sampling other than the seed."""
    if options.temperature is not None or options.top_p != 1:
        return True
    plain = (name for name in NEUTRAL if name != "logit_bias")
    return bool(options.logit_bias) or any(
        getattr(options, name) != NEUTRAL[name] for name in plain
    )


def may_sample(options: Any) -> bool:
    """Return whether runs with these options may draw tokens, depending on the models."""
    if is_set(options) or not options.model_defaults:
        return bool(options.temperature)
    return options.target is not None or options.draft is not None  # else the bundled pair


def chosen(options: Any) -> SamplingParams:
    """Return the sampling that the options ask for; greedy if they do not name a temperature."""
    plain = {name: getattr(options, name) for name in NEUTRAL if name != "logit_bias"}
    return SamplingParams(
        temperature=options.temperature or 0.0,
        top_p=options.top_p,
        seed=options.seed,
        logit_bias=read_biases(options.logit_bias),
        **plain,
    )


def check_sampling(options: Any) -> None:
    """Check the options whose values are texts.

    Raises:
        BadOption: If a bias cannot be parsed, or a stop text is empty.
    """
    read_biases(options.logit_bias)
    if "" in options.stop:
        raise BadOption("--stop must not be empty")


def vendors(
    options: Any, models: Mapping[Role, Model], conversation: Conversation = PLAIN
) -> Mapping[Role, VendorSampling]:
    """Return what the models' vendors recommend, if it applies to a run with these options.

    Models that think recommend other sampling than without, and some think about text only. It
    does not apply if the user has set an option of sampling, in methods that are greedy, and with a
    profile, whose bound was measured without.
    """
    if is_set(options) or not options.model_defaults:
        return NO_VENDORS
    if options.method in _GREEDY or options.profile is not None:
        return NO_VENDORS
    greedy = chosen(options)
    found = {
        role: vendor
        for role in options.roles
        if role in models and (vendor := models[role].vendor_sampling(conversation)) is not None
    }
    if all(recommended(greedy, vendor) == greedy for vendor in found.values()):
        return NO_VENDORS
    return found


def vendor_notes(
    applied: Mapping[Role, VendorSampling], models: Mapping[Role, Model]
) -> tuple[str, ...]:
    """Return a note that says what is applied; none if nothing is."""
    if not applied:
        return ()
    parts = {_described(models[role].family, vendor): None for role, vendor in applied.items()}
    return (f"sampling recommended for {'; for '.join(parts)} (--no-model-defaults: greedy)",)


def thinking_notes(
    options: Any, models: Mapping[Role, Model], conversation: Conversation
) -> tuple[str, ...]:
    """Return a note if there is a thinking budget, and thinking is switched off in all models."""
    if options.thinking_budget is None or options.thinking != "off":
        return ()
    used = [models[role] for role in options.roles if role in models]
    if not all(model.never_thinks_about(conversation) for model in used):
        return ()
    return ("thinking_budget without effect: thinking is off",)


def closed_thoughts(
    options: Any, models: Mapping[Role, Model], conversation: Conversation
) -> tuple[tuple[Role, str], ...]:
    """Return the closed thoughts with which models begin that are not to think, by role.

    They are what chat templates write if thinking is switched off.
    """
    found: list[tuple[Role, str]] = []
    for role in options.roles if options.thinking_budget == 0 else ():
        model = models.get(role)
        if model is None or model.never_thinks_about(conversation):
            continue
        if model.format_of(conversation).opens_thought:
            found.append((role, f"\n{THOUGHT}\n\n"))
        elif model.family.thinks in ("default", "always"):
            found.append((role, f"{THINK}\n\n{THOUGHT}\n\n"))
    return tuple(found)


def recommended(sampling: SamplingParams, vendor: VendorSampling | None) -> SamplingParams:
    """Return the parameters with those that a vendor recommends."""
    return sampling if vendor is None else replace(sampling, **vendor.values)  # type: ignore[arg-type]


def _described(family: Family, vendor: VendorSampling) -> str:
    values = ", ".join(f"{name} {value:g}" for name, value in vendor.values.items())
    return f"{family.name} by its {vendor.source}: {values}"
