"""Named devices: derived rates compared with measured ones, and placements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dreamr.evaluation.simulator import BadScenario, Scenario
from dreamr.evaluation.simulator.machines import named_pair, rates
from dreamr.evaluation.simulator.predictions import predict


@pytest.mark.parametrize("check", rates().checks, ids=lambda check: check["model"])
def test_derived_rates_are_close_to_measured_ones(check: Mapping[str, Any]) -> None:
    table = rates()
    gpu = table.gpu(check["gpu"])
    token = table.token(table.model(check["model"]), gpu)
    if "ratio" in check:
        ratio = table.token(table.model(check["draft"]), gpu) / token
        assert ratio == pytest.approx(check["ratio"], rel=0.12)
    else:
        assert 1 / token == pytest.approx(check["tokens_a_second"], rel=0.12)


def test_every_row_names_its_source() -> None:
    table = rates()
    for row in (*table.gpus.values(), *table.models.values(), table.assumptions):
        assert row.source
    assert all(check["source"] for check in table.checks)


def test_a_target_that_is_too_large_for_one_device_gets_more() -> None:
    table = rates()
    large = table.model("235B-A22B")
    assert table.least(large, table.gpu("H100")) == 4
    assert table.least(table.model("235B-A22B:4"), table.gpu("H100")) == 2
    assert table.least(table.model("32B"), table.gpu("L40S")) == 2
    assert [p.label for p in named_pair("2B/235B-A22B", "H100").placements()] == ["4 + 1", "8 + 1"]


def test_smaller_weights_are_read_faster_and_more_devices_help() -> None:
    table = rates()
    gpu = table.gpu("H100")
    assert table.token(table.model("32B:4"), gpu) < table.token(table.model("32B"), gpu)
    tokens = [table.token(table.model("32B"), gpu, n) for n in (1, 2, 4, 8)]
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[0] / tokens[3] < 8 * table.assumptions.parallel_efficiency


def test_the_speedup_on_equal_devices_counts_the_drafts_device() -> None:
    pair = named_pair("2B/32B", "H100")
    placed = predict(pair, Scenario(pair.costs(1), steps=20, requests=3, acceptance=0.7))
    by_label = {one.placement.label: one for one in placed}
    each = by_label["1 + 1"]
    assert each.equal_devices_speedup < each.speedup  # the target alone could use both devices
    both = by_label["both on 1"]
    assert both.equal_devices_speedup == both.speedup
    assert both.speedup < each.speedup


@pytest.mark.parametrize("wrong", ["2B", "2B/", "/32B", "2B/32B:3", "2B/7B"])
def test_unknown_pairs_are_refused(wrong: str) -> None:
    with pytest.raises(BadScenario):
        named_pair(wrong, "H100")
