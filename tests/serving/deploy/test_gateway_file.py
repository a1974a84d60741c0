"""What a pair file says is what the deployed gateway reads in its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreamr.pairs import PairFile, read_pair_file
from dreamr.serving.deploy.gateway_file import gateway_file
from dreamr.serving.deploy.plan import plan

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> PairFile:
    path = tmp_path_factory.mktemp("source") / "pair.yaml"
    path.write_text(
        "models: {m: {url: http://h:1/v1}}\npairs: {p: {target: m, stop: [x], judge_prompt: x}}\n"
    )
    return read_pair_file(path)


@settings(deadline=None)
@given(TEXTS)
@example("1e3")
@example("12e4567")
@example("0o17")
@example("off")
@example("null")
@example("\x85")
@example("\u2029x")
@example("${HOME} costs $$5 and $${x}")
@example("two\nlines\tand a tab \x07 \u2028 \U0001f600")
def test_texts_are_read_back_as_they_are(source: PairFile, text: str) -> None:
    entry = source.default
    options = replace(entry.options, stop=(text,), judge_prompt=f"Is {text} right?")
    changed = replace(source, pairs={"p": replace(entry, options=options)})
    written = source.path.with_name("gateway.yaml")
    written.write_text(gateway_file(plan(changed), lambda engine: "", 8500), encoding="utf-8")
    found = read_pair_file(written, environment={}).default.options
    assert found.stop == (text,)
    assert found.judge_prompt == f"Is {text} right?"
