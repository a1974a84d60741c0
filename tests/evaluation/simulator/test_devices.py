"""Jobs that share a device, and how long they take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dreamr.evaluation.simulator import BadScenario, Devices
from dreamr.evaluation.simulator.clock import Clock
from dreamr.evaluation.simulator.devices import Device, Job
from dreamr.steps import Role


class Bench:
    """A device that records when each job was complete."""

    def __init__(self, devices: Devices) -> None:
        self.clock = Clock()
        self.device = Device(self.clock, devices)
        self.done: dict[str, float] = {}

    def job(self, name: str, seconds: float, token: float = 0.0, model: Role = "target") -> Job:
        def done() -> None:
            self.done[name] = self.clock.now

        return Job(model, lambda: seconds, done, token)

    def at(self, time: float, action: Callable[[], None]) -> None:
        self.clock.after(time, action)

    def submit(self, time: float, job: Job) -> None:
        self.at(time, lambda: self.device.submit(job))

    def run(self) -> dict[str, float]:
        self.clock.run()
        return self.done


def test_without_slowdown_concurrent_jobs_take_no_longer() -> None:
    bench = Bench(Devices())
    bench.submit(0, bench.job("stream", 1.0, 0.1))
    bench.submit(0.2, bench.job("pass", 0.3))
    assert bench.run() == pytest.approx({"stream": 1.0, "pass": 0.5})


def test_concurrent_jobs_take_longer_by_the_stated_slowdown() -> None:
    bench = Bench(Devices(slowdown=0.5))
    bench.submit(0, bench.job("one", 1.0, 0.1))
    bench.submit(0, bench.job("other", 2.0, 0.1))
    assert bench.run() == pytest.approx({"one": 1.5, "other": 2.5})


def test_two_models_share_one_device_by_halves() -> None:
    bench = Bench(Devices(colocated=True))
    bench.submit(0, bench.job("draft", 1.0, 0.1, "draft"))
    bench.submit(0, bench.job("target", 2.0, 0.1, "target"))
    assert bench.run() == pytest.approx({"draft": 2.0, "target": 3.0})


def test_a_serialized_pass_waits_for_the_current_token_only() -> None:
    bench = Bench(Devices(serialize=True, slowdown=1))
    bench.submit(0, bench.job("stream", 1.0, 0.1))
    bench.submit(0.23, bench.job("pass", 0.5))
    assert bench.run() == pytest.approx({"pass": 0.8, "stream": 1.5})


def test_serialized_passes_keep_their_order() -> None:
    bench = Bench(Devices(serialize=True))
    bench.submit(0, bench.job("one", 0.5))
    bench.submit(0.1, bench.job("two", 0.1))
    bench.submit(0.2, bench.job("three", 0.1))
    assert bench.run() == pytest.approx({"one": 0.5, "two": 0.6, "three": 0.7})


def test_a_canceled_pass_occupies_the_device_to_its_end() -> None:
    bench = Bench(Devices(serialize=True))
    canceled = bench.job("canceled", 0.5)
    bench.submit(0, canceled)
    bench.submit(0.1, bench.job("next", 0.1))
    bench.at(0.2, lambda: bench.device.withdraw(canceled))
    assert bench.run() == pytest.approx({"next": 0.6})


def test_a_canceled_stream_frees_the_device_at_once() -> None:
    bench = Bench(Devices(slowdown=1))
    canceled = bench.job("canceled", 9.0, 0.1)
    bench.submit(0, canceled)
    bench.submit(0, bench.job("other", 1.0, 0.1))
    bench.at(1.0, lambda: bench.device.withdraw(canceled))
    assert bench.run() == pytest.approx({"other": 1.5})


def test_a_target_on_several_devices_is_as_fast_as_its_efficiency_allows() -> None:
    assert Devices(target=1, efficiency=0.5).speed == 1
    assert Devices(target=4, efficiency=0.8).speed == pytest.approx(3.2)
    assert Devices(target=4, replicas=2).count == 10
    assert Devices(target=4, replicas=2, colocated=True).count == 8


@pytest.mark.parametrize(
    "wrong", [{"target": 0}, {"replicas": 0}, {"efficiency": 0.0}, {"slowdown": -1.0}]
)
def test_impossible_devices_are_refused_in_one_line(wrong: dict[str, float]) -> None:
    with pytest.raises(BadScenario) as error:
        Devices(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
