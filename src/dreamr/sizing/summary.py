"""What is said about a chosen layout, in lines."""

from __future__ import annotations

from collections.abc import Sequence

from dreamr._numbers import three_digits
from dreamr.sizing.architecture import Architecture
from dreamr.sizing.choice import Choice
from dreamr.sizing.devices import GB, Device, described
from dreamr.sizing.expectation import ACCEPTANCES, verdict
from dreamr.sizing.layout import Pair, Part
from dreamr.sizing.memory import REASONING


def summary(pair: Pair, chosen: Choice, devices: Sequence[Device]) -> list[str]:
    """Return lines about memory, capacity, expected speed-up, and whether the pair is worth it."""
    layout, expected = chosen.layout, chosen.expected
    image = pair.target.tokens_of_image(layout.pixels)
    usual = min(image + REASONING, layout.context)
    gains = ", ".join(
        f"{gain:.2f} at {share:.0%}"
        for share, gain in zip(ACCEPTANCES, expected.speedups, strict=True)
    )
    lines = [
        f"target: {_placed(pair.target, layout.target, devices)}",
        f"draft: {_placed(pair.draft, layout.draft, devices)}",
        f"capacity: {layout.usual} conversations of {usual:,} tokens at a time, {layout.full} of "
        f"the full context of {layout.context:,}",
        f"speed-up over the target alone by accepted steps: {gains}",
        *verdict(pair, expected),
    ]
    if chosen.unused:
        lines.append(
            f"Free GPUs: {len(chosen.unused)} of {len(devices)}. More of them would not make a "
            "question faster; use them for copies of the pair."
        )
    return [*lines, *_assumptions(pair, devices)]


def _placed(model: Architecture, part: Part, devices: Sequence[Device]) -> str:
    device = devices[part.devices[0]]
    where = "CPU" if device.is_cpu else f"GPU {', '.join(map(str, part.devices))}"
    short = model.name.rstrip("/").rsplit("/", 1)[-1]
    return (
        f"{short} ({three_digits(model.parameters / 1e9)} billion parameters, "
        f"{three_digits(model.weight_bytes / GB)} GB) on {where}, {part.memory:.0%} of its memory"
    )


def _assumptions(pair: Pair, devices: Sequence[Device]) -> list[str]:
    lines = []
    kinds = dict.fromkeys(device.kind for device in devices if device.assumed)
    if kinds:
        lines.append(
            f"Predicted with the rates of {', '.join(kinds)}, assumed from the memory of "
            f"{described(devices)}."
        )
    else:
        lines.append("Speeds are predictions, not measurements.")
    lines += [
        f"Assumed for {model.name}: {', '.join(model.assumed)}."
        for model in dict.fromkeys((pair.target, pair.draft))
        if model.assumed
    ]
    return lines
