"""What can be compared: a schedule with its gate and its options, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dreamr._options import RunOptions
from dreamr.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Preset:
    """A method of `RunOptions` with some of its options set.

    steps: whether what is committed is whole steps, which the tasks' checkers can tell about.
    profiled: whether its gate is that of a profile.
    """

    values: dict[str, Any] = field(default_factory=dict)
    steps: bool = True
    profiled: bool = False

    def options(self, base: RunOptions) -> RunOptions:
        """These options, with the models and limits of others."""
        return replace(base, profile=base.profile if self.profiled else None, **self.values)


def _fpsr() -> dict[str, Preset]:
    presets = {}
    for window in (1, 2, 4, 8):
        values = {"method": "fpsr", "window": window}
        presets[f"fpsr-{window}"] = Preset(values)
        presets[f"fpsr-{window}-idle"] = Preset({**values, "hedge": "idle"})
        presets[f"fpsr-{window}-no-hedge"] = Preset({**values, "hedge": "never"})
    return presets


def _gated(gate: str) -> dict[str, Any]:
    """Of fpsr with this gate, whatever the others have."""
    return {"method": "fpsr", "gate": gate, "trust": None}


def _gates() -> dict[str, Preset]:
    """Fpsr with other gates than the fixed one; the number is `sure` or `alpha`, in hundredths."""
    presets = {}
    for sure in (5, 10, 30, 50):
        values = {**_gated("cascade"), "sure": sure / 100}
        presets[f"fpsr-cascade-{sure}"] = Preset(values)
    for trust in (90, 95, 98):
        values = {**_gated("cascade"), "trust": trust / 100}
        presets[f"fpsr-trust-{trust}"] = Preset({**values, "answer": "verified"})
        presets[f"fpsr-trust-{trust}-steps"] = Preset(values)
        lazy = {**values, "answer": "verified", "hedge": "never"}
        presets[f"fpsr-trust-{trust}-no-hedge"] = Preset(lazy)
    for retries in (1, 2, 4):
        presets[f"fpsr-retries-{retries}"] = Preset({"method": "fpsr", "retries": retries})
    for reuse in ("off", "lookup"):
        presets[f"fpsr-reuse-{reuse}"] = Preset({"method": "fpsr", "reuse": reuse})
    presets["fpsr-verified"] = Preset({"method": "fpsr", "answer": "verified"})
    for alpha in (50, 70, 90, 95):
        values = {**_gated("continuation"), "alpha": alpha / 100}
        presets[f"fpsr-continuation-{alpha}"] = Preset(values)
    presets["fpsr-profile"] = Preset({"method": "fpsr"}, profiled=True)
    presets["fpsr-adaptive"] = Preset(_gated("adaptive"))
    for alpha in (30, 50, 90):
        presets[f"fpsr-fixed-{alpha}"] = Preset({**_gated("fixed"), "alpha": alpha / 100})
    return presets


PRESETS: dict[str, Preset] = {
    "target": Preset({"method": "target"}),
    "draft": Preset({"method": "draft"}),
    "token-sd": Preset({"method": "token-sd"}, steps=False),
    "prompt-lookup": Preset({"method": "prompt-lookup"}),
    "specreason-7": Preset({"method": "specreason", "score": 7}),
    "specreason-9": Preset({"method": "specreason", "score": 9}),
    "lookahead-4": Preset({"method": "lookahead", "window": 4}),
    "lookahead-6": Preset({"method": "lookahead", "window": 6}),
    "parse": Preset({"method": "parse"}),
    "sequential": Preset({"method": "sequential"}),
    "fpsr": Preset({"method": "fpsr"}),
    **_fpsr(),
    **_gates(),
}
STANDARD = (
    "target",
    "token-sd",
    "specreason-7",
    "lookahead-4",
    "parse",
    "sequential",
    "fpsr",
)


def presets(names: Sequence[str]) -> dict[str, Preset]:
    """The presets of these names, in this order.

    Raises:
        Unsupported: an unknown name; the message lists the known ones.
    """
    for name in names:
        if name not in PRESETS:
            raise Unsupported(f"unknown method {name!r}; known: {', '.join(PRESETS)}")
    return {name: PRESETS[name] for name in names}
