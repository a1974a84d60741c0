"""How memory is divided: properties over random models and devices, and known pairs."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr._option_specs import BadOption
from dreamr.sizing import (
    Demand,
    Device,
    Pair,
    TooLarge,
    choose,
    demand,
    described,
    find_architecture,
    layouts,
    parse_devices,
    parse_nvidia_smi,
    verdict,
)
from dreamr.sizing.devices import GB, of_memory
from dreamr.sizing.layout import LEAST_CONTEXT, divide, fill
from dreamr.sizing.memory import GIB, USABLE

LARGE, SMALL = "Qwen/Qwen3-VL-32B-Instruct", "Qwen/Qwen3-VL-2B-Instruct"
NAMES = (
    LARGE,
    SMALL,
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Instruct-FP8",
    "Qwen/Qwen3.6-27B",
    "google/gemma-4-31B-it",
    "google/gemma-3-4b-it",
    "HuggingFaceTB/SmolVLM-256M-Instruct",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct",
)
MODELS = st.sampled_from([find_architecture(name) for name in NAMES])
PAIRS = st.builds(Pair, MODELS, MODELS)
MEMORY = st.integers(4, 200).map(lambda size: size * GB)
BYTES = st.integers(0, 10**11)
GIBS = st.integers(0, 100).map(lambda size: size * GIB)
DEMANDS = st.builds(Demand, BYTES, BYTES, BYTES, BYTES, st.sampled_from([1, GIB]), st.none() | GIBS)
SLOTTED = st.builds(Demand, BYTES, BYTES, BYTES, BYTES, slots=st.sampled_from([2, 4]))


def pair(target: str = LARGE, draft: str = SMALL) -> Pair:
    return Pair(find_architecture(target), find_architecture(draft))


def devices(*memory: int) -> tuple[Device, ...]:
    return tuple(Device("H100", size) for size in memory)


@given(DEMANDS | SLOTTED, DEMANDS | SLOTTED, MEMORY)
def test_shares_of_a_device_never_exceed_what_is_usable(
    target: Demand, draft: Demand, memory: int
) -> None:
    divided = divide(target, draft, memory)
    if divided is not None:
        assert sum(divided) <= USABLE + 1e-9
        assert all(isclose(share, round(share, 2)) and 0 < share < 1 for share in divided)
        for share, needed in zip(divided, (target, draft), strict=True):
            assert needed.least <= share * memory + 1


@given(DEMANDS, st.integers(0, 2 * 10**11))
def test_conversations_fit_into_the_cache_and_the_cache_into_the_memory(
    needed: Demand, memory: int
) -> None:
    cache = needed.cache(memory)
    assert cache % needed.unit == 0
    assert cache == 0 or needed.fixed + cache <= memory
    assert memory < needed.least or cache >= needed.full
    for each in (needed.full, needed.usual):
        assert each == 0 or needed.conversations(memory, each) * each <= cache


@given(DEMANDS | SLOTTED, MEMORY, st.floats(0.01, 1), MEMORY)
def test_more_memory_never_lowers_capacity(
    needed: Demand, memory: int, share: float, more: int
) -> None:
    smaller, larger = fill((0,), share, needed, memory), fill((0,), share, needed, memory + more)
    if smaller is not None:
        assert larger is not None
        assert larger.full >= smaller.full
        assert larger.usual >= smaller.usual


@given(MODELS, MEMORY, st.integers(1024, 65536), st.integers(1, 65536), st.sampled_from([1, 2, 4]))
def test_a_longer_context_never_needs_less_and_more_devices_never_more(
    model: object, memory: int, context: int, more: int, shards: int
) -> None:
    one = demand(model, memory, context, 2**20, shards)  # type: ignore[arg-type]
    longer = demand(model, memory, context + more, 2**20, shards)  # type: ignore[arg-type]
    split = demand(model, memory, context, 2**20, 2 * shards)  # type: ignore[arg-type]
    assert longer.least >= one.least
    assert split.weights <= one.weights
    assert split.full <= one.full


@given(SLOTTED, st.integers(0, 5 * 10**11))
def test_slots_have_their_caches_or_the_server_does_not_start(needed: Demand, memory: int) -> None:
    assert needed.slots is not None
    starts = memory >= needed.fixed + needed.slots * needed.full
    assert (memory >= needed.least) == starts
    assert needed.kept(memory) == ((needed.slots, needed.slots) if starts else (0, 0))
    assert needed.cache(memory) == (needed.slots * needed.full if starts else 0)


def test_a_slot_of_llama_holds_a_pass_beside_its_windows_and_whole_blocks() -> None:
    model = find_architecture("google/gemma-3-4b-it")
    (window,) = {one.window for one in model.caches} - {None}
    assert window is not None
    longer = [replace(one, window=window + 512 if one.window else None) for one in model.caches]
    allocated = sum(one.bytes(5120) for one in longer)
    assert demand(model, 24 * GB, 5000, 2**20, slots=4).full >= allocated


@given(PAIRS, st.lists(MEMORY, min_size=1, max_size=4))
def test_every_layout_fits_and_divides_its_models(pair: Pair, memory: list[int]) -> None:
    given = devices(*memory)
    try:
        found = layouts(pair, given)
    except TooLarge:
        return
    for layout in found:
        used = dict.fromkeys(range(len(given)), 0.0)
        for model, part in ((pair.target, layout.target), (pair.draft, layout.draft)):
            assert model.heads % len(part.devices) == 0
            assert len({given[index].memory for index in part.devices}) == 1
            assert part.full >= 1
            for index in part.devices:
                used[index] += part.memory
                assert part.demand.least <= part.memory * given[index].memory + 1
        assert max(used.values()) <= USABLE + 1e-9
        assert LEAST_CONTEXT <= layout.context <= pair.context
        assert layout.usual >= layout.full


@given(PAIRS, MEMORY, st.integers(1, 100).map(lambda size: size * GB))
def test_a_pair_that_fits_also_fits_into_more_memory(pair: Pair, memory: int, more: int) -> None:
    # From 70 GB on, a server works on larger batches, which take memory of their own.
    if memory < 70 * GB <= memory + more:
        return
    try:
        found = layouts(pair, devices(memory))
    except TooLarge:
        return
    larger = layouts(pair, devices(memory + more), found[0].context, found[0].pixels)
    assert max(one.full for one in larger) >= max(one.full for one in found)


def test_a_large_target_is_split_and_its_draft_gets_a_device_of_its_own() -> None:
    chosen = choose(pair(), parse_devices("4x80GB"))
    assert chosen.layout.target.devices == (0, 1)
    assert chosen.layout.draft.devices == (2,)
    assert chosen.unused == (3,)
    assert chosen.layout.usual > 8
    assert chosen.expected.likely > 2
    assert verdict(pair(), chosen.expected)[0].startswith("Worth it")


def test_both_models_share_a_single_device() -> None:
    chosen = choose(pair("Qwen/Qwen3-VL-8B-Instruct"), parse_devices("1x80GB"))
    assert chosen.layout.colocated
    assert chosen.layout.target.memory > chosen.layout.draft.memory
    assert chosen.layout.target.memory + chosen.layout.draft.memory == pytest.approx(USABLE)


def test_a_context_that_does_not_fit_is_shortened_unless_it_is_given() -> None:
    tight = parse_devices("1x80GB,1x24GB")
    assert choose(pair(), tight).layout.context < 32768
    with pytest.raises(TooLarge, match="with a context of 32,768 tokens"):
        choose(pair(), tight, context=32768)


def test_models_that_do_not_fit_say_what_is_needed_and_what_there_is() -> None:
    with pytest.raises(TooLarge, match=r"need about \d+ GB .* more than the 22 GB that 1 x 24 GB"):
        choose(pair(), parse_devices("1x24GB"))
    with pytest.raises(TooLarge, match="longer than that of the models"):
        choose(pair(), parse_devices("4x80GB"), context=10**6)


def test_a_target_with_few_active_parameters_is_hardly_worth_it() -> None:
    small = pair("Qwen/Qwen3-VL-30B-A3B-Instruct")
    found = choose(small, parse_devices("2x80GB"))
    assert found.expected.ratio > 0.4
    assert any("rarely gain" in sentence for sentence in verdict(small, found.expected))


def test_a_hybrid_is_named_as_one() -> None:
    hybrid = pair("Qwen/Qwen3.6-27B", "Qwen/Qwen3.5-4B")
    found = choose(hybrid, parse_devices("2x80GB"))
    assert sum("recurrent layers" in one for one in verdict(hybrid, found.expected)) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4x80GB", "4 x 80 GB"),
        ("2xH100, 1x24gb", "2 x H100 (80 GB) + 1 x 24 GB"),
        ("l40s", "1 x L40S (48 GB)"),
        ("1x24.5GB", "1 x 24 GB"),
        ("none", "no GPU"),
    ],
)
def test_devices_are_described_by_memory_or_name(text: str, shown: str) -> None:
    assert described(parse_devices(text)) == shown


@pytest.mark.parametrize("text", ["", "4xFoo", "0x80GB", "100x80GB", "80 GB each", "1x0GB", "-1"])
def test_a_wrong_description_is_an_error_of_one_line(text: str) -> None:
    with pytest.raises(BadOption) as error:
        parse_devices(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "memory", "kind"),
    [
        ("NVIDIA L4", 23034, "L4"),
        ("NVIDIA L40S", 46068, "L40S"),
        ("NVIDIA H100 80GB HBM3", 81559, "H100"),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100"),
        ("NVIDIA H200", 143771, "H200"),
        ("NVIDIA A10G", 23028, "A10"),
        ("Tesla T4", 15360, "T4"),
        ("NVIDIA GeForce RTX 5090", 32607, "RTX5090"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, "RTX6000-PRO"),
    ],
)
def test_known_products_have_their_rates(name: str, memory: int, kind: str) -> None:
    (found,) = parse_nvidia_smi([f"{name}, {memory}"])
    assert (found.kind, found.assumed) == (kind, False)


@pytest.mark.parametrize(
    ("name", "memory"),
    [
        ("NVIDIA L40", 46068),  # not an L4
        ("NVIDIA T400 4GB", 4096),
        ("NVIDIA RTX A1000", 8188),
        ("NVIDIA GH200 480GB", 97871),
        ("NVIDIA RTX 6000 Ada Generation", 49140),
        ("NVIDIA A100-PCIE-40GB", 40960),
        ("NVIDIA H100 PCIe", 81559),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376),
    ],
)
def test_rates_of_other_products_are_assumed(name: str, memory: int) -> None:
    (found,) = parse_nvidia_smi([f"{name}, {memory}"])
    assert found.assumed
    assert found.memory == memory * 2**20


@pytest.mark.parametrize(
    ("name", "memory"), [("L40", 24000), ("T400", 16000), ("GH200", 141000), ("RTX A1000", 81920)]
)
def test_a_name_within_another_name_is_not_that_product(name: str, memory: int) -> None:
    (found,) = parse_nvidia_smi([f"NVIDIA {name}, {memory}"])
    assert found == of_memory(memory * 2**20)
    assert found.assumed


def test_devices_are_read_from_nvidia_smi() -> None:
    found = parse_nvidia_smi(
        ["NVIDIA H100 80GB HBM3, 81559", "NVIDIA GeForce RTX 4090, 24564", "weird", "Foo, 16000"]
    )
    assert [one.kind for one in found[:2]] == ["H100", "RTX4090"]
    assert found[0].memory == 81559 * 2**20
    assert found[2].assumed


def test_a_target_is_on_the_cpu_if_the_gpu_is_too_small() -> None:
    pair = Pair(find_architecture("Qwen/Qwen3-VL-8B-Instruct"), find_architecture(SMALL))
    cpu = Device("CPU", 128 * GB)
    small, large = (of_memory(size * GB) for size in (8, 24))
    for gpu, expected in ((small, {(1,)}), (large, {(0,)})):
        assert {one.target.devices for one in layouts(pair, [gpu, cpu])} == expected
