"""The text of a pair file for a chosen layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dreamr._messages import one_line
from dreamr.pairs import LLAMA_SLOTS, MODELINE, EngineName
from dreamr.pairs.variables import literal
from dreamr.schedules import ScheduleConfig
from dreamr.sizing.architecture import Architecture
from dreamr.sizing.choice import Choice
from dreamr.sizing.devices import GB, Device
from dreamr.sizing.layout import PIXELS, Pair, Part
from dreamr.sizing.memory import GIB

_DEFAULT = ScheduleConfig()
_SEQUENCES = (4, 256)  # fewest and most conversations that a server works on at a time
_CPU_SEQUENCES = 16
_FIRST_PORT = 8000
_QWEN = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")  # processors that take max_pixels
_DRAFT_TOKENS = '{"method": "mtp", "num_speculative_tokens": 1}'
_END = """\

gateway:
  port: 8500
"""
BUNDLED = f"""\
{MODELINE}
# The bundled pair: small models that read drawn receipts and tables, in dreamr's own process.
# Other models: dreamr pair init --target MODEL --draft MODEL --force
models:
  big:
    launch:
      engine: local
      model: embedded
  small:
    launch:
      engine: local
      model: embedded

pairs:
  dreamr:
    target: big
    draft: small
{_END}"""


@dataclass(frozen=True, slots=True)
class LaunchText:
    """What the file says about starting a model.

    Attributes:
        engine: Engine.
        model: Hugging Face ID, folder or file.
        values: Further fields, in order.
        notes: Comments above the model.
    """

    engine: EngineName
    model: str
    values: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self, name: str) -> list[str]:
        """Return the lines of the model's entry."""
        found = [*(f"  # {note}" for note in self.notes), f"  {name}:", "    launch:"]
        every = {"engine": self.engine, "model": self.model, **self.values}
        return found + [f"      {key}: {_written(value)}" for key, value in every.items()]


def _written(value: object) -> str:
    """Return a value as JSON, which is YAML too, without anything that is read as a variable."""
    return literal(json.dumps(value, ensure_ascii=False))


def pair_text(
    pair: Pair,
    chosen: Choice,
    devices: Sequence[Device],
    head: Sequence[str] = (),
) -> str:
    """Return the text of the file.

    Args:
        pair: The models.
        chosen: Their layout.
        devices: The devices.
        head: Comments at the beginning.
    """
    layout, expected = chosen.layout, chosen.expected
    lines = [MODELINE, *(f"# {one_line(line)}".rstrip() for line in head), "models:"]
    roles = (("big", pair.target, layout.target), ("small", pair.draft, layout.draft))
    for offset, (name, model, part) in enumerate(roles):
        device = devices[part.devices[0]]
        used = pair.engine_of(model)
        port = _FIRST_PORT + offset
        lines += launch_text(model, part, device, used, chosen, port).lines(name)
    lines += ["", "pairs:", "  dreamr:", "    target: big", "    draft: small"]
    if layout.pixels != PIXELS:
        lines.append(f"    max_pixels: {layout.pixels}")
    if expected.window != _DEFAULT.window:
        lines.append(f"    window: {expected.window}")
    if expected.fallback != _DEFAULT.fallback:
        lines.append(f"    fallback: {expected.fallback}")
    return "\n".join(lines) + "\n" + _END


def launch_text(
    model: Architecture, part: Part, device: Device, engine: EngineName, chosen: Choice, port: int
) -> LaunchText:
    """Return how a model is started."""
    context, where = chosen.layout.context, [] if device.is_cpu else list(part.devices)
    values: dict[str, object] = {}
    if engine != "llama.cpp":
        values["dtype"] = "bfloat16" if model.bits == 16 else "auto"
    values |= {"context": context, "devices": where}
    if engine != "llama.cpp" and not device.is_cpu:
        values["memory"] = part.memory
    values["port"] = port
    most = _CPU_SEQUENCES if device.is_cpu else _SEQUENCES[1]
    flags = _flags(model, part, min(part.usual, most), engine, chosen.layout.pixels)
    if flags:
        values["flags"] = flags
    if engine == "vllm" and device.is_cpu:
        cache = part.demand.cache(part.memory * device.memory)
        values["env"] = {
            "VLLM_CPU_KVCACHE_SPACE": str(cache // GIB),
            "TORCH_COMPILE_DISABLE": "1",
        }
    return LaunchText(engine, model.name, values, _notes(model, part))


def _flags(
    model: Architecture, part: Part, sequences: int, engine: EngineName, pixels: int
) -> list[str]:
    """Return further arguments of the engine."""
    if part.demand.slots not in (None, LLAMA_SLOTS):
        return ["--parallel", str(part.demand.slots)]
    if engine != "vllm":
        return []
    flags = ["--max-num-seqs", str(max(_SEQUENCES[0], sequences))]
    if model.sees and model.model_type.startswith(_QWEN):
        flags += ["--mm-processor-kwargs", json.dumps({"max_pixels": pixels})]
    if model.draft_layers and not model.hybrid:
        flags += ["--speculative-config", _DRAFT_TOKENS]
    return flags


def _notes(model: Architecture, part: Part) -> tuple[str, ...]:
    needed = part.demand
    cache = f"{needed.usual / GB:.2f} GB a usual conversation"
    if needed.slots is not None:
        cache = f"{needed.slots * needed.full / GB:.1f} GB the caches of {needed.slots} slots"
    notes = [
        f"per device: weights {needed.weights / GB:.1f} GB, activations and graphs about "
        f"{needed.reserve / GB:.1f} GB, {cache}"
    ]
    if model.assumed:
        notes.append(f"assumed: {', '.join(model.assumed)}")
    if model.draft_layers and model.hybrid:
        notes += [
            "multi-token prediction is off: beside the prefix cache, it damaged texts of hybrids",
            f"(vllm#53912). To try it, add --speculative-config '{_DRAFT_TOKENS}' to the flags",
        ]
    return tuple(notes)
