"""Presets: named methods with their options, for comparison in a bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dreamr._options import RunOptions
from dreamr.engines import is_served
from dreamr.errors import Unsupported
from dreamr.runner import RunConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """A method with some of its options set.

    Attributes:
        values: Values of `RunOptions` that the preset sets.
        steps: Whether the method commits whole steps, which the tasks' checkers can check.
        profiled: Whether the method uses the gate of a profile.
    """

    values: dict[str, Any] = field(default_factory=dict)
    steps: bool = True
    profiled: bool = False

    def options(self, base: RunOptions) -> RunOptions:
        """Return the options of the preset, with models and limits of `base`."""
        return replace(base, profile=base.profile if self.profiled else None, **self.values)

    def replayed(self, base: RunOptions) -> RunConfig:
        """Return the configuration of runs that are replayed; the gate of a profile is left out.

        Args:
            base: Options of the bench. A target on a server serves its calls independently.
        """
        config = self.options(replace(base, profile=None)).run_config()
        options = replace(config.options, independent=is_served(base.target))
        return replace(config, options=options)


def _fpsr() -> dict[str, Preset]:
    presets = {}
    for window in (1, 2, 4, 8):
        values = {"method": "fpsr", "window": window}
        presets[f"fpsr-{window}"] = Preset(values)
        presets[f"fpsr-{window}-idle"] = Preset({**values, "fallback": "idle"})
        presets[f"fpsr-{window}-on-reject"] = Preset({**values, "fallback": "on-reject"})
    return presets


def _gated(gate: str) -> dict[str, Any]:
    """Return the values of fpsr with this gate, independent of the gate of the base options."""
    return {"method": "fpsr", "gate": gate, "draft_confidence": None}


def _gates() -> dict[str, Preset]:
    """Return the presets of fpsr with other gates and options.

    Numbers in names of gates are thresholds or confidences in hundredths.
    """
    presets = {}
    for target_confidence in (5, 10, 30, 50):
        values = {**_gated("cascade"), "target_confidence": target_confidence / 100}
        presets[f"fpsr-cascade-{target_confidence}"] = Preset(values)
    for draft_confidence in (90, 95, 98):
        name = f"fpsr-draft-confidence-{draft_confidence}"
        values = {**_gated("cascade"), "draft_confidence": draft_confidence / 100}
        presets[name] = Preset({**values, "final_answer": "draft"})
        presets[f"{name}-steps"] = Preset(values)
        on_reject = {**values, "final_answer": "draft", "fallback": "on-reject"}
        presets[f"{name}-on-reject"] = Preset(on_reject)
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
    for gate in ("adaptive", "word", "entropy", "draft-first", "two-questions", "tolerant"):
        presets[f"fpsr-{gate}"] = Preset(_gated(gate))
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
    """Return the presets of these names, in this order.

    Raises:
        Unsupported: If a name is unknown; the message lists the known names.
    """
    for name in names:
        if name not in PRESETS:
            raise Unsupported(f"unknown method {name!r}; known: {', '.join(PRESETS)}")
    return {name: PRESETS[name] for name in names}
