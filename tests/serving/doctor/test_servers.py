"""The doctor on servers: caches that lie, answers that change, images that fail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import pytest

from dreamr.engines import Model, words
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.serving.doctor import CHECKS, Finding, ModelUnderTest, fixes, run_checks, timing
from dreamr.serving.doctor.caching import CacheTimes, cache_finding
from support.served import Json, Served
from support.sockets import on_socket
from support.window_served import WindowServed, repeats_itself

SCRIPT = "Tea costs 12.\n\nMilk costs 16.\n\nAnswer: 28"


@dataclass
class Shop(Served):
    """A server that answers the doctor's questions, with a prefix cache.

    Attributes:
        block: Tokens of a block of its cache.
        reports: Whether it reports cached tokens.
        spoils: Whether answers from its cache differ.
        noisy: Whether all answers differ.
        image_error: Status and message for requests with an image.
        running: Numbers of running requests that its metrics report in turn, the last one again
            and again; empty if it has no metrics.
    """

    script: str = SCRIPT
    token_probability: float = 0.5
    block: int = 4
    reports: bool = True
    spoils: bool = False
    noisy: bool = False
    image_error: tuple[int, str] | None = None
    running: tuple[int, ...] = ()
    _seen: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.said = self._say
        self._writes = 0

    def _say(self, body: Json) -> str:
        self._writes += 1
        salt = body.get("cache_salt", "")
        prompt = [salt, *words(self.render(body))]
        cached = prompt in self._seen
        self._seen.append(prompt)
        prefix = self._prefix(body)
        if self.noisy or (self.spoils and cached and not prefix):
            return f"No {self._writes}.\n\nAnswer: 0"
        return SCRIPT.removeprefix(prefix)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        if request.url.path == "/metrics" and self.running:
            number, *rest = self.running
            self.running = tuple(rest) or self.running
            return httpx2.Response(200, text=f"vllm:num_requests_running{{}} {number}.0\n")
        if self.image_error and "image_url" in json.dumps(body.get("messages", "")):
            status, message = self.image_error
            return httpx2.Response(status, json={"error": {"message": message}})
        found = await super().handle(request)
        if self.reports and request.url.path.endswith("completions") and not body.get("stream"):
            value = json.loads(found.content)
            value["usage"]["prompt_tokens_details"] = {"cached_tokens": self._cached(body)}
            return httpx2.Response(200, json=value)
        return found

    def _cached(self, body: Json) -> int:
        prompt = list(words(self.render(body)))
        shared = [
            next((i for i, (a, b) in enumerate(zip(prompt, one, strict=False)) if a != b), len(one))
            for one in self._seen
        ]
        self._seen.append(prompt)
        return max(shared, default=0) // self.block * self.block


def examined(role: Any = "target", **served: Any) -> dict[str, Finding]:
    async def main(url: str) -> list[Finding]:
        engine = await HttpEngine.open(HttpOptions(url, retries=0))
        try:
            with anyio.fail_after(60):
                return [one async for one in run_checks(ModelUnderTest(role, Model(engine)))]
        finally:
            await engine.aclose()

    with on_socket(Shop(**served)) as url:
        return {one.about: one for one in anyio.run(main, url)}


def test_a_good_server_has_no_faults() -> None:
    found = examined()
    timed_or_scripted = ("judging", "prefix cache")
    states = {about: one.state for about, one in found.items() if about not in timed_or_scripted}
    assert set(states.values()) <= {"ok", "unknown"}, found
    assert found["cached answers"].values == {"compared": 10, "differing": 0}
    assert found["cache blocks"].values["block_tokens"] % 4 == 0  # type: ignore[operator]
    assert found["image cost"].values["sent_bytes"] > 1000  # type: ignore[operator]
    assert found["route"].values["images"] == "chat"


def canceled(*running: int) -> Finding:
    served = Shop()

    async def main(url: str) -> Finding:
        async with await HttpEngine.open(HttpOptions(url, retries=0)) as engine:
            served.running = running  # the probe has read the metrics for the size of a block
            return await CHECKS["cancellation"].work(ModelUnderTest("target", Model(engine)))

    with on_socket(served) as url:
        return anyio.run(main, url)


@pytest.mark.parametrize(
    ("running", "text"),
    [
        ((0, 1, 0), "the server ran no request"),
        ((3, 4, 3), "the server ran no more requests than before (3)"),
        ((3, 2), "the server ran no more requests than before (3)"),  # others have ended
    ],
)
def test_a_canceled_stream_is_seen_to_end_beside_requests_of_others(
    running: tuple[int, ...], text: str
) -> None:
    one = canceled(*running)
    assert one.state == "ok"
    assert one.what.endswith(text)


def test_a_stream_that_the_server_finishes_unread_is_degraded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "_CANCEL_SECONDS", 0.1)
    one = canceled(3, 4)
    assert (one.state, one.fix) == ("degraded", fixes.IDLE_SERVER)
    assert "still ran more requests than before" in one.what


def test_a_server_without_metrics_leaves_cancellation_unknown() -> None:
    assert canceled().fix == fixes.REPORT_RUNNING


def test_a_server_that_refuses_chosen_tokens_is_named() -> None:
    one = examined()["judging"]  # the scripted server has no such field
    assert "labels are read from the 20 most likely tokens" in one.what


def test_coarse_blocks_are_read_off_growing_prompts() -> None:
    one = examined(block=264)["cache blocks"]
    assert (one.state, one.values) == ("degraded", {"block_tokens": 264})


def test_blocks_that_no_prompt_fills_are_unknown() -> None:
    assert examined(block=10_000)["cache blocks"].state == "unknown"
    assert examined(reports=False)["cache blocks"].state == "unknown"


def test_answers_that_only_the_cache_changes_are_wrong() -> None:
    one = examined(spoils=True)["cached answers"]
    assert (one.state, one.fix) == ("wrong", fixes.DISABLE_CACHE)


def test_answers_that_always_change_are_not_blamed_on_the_cache() -> None:
    one = examined(noisy=True)["cached answers"]
    assert (one.state, one.fix) == ("degraded", fixes.FULL_PRECISION)


@pytest.mark.parametrize(
    ("status", "message", "fix"),
    [
        (400, "tiny is not a multimodal model", fixes.ENABLE_VISION),
        (400, "prompt of 5000 tokens exceeds the maximum context length", fixes.SHRINK_IMAGES),
        (400, "failed to load the image: decoder is out of date", fixes.READ_LOG),
        (500, "CUDA out of memory", fixes.READ_LOG),
        (400, "At most 0 image(s) may be provided in one prompt", fixes.ENABLE_VISION),
    ],
)
def test_a_model_that_may_see_is_not_called_blind(status: int, message: str, fix: str) -> None:
    one = examined(image_error=(status, message))["images"]
    assert one.state == "degraded"
    assert one.fix == fix


MS = 0.001


@pytest.mark.parametrize(
    ("times", "state", "words"),
    [
        (CacheTimes(30 * MS, 300 * MS, 50 * MS, 800, 0.9), "ok", "saves 83%"),
        (CacheTimes(30 * MS, 300 * MS, 298 * MS, 800, 0.98), "degraded", "the times do not show"),
        (CacheTimes(30 * MS, 300 * MS, 320 * MS, 800, None), "degraded", "saves no time"),
        (CacheTimes(30 * MS, 33 * MS, 32 * MS, 800, None), "ok", "nothing to save"),
        (CacheTimes(1 * MS, 9 * MS, 9 * MS, 800, None), "ok", "nothing to save"),
    ],
)
def test_the_times_decide_and_not_the_counts(times: CacheTimes, state: str, words: str) -> None:
    one = cache_finding(times)
    assert one.state == state
    assert words in one.what


def examined_windows(**served: Any) -> dict[str, Finding]:
    """Findings about windows and blocks on a vLLM with `--enable-scale-out`."""

    async def main(url: str) -> dict[str, Finding]:
        engine = await HttpEngine.open(HttpOptions(url, retries=0))
        tested = ModelUnderTest("target", Model(engine))
        try:
            checks = (CHECKS["window"], CHECKS["cache blocks"])
            found = [await check.work(tested) for check in checks]
            return {one.about: one for one in found}
        finally:
            await engine.aclose()

    with on_socket(WindowServed(script=SCRIPT, **served)) as url:
        return anyio.run(main, url)


def blocks(size: int) -> str:
    return f'vllm:cache_config_info{{block_size="{size}"}} 1.0\n'


@pytest.mark.parametrize(
    ("served", "state", "words", "fix"),
    [
        ({}, "ok", "differ by at most 0.00", None),
        ({"scores": "refused"}, "ok", "V2 model runner", None),
        ({"tokens": False}, "ok", "--enable-scale-out", None),
        ({"share": repeats_itself}, "ok", "differ by up to 0.82", None),
        ({"tokens": False, "metrics": blocks(528)}, "degraded", "own", fixes.COARSE_BLOCKS),
        (
            {"share": repeats_itself, "metrics": blocks(528)},
            "degraded",
            "differ by up to 0.82",
            fixes.OTHER_TARGET_FOR_WINDOWS,
        ),
    ],
)
def test_the_doctor_says_how_windows_are_judged(
    served: dict[str, Any], state: str, words: str, fix: str | None
) -> None:
    one = examined_windows(**served)["window"]
    assert (one.state, one.fix) == (state, fix)
    assert words in one.what


@pytest.mark.parametrize(("size", "state"), [(16, "ok"), (1056, "degraded")])
def test_blocks_that_the_server_reports_are_not_measured(size: int, state: str) -> None:
    one = examined_windows(metrics=blocks(size))["cache blocks"]
    assert (one.state, one.values) == (state, {"block_tokens": size})
    assert one.what.startswith("the server reports that the prefix cache works in blocks of")


def test_a_prefix_cache_that_is_off_is_reported() -> None:
    metrics = 'vllm:cache_config_info{enable_prefix_caching="False"} 1.0\n'
    one = examined_windows(metrics=metrics)["cache blocks"]
    assert (one.state, one.fix) == ("degraded", fixes.ENABLE_CACHE)
