"""Several pairs under one gateway."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import openai
import pytest
from starlette.types import ASGIApp

from dreamr import Reasoner, RunOptions
from dreamr._load import Load
from dreamr._option_specs import BadOption
from dreamr.engines import Capabilities, Failure, Model, ModelSource
from dreamr.errors import EngineError, EngineLost
from dreamr.serving.gateway import ServedPair, build_app, http_server, listen, open_pairs
from dreamr.serving.options import ServeOptions
from support.gateways import Gateway, asked
from support.pages import page_of, send
from support.pairs import Pair

STEPS = RunOptions(deterministic=True)
ALONE = RunOptions(method="target")


def naming(name: str, answer: str) -> Pair:
    """Return a pair whose models have names and an answer of their own."""
    script = ("A thought.\n\n", f"Answer: {answer}")
    common = {"script": script, "opinion": dict.fromkeys(script, 0.9)}
    return Pair({"name": f"{name}-large", **common}, {"name": f"{name}-small", **common})


@asynccontextmanager
async def served(pairs: dict[str, tuple[Pair, RunOptions]]) -> AsyncIterator[list[ServedPair]]:
    """Open pairs and yield them under their names."""
    async with AsyncExitStack() as stack:
        found = []
        for name, (pair, options) in pairs.items():
            reasoner = await stack.enter_async_context(Reasoner(options, open_model=pair))
            load = Load(aware=False)
            found.append(ServedPair.of(name, reasoner, ServeOptions(), load=load))
        yield found


def use(work: Any, **pairs: tuple[Pair, RunOptions]) -> None:
    """Run `work` with a gateway over pairs."""

    async def main() -> None:
        with anyio.fail_after(30):
            async with served(pairs) as found:
                first, (pair, _) = found[0], next(iter(pairs.values()))
                await work(Gateway(build_app(found), first.reasoner, pair, first.load))

    anyio.run(main)


@contextmanager
def listening(pairs: dict[str, tuple[Pair, RunOptions]]) -> Iterator[str]:
    """Serve pairs on a socket and yield the URL."""
    begun, link, servers = threading.Event(), listen(ServeOptions(port=0)), []

    async def main() -> None:
        async with served(pairs) as found:
            app: ASGIApp = build_app(found)
            servers.append(http_server(app, ServeOptions()))
            begun.set()
            await servers[0].serve(sockets=[link])

    thread = threading.Thread(target=anyio.run, args=(main,), daemon=True)
    with link:
        thread.start()
        assert begun.wait(20)
        try:
            yield f"http://127.0.0.1:{link.getsockname()[1]}"
        finally:
            servers[0].should_exit = True
            thread.join(20)


def two() -> dict[str, tuple[Pair, RunOptions]]:
    return {"photos": (naming("photos", "cat"), STEPS), "papers": (naming("papers", "law"), STEPS)}


def test_the_model_of_a_request_chooses_the_pair() -> None:
    with listening(two()) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any")
        answers = {
            name: client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "What?"}]
            )
            for name in ("papers", "photos")
        }
        names = [model.id for model in client.models.list()]
    contents = {name: found.choices[0].message.content for name, found in answers.items()}
    assert contents == {"papers": "law", "photos": "cat"}
    assert {name: found.model for name, found in answers.items()} == {n: n for n in answers}
    alone = ["photos-large", "photos-small", "papers-large", "papers-small"]
    assert names == ["photos", "papers", *alone]


@pytest.mark.parametrize(
    ("model", "answer", "method"),
    [("papers-large", "law", "target"), ("photos-small", "cat", "draft")],
)
def test_the_name_of_a_model_uses_it_without_speculation(
    model: str, answer: str, method: str
) -> None:
    async def work(gate: Gateway) -> None:
        found = (await gate.ask({**asked(), "model": model})).json
        assert found["choices"][0]["message"]["content"] == answer
        assert found["dreamr"]["method"] == method

    use(work, **two())


def test_a_pair_of_one_model_is_a_plain_model() -> None:
    async def work(gate: Gateway) -> None:
        found = (await gate.ask({**asked(), "model": "plain"})).json
        assert found["choices"][0]["message"]["content"] == "9"
        assert found["dreamr"]["method"] == "target"
        refused = await gate.ask({**asked(), "model": "plain", "dreamr": {"method": "fpsr"}})
        assert refused.status == 400
        assert "needs the draft" in refused.json["error"]["message"]

    use(work, **two(), plain=(naming("plain", "9"), ALONE))


def test_an_unknown_model_lists_those_of_all_pairs() -> None:
    async def work(gate: Gateway) -> None:
        found = await gate.ask({**asked(), "model": "paper"})
        assert found.status == 404
        message = found.json["error"]["message"]
        assert all(name in message for name in ("photos", "papers-large", "photos-small"))

    use(work, **two())


def test_a_name_of_two_models_stands_for_that_of_the_first_pair() -> None:
    async def work(gate: Gateway) -> None:
        found = (await gate.ask({**asked(), "model": "same-large"})).json
        assert found["choices"][0]["message"]["content"] == "first"

    use(work, a=(naming("same", "first"), STEPS), b=(naming("same", "second"), STEPS))


def test_two_pairs_of_one_name_are_refused() -> None:
    async def main() -> None:
        async with served({"a": (Pair(), STEPS)}) as one, served({"a": (Pair(), STEPS)}) as other:
            with pytest.raises(BadOption, match="two pairs have the same name"):
                build_app([*one, *other])

    anyio.run(main)


def test_a_pair_without_its_target_leaves_the_others_in_service() -> None:
    pairs, lost = two(), EngineLost("the server went away")
    photos = pairs["photos"][0]
    photos.target["stream_failures"] = {0: Failure(lost)}

    async def work(gate: Gateway) -> None:
        photos.errors["target"] = lost
        assert (await gate.ask({**asked(), "model": "photos"})).status == 503
        assert (await gate.ask({**asked(), "model": "papers"})).status == 200
        ready = await gate.get("/ready")
        assert (ready.status, ready.json["status"]) == (200, "degraded")
        states = {name: found["status"] for name, found in ready.json["pairs"].items()}
        assert states == {"photos": "lost", "papers": "ready"}

    use(work, **pairs)


def test_metrics_tell_the_pairs_apart() -> None:
    async def work(gate: Gateway) -> None:
        await gate.ask({**asked(), "model": "papers"})
        figures = (await gate.get("/metrics")).body.decode().splitlines()
        counted = [line for line in figures if line.startswith("dreamr:generation_tokens_total{")]
        values = {line.split('"')[1]: float(line.split()[-1]) for line in counted}
        assert values["papers"] > 0
        assert values["photos"] == 0

    use(work, **two())


def test_each_pair_measures_its_own_target() -> None:
    async def main() -> Sequence[float | None]:
        pairs = two()
        with anyio.fail_after(30):
            async with served(pairs) as found:
                gate = Gateway(build_app(found), found[0].reasoner, Pair(), found[0].load)
                await gate.ask({**asked(), "model": "papers"})
                return [pair.load.costs.answer for pair in found]

    photos, papers = anyio.run(main)
    assert photos is None
    assert papers is not None


def test_requests_of_one_pair_do_not_disturb_the_measurements_of_another() -> None:
    long = ("word " * 9 + "\n\n", "Answer: " + "word " * 9)
    common = {"script": long, "opinion": dict.fromkeys(long, 0.9)}
    # Such a target is only compared with times at which it had one run.
    coarse = Capabilities(cache_block=0)
    pairs = {
        "busy": (Pair({"token_seconds": math.inf}, {"token_seconds": math.inf}), STEPS),
        "idle": (
            Pair({**common, "capabilities": coarse}, common),
            RunOptions(target="b", draft="c"),
        ),
    }

    async def main() -> float | None:
        with anyio.fail_after(20):
            async with served(pairs) as found, anyio.create_task_group() as tasks:
                gate = Gateway(build_app(found), found[0].reasoner, Pair(), found[0].load)
                tasks.start_soon(gate.ask, {**asked(), "model": "busy"})
                while not pairs["busy"][0].opened["target"].open_streams:
                    await anyio.lowlevel.checkpoint()
                await gate.ask({**asked(dreamr={"method": "target"}), "model": "idle"})
                await gate.ask({**asked(), "model": "idle"})
                tasks.cancel_scope.cancel()
                return found[1].load.gain

    assert anyio.run(main) is not None


def test_pairs_are_opened_side_by_side() -> None:
    pairs, waiting, everyone = two(), [], anyio.Event()

    def opener(pair: Pair) -> Any:
        async def open_model(source: ModelSource) -> Model:
            waiting.append(source.role)
            if len(waiting) == 4:
                everyone.set()
            await everyone.wait()
            return await pair(source)

        return open_model

    async def main() -> list[str]:
        reasoners = {
            name: Reasoner(options, open_model=opener(pair))
            for name, (pair, options) in pairs.items()
        }
        with anyio.fail_after(20):
            async with open_pairs(reasoners, ServeOptions()) as found:
                return [pair.name for pair in found]

    assert anyio.run(main) == ["photos", "papers"]


def test_a_pair_that_cannot_be_opened_closes_the_others() -> None:
    good, bad = naming("photos", "cat"), Pair(errors={"target": EngineError("out of memory")})

    async def main() -> None:
        reasoners = {name: Reasoner(STEPS, open_model=p) for name, p in (("a", good), ("b", bad))}
        with anyio.fail_after(20), pytest.raises(EngineError, match="out of memory"):
            async with open_pairs(reasoners, ServeOptions()):
                pytest.fail("it was opened")

    anyio.run(main)
    assert not any(engine.alive for engine in good.opened.values())


def test_an_error_while_pairs_are_open_is_raised_as_it_is() -> None:
    pair = naming("photos", "cat")

    async def main() -> None:
        with anyio.fail_after(20), pytest.raises(EngineError, match="too slow"):
            async with open_pairs({"a": Reasoner(STEPS, open_model=pair)}, ServeOptions()):
                raise EngineError("too slow")

    anyio.run(main)
    assert not any(engine.alive for engine in pair.opened.values())


@pytest.mark.browser
def test_the_page_asks_the_pair_that_is_chosen(browser: Any) -> None:
    with listening(two()) as url, page_of(browser, url) as page:
        send(page, "What?", answer="cat")
        page.click("#options summary")
        assert page.locator("#model option").all_inner_texts()[:2] == ["photos", "papers"]
        page.select_option("#model", "papers")
        page.locator("#about", has_text="draft papers-small · target papers-large").wait_for()
        send(page, "And this?", answer="law")
        page.select_option("#model", "photos-large")
        send(page, "And that?", answer="cat")
