"""Pairs are chosen by file and name, and their models are opened with their keys."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from dreamr import Reasoner
from dreamr.engines import Model, ModelSource
from dreamr.errors import Unsupported
from dreamr.pairs import NotRunning, PairNotFound, choose_pair, parse_choice, with_keys
from support.pairs import Pair

FILE = """\
models:
  big: {url: 'http://gpu1:8000/v1', model: a, api_key: first}
  other: {url: 'http://gpu1:8000/v1', model: b, api_key: second}
  open: {url: 'http://gpu2:8000/v1'}
  started: {launch: {engine: vllm, model: x}, api_key: third}
  several: {url: ['http://gpu3:8000/v1', 'http://gpu4:8000/v1'], model: c, api_key: fourth}
pairs:
  one: {target: big, draft: open, window: 3}
  qwen:8b: {target: other}
  run: {target: started}
  many: {target: several}
"""
STARTED = {"started": "http://localhost:1/v1", "several": "http://localhost:2/v1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pair.yaml"
    path.write_text(FILE)
    return path


class Opener(Pair):
    """A scripted pair that remembers the keys of its models."""

    async def __call__(self, source: ModelSource) -> Model:
        self.keys = [*getattr(self, "keys", []), source.api_key]
        return await super().__call__(source)


def test_a_name_may_have_colons_like_the_path(file: Path) -> None:
    assert parse_choice(str(file)).pair.name == "one"
    assert parse_choice(f"{file}:qwen:8b").pair.name == "qwen:8b"
    renamed = file.rename(file.with_name("a:b.yaml"))
    assert parse_choice(f"{renamed}").pair.name == "one"
    assert parse_choice(f"{renamed}:qwen:8b").pair.name == "qwen:8b"
    with pytest.raises(PairNotFound, match="has no pair 'two'"):
        parse_choice(f"{renamed}:two")


def test_models_of_a_file_are_opened_with_their_keys(file: Path) -> None:
    pair, opened = choose_pair(file).file, Opener()
    open_model = with_keys(pair, opened, lambda: STARTED)

    async def open_all() -> None:
        for name in pair.pairs:
            options = pair.run_options(name, STARTED)
            for role in pair.pairs[name].roles:
                await open_model(options.source(role))

    anyio.run(open_all)
    assert opened.keys == ["first", None, "second", "third", "fourth"]


def test_several_servers_are_reached_by_the_router_in_front_of_them(file: Path) -> None:
    options = choose_pair(file, "many", addresses=STARTED).run_options()
    assert (options.target, options.target_model) == ("http://localhost:2/v1", "c")
    with pytest.raises(NotRunning, match="no router runs in front of the URLs"):
        choose_pair(file, "many").run_options()


def test_a_role_that_a_pair_lacks_is_not_opened(file: Path) -> None:
    open_model = choose_pair(file, "qwen:8b").opener(Opener())
    with pytest.raises(Unsupported, match=r"'qwen:8b' of .* has no draft"):
        anyio.run(open_model, ModelSource(role="draft"))


def test_a_reasoner_has_models_keys_and_options_of_a_pair(file: Path) -> None:
    opened = Opener()
    with Reasoner.from_pair(file, method="sequential", open_model=opened) as reasoner:
        assert (reasoner.options.window, reasoner.options.target_model) == (3, "a")
        assert reasoner.ask("What do tea and milk cost together?").answer == "3.70"
    assert sorted(map(str, opened.keys)) == ["None", "first"]


def test_a_reasoner_takes_addresses_of_started_servers(file: Path) -> None:
    reasoner = Reasoner.from_pair(file, "run", addresses={"started": "http://localhost:1/v1"})
    assert reasoner.options.target == "http://localhost:1/v1"
    assert reasoner.options.method == "target"
