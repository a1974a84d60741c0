"""The text of a pair file: what it says agrees with the layout."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.sizing import Device, Pair, TooLarge, choose, find_architecture
from dreamr.sizing.devices import GB
from dreamr.sizing.memory import GIB
from dreamr.sizing.pair_text import pair_text

DRAFT = find_architecture("Qwen/Qwen3-VL-2B-Instruct")
TARGETS = {
    size: find_architecture(f"Qwen/Qwen3-VL-{size}-Instruct") for size in ("2B", "4B", "8B", "32B")
}


def cpu(size: float) -> Device:
    return Device("CPU-SERVER", int(size * GB), assumed=True)


@settings(max_examples=30)
@given(st.sampled_from(sorted(TARGETS)), st.floats(10, 150))
def test_the_cache_on_a_cpu_holds_the_context_and_the_stated_conversations(
    target: str, size: float
) -> None:
    pair, device = Pair(TARGETS[target], DRAFT), cpu(size)
    try:
        chosen = choose(pair, (device,))
    except TooLarge:
        return
    models = yaml.safe_load(pair_text(pair, chosen, (device,)))["models"]
    taken = 0
    for name, model, part in (
        ("big", pair.target, chosen.layout.target),
        ("small", pair.draft, chosen.layout.draft),
    ):
        launch = models[name]["launch"]
        cache = int(launch["env"]["VLLM_CPU_KVCACHE_SPACE"]) * GIB
        assert cache >= model.conversation_bytes(launch["context"])
        assert cache >= part.usual * part.demand.usual
        taken += part.demand.fixed + cache
    assert taken <= device.memory


@pytest.mark.parametrize(("target", "cache"), [("8B", "5"), ("4B", "5"), ("2B", "4")])
def test_a_cpu_with_much_memory_keeps_the_longest_context(target: str, cache: str) -> None:
    pair, device = Pair(TARGETS[target], DRAFT), cpu(100)
    chosen = choose(pair, (device,))
    models = yaml.safe_load(pair_text(pair, chosen, (device,)))["models"]
    assert chosen.layout.context == 32768
    assert models["big"]["launch"]["env"]["VLLM_CPU_KVCACHE_SPACE"] == cache
    assert models["small"]["launch"]["env"]["VLLM_CPU_KVCACHE_SPACE"] == "4"
