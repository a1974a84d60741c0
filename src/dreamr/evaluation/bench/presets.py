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
        presets[f"fpsr-{window}-idle"] = Preset({**values, "fallback": "idle"})
        presets[f"fpsr-{window}-on-reject"] = Preset({**values, "fallback": "on-reject"})
    return presets


def _gated(gate: str) -> dict[str, Any]:
    """Of fpsr with this gate, whatever the others have."""
    return {"method": "fpsr", "gate": gate, "draft_confidence": None}


def _gates() -> dict[str, Preset]:
    """Fpsr with other gates than the fixed one; the number is `target_confidence` or `threshold`,
    in hundredths.
    """
    presets = {}
    for target_confidence in (5, 10, 30, 50):
        values = {**_gated("cascade"), "target_confidence": target_confidence / 100}
        presets[f"fpsr-cascade-{target_confidence}"] = Preset(values)
    for sure in (90, 95, 98):
        values = {**_gated("cascade"), "draft_confidence": sure / 100}
        presets[f"fpsr-draft-confidence-{sure}"] = Preset({**values, "final_answer": "draft"})
        presets[f"fpsr-draft-confidence-{sure}-steps"] = Preset(values)
        lazy = {**values, "final_answer": "draft", "fallback": "on-reject"}
        presets[f"fpsr-draft-confidence-{sure}-on-reject"] = Preset(lazy)
    for resamples in (1, 2, 4):
        presets[f"fpsr-resamples-{resamples}"] = Preset({"method": "fpsr", "resamples": resamples})
    for token_reuse in ("off", "ngram"):
        presets[f"fpsr-token-reuse-{token_reuse}"] = Preset(
            {"method": "fpsr", "token_reuse": token_reuse}
        )
    presets["fpsr-final-answer-draft"] = Preset({"method": "fpsr", "final_answer": "draft"})
    for threshold in (50, 70, 90, 95):
        values = {**_gated("likelihood"), "threshold": threshold / 100}
        presets[f"fpsr-likelihood-{threshold}"] = Preset(values)
    presets["fpsr-profile"] = Preset({"method": "fpsr"}, profiled=True)
    presets["fpsr-adaptive"] = Preset(_gated("adaptive"))
    for threshold in (30, 50, 90):
        presets[f"fpsr-ratio-{threshold}"] = Preset(
            {**_gated("ratio"), "threshold": threshold / 100}
        )
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
