"""Placements on machines, measured placements, and the cheapest machines for a load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dreamr._option_specs import BadOption
from dreamr.evaluation.simulator import Costs
from dreamr.sizing import Pair, TooLarge, find_architecture
from dreamr.sizing.machines import BadMachines, Machine, PriceTable, read_prices
from dreamr.sizing.measured import MeasuredPlacement, read_placements
from dreamr.sizing.plan import Load, alone, candidates, measured_candidates, offers, rank

PAIR = Pair(
    find_architecture("Qwen/Qwen3-VL-32B-Instruct-FP8"),
    find_architecture("Qwen/Qwen3-VL-2B-Instruct"),
)


def machine(text: str, price: float | None = None) -> Machine:
    found = PriceTable({}).machine(text)
    return Machine(text, found.gpus, found.cpu, price)


def doctor(path: Path, draft: float, target: float, judge: float) -> Path:
    """Output of `dreamr doctor --json`, as far as it is read."""
    lines = [
        {"of": "target", "about": "rates", "values": {"first_token_ms": 40.0}},
        {"of": "draft", "about": "rates", "values": {"first_token_ms": 20.0}},
        {
            "of": "together",
            "about": "cost",
            "values": {"draft_token_ms": draft, "target_token_ms": target, "judge_ms": judge},
        },
    ]
    path.write_text("a warning of an engine\n" + "\n".join(json.dumps(line) for line in lines))
    return path


def test_a_draft_is_placed_on_a_cpu_a_small_gpu_and_beside_the_target() -> None:
    found = candidates(PAIR, [machine("1xH100"), machine("1xL4")])
    names = [one.name for one in found]
    assert any("the same GPU" in name for name in names)
    assert any("draft on CPU" in name for name in names)
    assert any(name.startswith("1xH100 + 1xL4") for name in names)
    assert not any(name.startswith("1xL4 + 1xH100") for name in names)  # the target is too large


@pytest.mark.parametrize(
    ("draft", "text"),
    [("Qwen/Qwen3-VL-2B-Instruct", "1xRTX4090"), ("Qwen/Qwen3.5-0.8B", "1x26.5GB")],
)
def test_a_cpu_that_holds_the_target_does_not_hide_shorter_contexts_on_gpus(
    draft: str, text: str
) -> None:
    pair = Pair(find_architecture("Qwen/Qwen3-VL-8B-Instruct"), find_architecture(draft))
    names = [one.name for one in candidates(pair, [machine(text)])]
    assert names == [f"{text}: target on 1 GPU, draft on CPU"]


def test_the_target_is_on_the_cpu_of_a_machine_without_gpus() -> None:
    small = Pair(PAIR.draft, PAIR.draft)
    names = [one.name for one in candidates(small, [machine("none")])]
    assert names == ["none: target on CPU, draft on the same CPU"]


def test_a_faster_draft_ranks_first() -> None:
    costs = Costs(draft=0.003, target=0.01, judge=0.02)
    slow = Costs(draft=0.009, target=0.01, judge=0.02)
    ranked = rank(
        measured_candidates(
            [
                MeasuredPlacement("slow", slow),
                MeasuredPlacement("shared", costs, shared=True),
                MeasuredPlacement("fast", costs),
            ]
        )
    )
    assert [one.candidate.name for one in ranked] == ["fast", "shared", "slow"]


def test_a_pair_that_fits_nowhere_says_what_is_missing() -> None:
    with pytest.raises(TooLarge, match="more than the"):
        candidates(PAIR, [machine("1xT4")])


def test_the_cheapest_machines_serve_the_load_within_the_latency() -> None:
    found = candidates(PAIR, [machine("1xH100", 3.0), machine("2xH100", 6.0)])
    small, large = (offers(found, Load(load, 20))[0] for load in (10, 600))
    assert small.price is not None
    assert large.price is not None
    assert small.price < large.price
    assert small.seconds <= 20
    assert sum(large.machines.values()) > sum(small.machines.values())
    assert not offers(found, Load(1, 0.01))


def test_a_longer_latency_never_costs_more() -> None:
    found = candidates(PAIR, [machine("1xH100", 3.0)])
    prices = [offers(found, Load(120, seconds))[0].price or 0.0 for seconds in (8.5, 20, 60)]
    assert prices == sorted(prices, reverse=True)


def test_the_target_alone_is_offered_with_all_memory_of_its_machine() -> None:
    machines = [machine("1xH100", 3.0)]
    (single,) = alone(PAIR, machines)
    shared = next(one for one in candidates(PAIR, machines) if one.colocated)
    assert single.most > shared.most
    assert offers([single], Load(1))[0].candidate.method == "target"


@pytest.mark.parametrize("text", ["1xH100,1xL4", "1xL4,1xH100", "1xH100,3xL4", "2xL4,1xH100,1xT4"])
def test_a_machine_holds_as_many_copies_as_its_gpus_of_each_kind_allow(text: str) -> None:
    (single,) = alone(PAIR, [machine(text)])  # only the H100 is large enough
    assert [use.copies for use in single.uses] == [1]
    for one in candidates(PAIR, [machine(text)]):
        assert [use.copies for use in one.uses] == [1]
    apart = candidates(PAIR, [machine(text), machine("1xA100,2xT4")])
    placed = [one for one in apart if one.name.startswith(f"{text} + ")]
    copies = {one.name.rpartition(" (")[2]: one.uses[1].copies for one in placed}
    assert all(one.uses[0].copies == 1 for one in placed)
    assert copies["A100)"] == 1
    assert copies["T4)"] == 2


def test_copies_of_one_kind_are_counted() -> None:
    found = {one.name: one.uses[0].copies for one in candidates(PAIR, [machine("4xH100,1xL4")])}
    assert found["4xH100,1xL4: target on 1 GPU (H100), draft on the same GPU"] == 4
    assert found["4xH100,1xL4: target on 1 GPU (H100), draft on 1 GPU (H100)"] == 2
    assert found["4xH100,1xL4: target on 1 GPU (H100), draft on 1 GPU (L4)"] == 1
    assert found["4xH100,1xL4: target on 2 GPUs (H100), draft on 1 GPU (H100)"] == 1


def test_a_target_that_needs_several_gpus_is_offered_alone() -> None:
    large = Pair(find_architecture("Qwen/Qwen2.5-VL-72B-Instruct"), PAIR.draft)
    found = {one.name: one.uses[0].copies for one in alone(large, [machine("4xH100")])}
    assert found["4xH100: target alone on 4 GPUs"] == 1


def test_of_placements_with_one_name_the_fastest_is_ranked() -> None:
    slow = MeasuredPlacement("same", Costs(draft=0.009, target=0.01, judge=0.02))
    fast = MeasuredPlacement("same", Costs(draft=0.003, target=0.01, judge=0.02))
    for order in ((slow, fast), (fast, slow)):
        (found,) = rank(measured_candidates(order))
        assert found.candidate.costs == fast.costs


def test_without_prices_the_fewest_machines_win() -> None:
    found = candidates(PAIR, [machine("1xH100"), machine("2xH100")])
    first = offers(found, Load(60, 30))[0]
    assert first.price is None
    assert sum(first.machines.values()) == 1


def test_measured_placements_are_read_from_the_doctor(tmp_path: Path) -> None:
    doctor(tmp_path / "a.jsonl", 3, 10, 40)
    file = tmp_path / "devices.toml"
    file.write_text('[[placement]]\nname = "a"\nmeasured = "a.jsonl"\nshared = true\nprice = 2\n')
    (found,) = read_placements(file)
    assert (found.name, found.shared, found.price) == ("a", True, 2)
    assert found.costs.draft == pytest.approx(0.003)
    assert found.costs.judge == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no placements"),
        ("[[placement]]\nname = 'a'\n", "'measured' must name"),
        ("[[placement]]\nmeasured = 'missing.jsonl'\n", "cannot read measurements"),
        ("[[placement]]\nmeasured = 'empty.jsonl'\n", "holds no costs of a pair"),
        ("[[placement]]\nmeasured = 'empty.jsonl'\nprise = 1\n", "unknown field 'prise'"),
        ("[[placement]]\nmeasured = 'a.jsonl'\nprice = -1\n", "price must be a number of at least"),
        ("[[placement]]\nmeasured = 'a.jsonl'\nshared = 'yes'\n", "shared must be true or false"),
        ("[[placement", "not valid TOML"),
    ],
)
def test_a_wrong_devices_file_is_an_error_of_one_line(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("{}\n")
    doctor(tmp_path / "a.jsonl", 3, 10, 40)
    file = tmp_path / "devices.toml"
    file.write_text(text)
    with pytest.raises(BadMachines, match=message) as error:
        read_placements(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cost", [0, -1, float("nan"), float("inf"), "fast", None, [1]])
def test_a_cost_that_is_not_a_time_is_refused(cost: Any, tmp_path: Path) -> None:
    doctor(tmp_path / "a.jsonl", 3, cost, 40)
    file = tmp_path / "devices.toml"
    file.write_text('[[placement]]\nmeasured = "a.jsonl"\n')
    with pytest.raises(BadMachines, match="holds no costs of a pair: make it with dreamr doctor"):
        read_placements(file)


@pytest.mark.parametrize("line", ['{"of": ["a"], "about": {}}', '{"values": 1}', "[1]", "5"])
def test_findings_of_another_form_are_left_out(line: str, tmp_path: Path) -> None:
    path = doctor(tmp_path / "a.jsonl", 3, 10, 40)
    path.write_text(f"{path.read_text()}\n{line}\n")
    file = tmp_path / "devices.toml"
    file.write_text('[[placement]]\nmeasured = "a.jsonl"\n')
    (found,) = read_placements(file)
    assert found.costs.target == pytest.approx(0.01)


def test_a_price_table_names_machines(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('currency = "EUR"\n[machines.large]\ngpus = "2xH100"\nprice = 5\n')
    table = read_prices(file)
    assert table.currency == "EUR"
    assert table.machine("large").price == 5
    assert len(table.machine("large").devices) == 3  # the CPU is one of them
    assert table.machine("1xL4").price is None
    with pytest.raises(BadOption, match="the price table has large"):
        table.machine("small")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no machines"),
        ("[machines]\na = 1\n", "must be a table"),
        ("[machines.a]\ngpus = '1xFoo'\n", "unknown GPU 'Foo'"),
        ("[machines.a]\nprice = 'much'\n", "price must be a number"),
        ("[machines.a]\nprice = -1\n", "price must be a number of at least 0"),
        ("[machines.a]\nprice = nan\n", "price must be a number of at least 0"),
        ("[machines.a]\nprice = inf\n", "price must be a number of at least 0"),
        ("[machines.a]\ncpu = '1xH100'\n", "cpu must be a kind of CPU"),
        ("".join(f"[machines.m{i}]\n" for i in range(101)), "101 machines: at most 100"),
        ("[machines.a]\ncost = 1\n", "unknown field 'cost'"),
        ("[machines.a]\ncpu = 'none'\n", "has neither gpus nor a cpu"),
    ],
)
def test_a_wrong_price_table_is_an_error_of_one_line(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(BadMachines, match=message) as error:
        read_prices(file)
    assert "\n" not in str(error.value)
